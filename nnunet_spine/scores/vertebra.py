"""What is known about one vertebra of one case. Nothing is NaN: a value that does not exist is None, and counted."""

from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float, float, float]


@dataclass(frozen=True)
class VertebraScore:
    """One reference vertebra against what the prediction has under the same name; `score["dice"]` is a metric's value.

    Attributes:
        name: "C1" ... "L6".
        reference_mm3: volume; None: the reference has a centre only.
        predicted_mm3: volume under this name; 0 means missed.
        found_as: the predicted level that covers most of the reference mask, and at least the covering share of it,
            whatever its name; without a mask the predicted level with the nearest centre within the identification
            radius; None: not covered.
        reference_centre_mm, predicted_centre_mm: world RAS; the latter None if missed.
        values: key of a metric of vertebrae -> value; None where it does not exist, also if the vertebra was missed
            and the metric takes what that counts as from a setting (`Metric.if_missed`).
    """

    name: str
    reference_mm3: float | None
    predicted_mm3: float
    found_as: str | None
    reference_centre_mm: Point
    predicted_centre_mm: Point | None
    values: Mapping[str, float | bool | None]

    def __getitem__(self, key: str) -> float | bool | None:
        return self.values[key]

    @property
    def missed(self) -> bool:
        """Whether the prediction has no voxel under this name."""
        return self.predicted_centre_mm is None

    @property
    def misnamed(self) -> bool:
        """Whether the vertebra was found, but under another name."""
        return self.found_as is not None and self.found_as != self.name


@dataclass(frozen=True)
class SurplusVertebra:
    """A predicted level that the reference does not have. One voxel suffices.

    Attributes:
        name: "C1" ... "L6".
        predicted_mm3: volume.
        predicted_centre_mm: world RAS.
        lies_on: the reference level that holds most of it, and at least the covering share of it; without reference
            masks the level with the nearest centre within the identification radius; None: it lies on none.
    """

    name: str
    predicted_mm3: float
    predicted_centre_mm: Point
    lies_on: str | None
