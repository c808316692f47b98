"""A method with its summaries: what tables and comparisons are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nnunet_spine.scores import CohortSummary, GroupSummary


@dataclass(frozen=True)
class Method:
    """A row, or a block of rows, of a table.

    Attributes:
        name: "" where there is only one.
        summary: over the cases that all methods have.
        groups: group of cases, named by the user -> summary over these.
    """

    name: str
    summary: CohortSummary
    groups: dict[str, CohortSummary] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name or "prediction"


def region_of(summary: CohortSummary, region: str) -> GroupSummary:
    """The summary of a region, or of "All"."""
    return next(group for group in summary.regions if group.group == region)


def size_text(methods: Sequence[Method]) -> str:
    """ "n = 2 scans with 8 reference vertebrae." """
    summary = methods[0].summary
    scans = f"{summary.cases} scan{'s' * (summary.cases != 1)}"
    return f"n = {scans} with {region_of(summary, 'All').reference} reference vertebrae."
