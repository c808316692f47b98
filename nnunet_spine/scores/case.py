"""What is known about one scored case. Nothing is NaN: a value that does not exist is None, and counted."""

from collections.abc import Callable
from dataclasses import dataclass

from nnunet_spine.scores.summary import summarise

FAR_MM = 20.0  # a centre so far off raises the suspicion as much as no overlap at all

Point = tuple[float, float, float]


@dataclass(frozen=True)
class VertebraScore:
    """One reference vertebra against what the prediction has under the same name.

    Attributes:
        name: "C1" ... "L6".
        reference_mm3: volume; None: the reference has a centre only.
        predicted_mm3: volume under this name; 0 means missed.
        dice, iou: overlap of the two masks of this name; 0 if missed, None without a reference mask.
        assd_mm, hd_mm, hd95_mm: see `surfaces.SurfaceScore`; None if missed or without a reference mask.
        nsd: share of both surfaces within the tolerance; 0 if missed, None without a reference mask.
        distance_mm: between the centres of this name; None if missed.
        identified: by the rule of VerSe's script, see `identified_levels`.
        identified_glocker: the same with all reference centres as rivals.
        found_as: the predicted level that covers most of the reference mask, and at least the covering share of it,
            whatever its name; without a mask the predicted level with the nearest centre within the identification
            radius; None: not covered.
        reference_center_mm, predicted_center_mm: world RAS; the latter None if missed.
    """

    name: str
    reference_mm3: float | None
    predicted_mm3: float
    dice: float | None
    iou: float | None
    assd_mm: float | None
    hd_mm: float | None
    hd95_mm: float | None
    nsd: float | None
    distance_mm: float | None
    identified: bool
    identified_glocker: bool
    found_as: str | None
    reference_center_mm: Point
    predicted_center_mm: Point | None

    @property
    def missed(self) -> bool:
        """Whether the prediction has no voxel under this name."""
        return self.predicted_center_mm is None

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
        predicted_center_mm: world RAS.
        lies_on: the reference level that holds most of it, and at least the covering share of it; without reference
            masks the level with the nearest centre within the identification radius; None: it lies on none.
    """

    name: str
    predicted_mm3: float
    predicted_center_mm: Point
    lies_on: str | None


@dataclass(frozen=True)
class CaseScore:
    """One case.

    Attributes:
        case: its name.
        binary_dice: all vertebrae against background; None if both maps are empty or the reference has centres only.
        vertebrae: the reference vertebrae in cranio-caudal order.
        surplus: predicted levels that the reference does not have, in cranio-caudal order.
        shift: levels by which the whole prediction is off, see `shift.level_shift`; None: no shift explains the names,
            or none is wrong.
        notes: what a reader of the numbers must know, e.g. that the prediction was resampled.
    """

    case: str
    binary_dice: float | None
    vertebrae: tuple[VertebraScore, ...]
    surplus: tuple[SurplusVertebra, ...]
    shift: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_reference(self) -> int:
        """How many vertebrae the reference has."""
        return len(self.vertebrae)

    @property
    def n_predicted(self) -> int:
        """How many levels the prediction has, surplus ones included."""
        return self.n_reference - len(self.missed) + len(self.surplus)

    @property
    def missed(self) -> tuple[str, ...]:
        """Reference levels without any predicted voxel."""
        return tuple(v.name for v in self.vertebrae if v.missed)

    @property
    def misnamed(self) -> tuple[str, ...]:
        """Reference levels that were found under another name."""
        return tuple(v.name for v in self.vertebrae if v.misnamed)

    @property
    def surplus_names(self) -> tuple[str, ...]:
        """Predicted levels that the reference does not have."""
        return tuple(s.name for s in self.surplus)

    @property
    def n_identified(self) -> int:
        """How many reference vertebrae are identified by VerSe's rule."""
        return sum(v.identified for v in self.vertebrae)

    @property
    def n_identified_glocker(self) -> int:
        """How many reference vertebrae are identified by Glocker's rule."""
        return sum(v.identified_glocker for v in self.vertebrae)

    @property
    def identification_rate(self) -> float | None:
        """Identified / reference vertebrae, VerSe's rule; None without reference vertebrae."""
        return self.n_identified / self.n_reference if self.vertebrae else None

    @property
    def identification_rate_glocker(self) -> float | None:
        """Identified / reference vertebrae, Glocker's rule; None without reference vertebrae."""
        return self.n_identified_glocker / self.n_reference if self.vertebrae else None

    @property
    def dice(self) -> float | None:
        """Mean over the reference vertebrae with a mask, missed ones as 0; None if there are none."""
        return self._mean(lambda v: v.dice)

    @property
    def iou(self) -> float | None:
        """Mean over the reference vertebrae with a mask, missed ones as 0; None if there are none."""
        return self._mean(lambda v: v.iou)

    @property
    def nsd(self) -> float | None:
        """Mean over the reference vertebrae with a mask, missed ones as 0; None if there are none."""
        return self._mean(lambda v: v.nsd)

    @property
    def assd_mm(self) -> float | None:
        """Mean over the reference vertebrae that were predicted; None if there are none."""
        return self._mean(lambda v: v.assd_mm)

    @property
    def hd_mm(self) -> float | None:
        """Mean over the reference vertebrae that were predicted; None if there are none."""
        return self._mean(lambda v: v.hd_mm)

    @property
    def hd95_mm(self) -> float | None:
        """Mean over the reference vertebrae that were predicted; None if there are none."""
        return self._mean(lambda v: v.hd95_mm)

    @property
    def localisation_error_mm(self) -> float | None:
        """Mean distance over the reference vertebrae that were predicted; None if there are none."""
        return self._mean(lambda v: v.distance_mm)

    def localisation_error_penalised_mm(self, penalty_mm: float) -> float | None:
        """Mean distance over all reference vertebrae, missed ones at the penalty; None without reference vertebrae."""
        return self._mean(lambda v: penalty_mm if v.missed else v.distance_mm)

    @property
    def all_labels_correct(self) -> bool:
        """Whether predicted and reference label sets are equal and every vertebra is identified by VerSe's rule.

        Says nothing about outlines. True for an empty prediction of an empty reference.
        """
        return not self.surplus and self.n_identified == self.n_reference

    @property
    def suspicion(self) -> float:
        """How much the case asks to be looked at, 0 (perfect) to 1.

        `outline` is the largest, over the vertebrae that were predicted, of 1 - Dice and of distance / 20 mm (at most
        1). With all labels right it is 0.5 outline. Otherwise 0.5 + 0.4 wrong + 0.1 outline, where `wrong` is the
        share of levels, reference and surplus, that are not identified (missed, misplaced, shifted) or surplus: a
        wrong label always comes before a bad outline.
        """
        found = [v for v in self.vertebrae if not v.missed]
        flaws = [1 - v.dice for v in found if v.dice is not None] + [v.distance_mm / FAR_MM for v in found]
        outline = min(1.0, max(flaws, default=0.0))
        if self.all_labels_correct:
            return 0.5 * outline
        n_wrong = self.n_reference - self.n_identified + len(self.surplus)
        return 0.5 + 0.4 * n_wrong / (self.n_reference + len(self.surplus)) + 0.1 * outline

    def _mean(self, value: Callable[[VertebraScore], float | None]) -> float | None:
        return summarise(map(value, self.vertebrae)).mean
