"""Scores of a cohort, pooled over vertebrae by region and by level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.anatomy import REGIONS, sort_cranio_caudal
from nnunet_spine.scores.case import CaseScore, VertebraScore
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.summary import Rate, Summary, summarise


@dataclass(frozen=True)
class GroupSummary:
    """All vertebrae of a region or a level, pooled over the cohort.

    Attributes:
        group: "All", "C", "T", "L" or a level's name, by the reference label (`surplus`: by the predicted label).
        reference, missed, misnamed, surplus: numbers of vertebrae.
        identification_rate, identification_rate_glocker: identified of the reference vertebrae, by both rules.
        dice, iou, nsd: over reference vertebrae with a mask, missed ones as 0; those without a mask are `missing`.
        assd_mm, hd_mm, hd95_mm: over reference vertebrae that were predicted; the others are `missing`.
        localisation_error_mm: over reference vertebrae that were predicted; the others are `missing`.
        localisation_error_penalised_mm: over all reference vertebrae, missed ones at `Settings.miss_penalty_mm`.
    """

    group: str
    reference: int
    missed: int
    misnamed: int
    surplus: int
    identification_rate: Rate
    identification_rate_glocker: Rate
    dice: Summary
    iou: Summary
    nsd: Summary
    assd_mm: Summary
    hd_mm: Summary
    hd95_mm: Summary
    localisation_error_mm: Summary
    localisation_error_penalised_mm: Summary


@dataclass(frozen=True)
class CohortSummary:
    """A cohort.

    Attributes:
        cases: number of cases.
        all_labels_correct: cases in which every label is right.
        binary_dice: over cases; those without a value are `missing`.
        dice_per_case: over cases, each case's mean over its vertebrae; cases without reference masks are `missing`.
        regions: All, C, T, L, over vertebrae.
        levels: each level that a reference or a prediction has, cranio-caudal, over vertebrae.
    """

    cases: int
    all_labels_correct: Rate
    binary_dice: Summary
    dice_per_case: Summary
    regions: tuple[GroupSummary, ...]
    levels: tuple[GroupSummary, ...]

    @property
    def groups(self) -> tuple[GroupSummary, ...]:
        """Regions, then levels."""
        return self.regions + self.levels


def summarise_cohort(cases: Sequence[CaseScore], settings: Settings = Settings()) -> CohortSummary:  # noqa: B008
    """Pool cases; for no cases all numbers are 0 and all averages None.

    Intervals are 95 % percentile intervals of a bootstrap over scans: vertebrae of one scan share its errors, so whole
    scans are drawn with replacement, and the mean over the vertebrae drawn is taken. The same draws serve every number.

    Args:
        cases: one per scan.
        settings: penalty, draws and seed are used.
    """
    draws = _draw_scans(len(cases), settings)
    present = {v.name for case in cases for v in case.vertebrae} | {n for case in cases for n in case.surplus_names}

    def over_cases(value: Callable[[CaseScore], float | None]) -> Summary:
        return _summary([[value(case)] for case in cases], draws)

    return CohortSummary(
        cases=len(cases),
        all_labels_correct=_rate([[case.all_labels_correct] for case in cases], draws),
        binary_dice=over_cases(lambda case: case.binary_dice),
        dice_per_case=over_cases(lambda case: case.dice),
        regions=tuple(_group(cases, region, draws, settings.miss_penalty_mm) for region in ("All", *REGIONS)),
        levels=tuple(_group(cases, name, draws, settings.miss_penalty_mm) for name in sort_cranio_caudal(present)),
    )


def _group(cases: Sequence[CaseScore], group: str, draws: np.ndarray, penalty_mm: float) -> GroupSummary:
    def inside(name: str) -> bool:
        return group in ("All", name[0], name)

    scans = [[v for v in case.vertebrae if inside(v.name)] for case in cases]
    vertebrae = [v for scan in scans for v in scan]

    def over(value: Callable[[VertebraScore], float | None]) -> Summary:
        return _summary([[value(v) for v in scan] for scan in scans], draws)

    metrics = ("dice", "iou", "nsd", "assd_mm", "hd_mm", "hd95_mm")
    return GroupSummary(
        group=group,
        reference=len(vertebrae),
        missed=sum(v.missed for v in vertebrae),
        misnamed=sum(v.misnamed for v in vertebrae),
        surplus=sum(inside(name) for case in cases for name in case.surplus_names),
        identification_rate=_rate([[v.identified for v in scan] for scan in scans], draws),
        identification_rate_glocker=_rate([[v.identified_glocker for v in scan] for scan in scans], draws),
        **{name: over(lambda v, name=name: getattr(v, name)) for name in metrics},
        localisation_error_mm=over(lambda v: v.distance_mm),
        localisation_error_penalised_mm=over(lambda v: penalty_mm if v.missed else v.distance_mm),
    )


def _summary(scans: list[list[float | None]], draws: np.ndarray) -> Summary:
    return summarise((v for scan in scans for v in scan), *_interval(scans, draws))


def _rate(scans: list[list[bool]], draws: np.ndarray) -> Rate:
    count, total = sum(map(sum, scans)), sum(map(len, scans))
    return Rate(count, total, count / total if total else None, *_interval(scans, draws))


def _draw_scans(n: int, settings: Settings) -> np.ndarray:
    """How often each of n scans is drawn in each bootstrap sample, (draws, n)."""
    rng = np.random.default_rng(settings.bootstrap_seed)
    if n == 0:
        return np.zeros((settings.bootstrap_draws, 0))
    return rng.multinomial(n, np.full(n, 1 / n), size=settings.bootstrap_draws).astype(float)


def _interval(scans: list[list[float | None]], draws: np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of the mean of all values; samples that drew no value at all are left out."""
    present = [[v for v in scan if v is not None] for scan in scans]
    sums, counts = np.array([sum(s) for s in present], float), np.array([len(s) for s in present], float)
    if not counts.sum():
        return None, None
    drawn = draws @ counts
    means = (draws @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
