"""Scores of a cohort, pooled over vertebrae by region and by level."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nnunet_spine.anatomy import REGIONS, sort_cranio_caudal
from nnunet_spine.scores.case import CaseScore, in_group
from nnunet_spine.scores.metrics import Metric, Value, cohort_metrics, scan_metrics, vertebra_metrics
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.summary import Rate, Summary, bootstrap_interval, draw_scans, rate, summarise


@dataclass(frozen=True)
class GroupSummary:
    """All vertebrae of a region or a level, pooled over the cohort; `group["dice"]` is a summary.

    Attributes:
        group: "All", "C", "T", "L" or a level's name, by the reference label (`surplus`: by the predicted label).
        reference, missed, misnamed, surplus: numbers of vertebrae.
        values: `mean_key` of a metric of vertebrae -> summary. Values that do not exist are its `missing` ones.
    """

    group: str
    reference: int
    missed: int
    misnamed: int
    surplus: int
    values: Mapping[str, Summary | Rate]

    def __getitem__(self, key: str) -> Summary | Rate:
        return self.values[key]


@dataclass(frozen=True)
class CohortSummary:
    """A cohort; `summary["binary_dice"]` is the summary of a metric of scans or cohorts.

    Attributes:
        cases: number of cases.
        values: key of a metric of scans or cohorts -> summary over cases.
        per_scan: `mean_key` of a metric of vertebrae -> summary of the cases' means; cases without are `missing`.
        regions: All, C, T, L, over vertebrae.
        levels: each level that a reference or a prediction has, cranio-caudal, over vertebrae.
    """

    cases: int
    values: Mapping[str, Summary | Rate]
    per_scan: Mapping[str, Summary]
    regions: tuple[GroupSummary, ...]
    levels: tuple[GroupSummary, ...]

    def __getitem__(self, key: str) -> Summary | Rate:
        return self.values[key]

    @property
    def groups(self) -> tuple[GroupSummary, ...]:
        """Regions, then levels."""
        return self.regions + self.levels

    def to_dict(self) -> dict:
        """Plain dicts and numbers; the summaries of `values` lie beside the counts."""

        def flat(group: GroupSummary) -> dict:
            content = asdict(group)
            return content | content.pop("values")

        content = asdict(self)
        groups = {name: [flat(g) for g in getattr(self, name)] for name in ("regions", "levels")}
        return {"cases": self.cases, **content["values"], "per_scan": content["per_scan"], **groups}


def summarise_cohort(cases: Sequence[CaseScore], settings: Settings = Settings()) -> CohortSummary:  # noqa: B008
    """Pool cases; for no cases all numbers are 0 and all averages None.

    Intervals are 95 % percentile intervals of a bootstrap over scans: vertebrae of one scan share its errors, so whole
    scans are drawn with replacement, and the mean over the vertebrae drawn is taken. The same draws serve every number.
    Shares that are the same in all scans get an exact interval, see `summary.interval_of_equal_scans`.

    Args:
        cases: one per scan.
        settings: penalty, draws and seed are used.

    Example:
        >>> from nnunet_spine.scores import score_case
        >>> import numpy as np
        >>> mask = np.zeros((20, 20, 20), np.uint8)
        >>> mask[5:15, 5:15, 5:15] = 20
        >>> summary = summarise_cohort([score_case(mask, mask, np.eye(4), case=name) for name in ("a", "b")])
        >>> summary["binary_dice"].mean
        1.0
    """
    draws = draw_scans(len(cases), settings.bootstrap_draws, settings.bootstrap_seed)
    present = {v.name for case in cases for v in case.vertebrae} | {n for case in cases for n in case.surplus_names}
    values = {m.key: _pooled(m, [[case.value(m)] for case in cases], draws) for m in scan_metrics()}
    for metric in cohort_metrics():
        parts = [metric.compute(c) if metric.needs == "masks" or c.kind == "vertebrae" else (0, 0) for c in cases]
        values[metric.key] = rate([n for n, _ in parts], [total for _, total in parts], draws)
    return CohortSummary(
        cases=len(cases),
        values=values,
        per_scan={
            m.mean_key: _summary([[case.value(m, settings)] for case in cases], draws) for m in vertebra_metrics()
        },
        regions=tuple(_group(cases, region, draws, settings) for region in ("All", *REGIONS)),
        levels=tuple(_group(cases, name, draws, settings) for name in sort_cranio_caudal(present)),
    )


def _group(cases: Sequence[CaseScore], group: str, draws: np.ndarray, settings: Settings) -> GroupSummary:
    def scans(metric: Metric) -> list[list[Value]]:
        return [case.vertebra_values(metric, settings, group) for case in cases]

    vertebrae = [v for case in cases for v in case.vertebrae if in_group(v.name, group)]
    return GroupSummary(
        group=group,
        reference=len(vertebrae),
        missed=sum(v.missed for v in vertebrae),
        misnamed=sum(v.misnamed for v in vertebrae),
        surplus=sum(in_group(name, group) for case in cases for name in case.surplus_names),
        values={m.mean_key: _pooled(m, scans(m), draws) for m in vertebra_metrics()},
    )


def _pooled(metric: Metric, scans: list[list[Value]], draws: np.ndarray) -> Summary | Rate:
    if not metric.yes_no:
        return _summary(scans, draws)
    known = [[bool(v) for v in scan if v is not None] for scan in scans]
    return rate([sum(scan) for scan in known], [len(scan) for scan in known], draws)


def _summary(scans: list[list[Value]], draws: np.ndarray) -> Summary:
    present = [[v for v in scan if v is not None] for scan in scans]
    ends = bootstrap_interval([sum(s) for s in present], [len(s) for s in present], draws)
    return summarise((v for scan in scans for v in scan), *(ends or (None, None)))
