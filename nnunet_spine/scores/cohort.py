"""Scores of a cohort, pooled over vertebrae by region."""

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_spine.anatomy import REGIONS
from nnunet_spine.scores.case import CaseScore
from nnunet_spine.scores.summary import Summary, summarise


@dataclass(frozen=True)
class RegionSummary:
    """All vertebrae of a region ("All", "C", "T" or "L"), pooled over the cohort.

    Attributes:
        region: "All", "C", "T" or "L", by the reference label (`surplus`: by the predicted label).
        reference, identified, missed, surplus: numbers of vertebrae.
        identification_rate: identified / reference; None without reference vertebrae.
        dice: over reference vertebrae, missed ones as 0.
        localisation_error_mm: over reference vertebrae that were predicted; the others are its `missing`.
    """

    region: str
    reference: int
    identified: int
    missed: int
    surplus: int
    identification_rate: float | None
    dice: Summary
    localisation_error_mm: Summary


@dataclass(frozen=True)
class CohortSummary:
    """A cohort.

    Attributes:
        cases: number of cases.
        all_labels_correct: number of cases in which every label is right.
        binary_dice: over cases; those with two empty maps are its `missing`.
        dice_per_case: over cases, each case's mean over its vertebrae; cases without reference vertebrae are `missing`.
        regions: All, C, T, L, over vertebrae.
    """

    cases: int
    all_labels_correct: int
    binary_dice: Summary
    dice_per_case: Summary
    regions: tuple[RegionSummary, ...]


def summarise_cohort(cases: Sequence[CaseScore]) -> CohortSummary:
    """Pool cases; for no cases all numbers are 0 and all averages None."""
    return CohortSummary(
        cases=len(cases),
        all_labels_correct=sum(case.all_labels_correct for case in cases),
        binary_dice=summarise(case.binary_dice for case in cases),
        dice_per_case=summarise(case.dice for case in cases),
        regions=tuple(_summarise_region(cases, region) for region in ("All", *REGIONS)),
    )


def _summarise_region(cases: Sequence[CaseScore], region: str) -> RegionSummary:
    def inside(name: str) -> bool:
        return region in ("All", name[0])

    vertebrae = [v for case in cases for v in case.vertebrae if inside(v.name)]
    identified = sum(v.identified for v in vertebrae)
    return RegionSummary(
        region=region,
        reference=len(vertebrae),
        identified=identified,
        missed=sum(v.missed for v in vertebrae),
        surplus=sum(inside(name) for case in cases for name in case.surplus),
        identification_rate=identified / len(vertebrae) if vertebrae else None,
        dice=summarise(v.dice for v in vertebrae),
        localisation_error_mm=summarise(v.distance_mm for v in vertebrae),
    )
