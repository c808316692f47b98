"""Scores of one case: Dice, identification and localisation per vertebra.

Label maps hold nnU-Net ids (`anatomy.BY_NNUNET_ID`), 0 is background. A vertebra's centre is the centroid of its whole
mask, on both sides; body centres lie 8-15 mm further anterior and must not be mixed with these. Everything is computed
on the given grid (VerSe's script first resamples to 1 mm). Nothing is NaN: what does not exist is None, and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_spine import geometry
from nnunet_spine.anatomy import BY_NNUNET_ID, LEVELS, sort_cranio_caudal
from nnunet_spine.errors import InputError
from nnunet_spine.scores.labels import N_IDS, as_label_ids, centres, label_voxels
from nnunet_spine.scores.summary import summarise

IDENTIFICATION_RADIUS_MM = 20.0
ROUNDING_MM = 1e-6  # rotated affines put a point that is 20 mm away at 20.000000000000004 mm
CENTRE_DEFINITION = "centroid of the whole vertebra mask"


@dataclass(frozen=True)
class VertebraScore:
    """One reference vertebra.

    Attributes:
        name: "C1" ... "L6".
        reference_mm3, predicted_mm3: volumes under this label; predicted 0 means missed.
        dice: overlap of the two masks with this label; 0 if missed.
        distance_mm: between the two centres; None if missed.
        identified: see `identified_levels`.
    """

    name: str
    reference_mm3: float
    predicted_mm3: float
    dice: float
    distance_mm: float | None
    identified: bool

    @property
    def missed(self) -> bool:
        """Whether the prediction has no voxel with this label."""
        return self.distance_mm is None


@dataclass(frozen=True)
class CaseScore:
    """One case.

    Attributes:
        case: name of the case.
        binary_dice: all vertebrae against background; None if both maps are empty.
        vertebrae: the reference vertebrae in cranio-caudal order.
        surplus: predicted levels that the reference does not have, in cranio-caudal order. One voxel suffices.
    """

    case: str
    binary_dice: float | None
    vertebrae: tuple[VertebraScore, ...]
    surplus: tuple[str, ...]

    @property
    def missed(self) -> tuple[str, ...]:
        """Reference levels without any predicted voxel."""
        return tuple(v.name for v in self.vertebrae if v.missed)

    @property
    def n_identified(self) -> int:
        """How many reference vertebrae are identified."""
        return sum(v.identified for v in self.vertebrae)

    @property
    def identification_rate(self) -> float | None:
        """Identified / reference vertebrae; None without reference vertebrae."""
        return self.n_identified / len(self.vertebrae) if self.vertebrae else None

    @property
    def dice(self) -> float | None:
        """Mean Dice over the reference vertebrae, missed ones as 0; None without reference vertebrae."""
        return summarise(v.dice for v in self.vertebrae).mean

    @property
    def localisation_error_mm(self) -> float | None:
        """Mean distance over the reference vertebrae that were predicted; None if there are none."""
        return summarise(v.distance_mm for v in self.vertebrae).mean

    @property
    def all_labels_correct(self) -> bool:
        """Whether predicted and reference label sets are equal and every reference vertebra is identified.

        Says nothing about outlines. True for an empty prediction of an empty reference.
        """
        return not self.surplus and self.n_identified == len(self.vertebrae)


def identified_levels(
    reference_mm: Mapping[int, np.ndarray],
    predicted_mm: Mapping[int, np.ndarray],
    *,
    nearest_among: str = "common",
    radius_mm: float = IDENTIFICATION_RADIUS_MM,
) -> set[int]:
    """Levels whose predicted centre lies within the radius, and nearer to no other reference centre than to its own.

    The rule of VerSe's evaluation script (anjany/verse, utils/eval_utilities.py): other reference centres count only if
    their label was predicted too. With `nearest_among="reference"` all reference centres count (Glocker et al. 2012).
    A distance of exactly the radius passes. Unlike the script, a tie passes whatever the order of the labels.

    Args:
        reference_mm, predicted_mm: label -> centre (3,) in mm.
        nearest_among: "common" or "reference".
        radius_mm: largest distance.

    Raises:
        InputError: another `nearest_among`.
    """
    if nearest_among not in ("common", "reference"):
        raise InputError(f"nearest_among '{nearest_among}'; expected 'common' or 'reference'")
    common = reference_mm.keys() & predicted_mm.keys()
    rivals = common if nearest_among == "common" else reference_mm.keys()
    found = set()
    for level in common:
        distances = {rival: np.linalg.norm(predicted_mm[level] - reference_mm[rival]) for rival in rivals}
        limit = min(radius_mm, *distances.values())
        if distances[level] <= limit + ROUNDING_MM:
            found.add(level)
    return found


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    *,
    case: str = "",
    nearest_among: str = "common",
) -> CaseScore:
    """Compare two label maps on one grid.

    Dice = 2|A∩B| / (|A|+|B|) per reference vertebra; centres are whole-mask centroids in world mm.

    Args:
        prediction, reference: nnU-Net ids, same shape (any axis order).
        affine: voxel index -> RAS mm, 4x4.
        case: name for the report.
        nearest_among: see `identified_levels`.

    Raises:
        InputError: different shapes, or values that are not nnU-Net ids.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    index, (pred, ref) = label_voxels(as_label_ids(prediction), as_label_ids(reference))
    # joint[i, j]: voxels that are i in the reference and j in the prediction; (0, 0) stays empty
    joint = np.bincount(ref.astype(np.intp) * N_IDS + pred, minlength=N_IDS**2).reshape(N_IDS, N_IDS)
    n_ref, n_pred, both = joint.sum(1), joint.sum(0), joint.diagonal()
    ref_mm = {i: geometry.to_world(affine, c) for i, c in centres(index, ref).items()}
    pred_mm = {i: geometry.to_world(affine, c) for i, c in centres(index, pred).items()}
    identified = identified_levels(ref_mm, pred_mm, nearest_among=nearest_among)
    voxel_mm3 = abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3])))

    vertebrae = tuple(
        VertebraScore(
            name=level.name,
            reference_mm3=float(n_ref[i] * voxel_mm3),
            predicted_mm3=float(n_pred[i] * voxel_mm3),
            dice=float(2 * both[i] / (n_ref[i] + n_pred[i])),
            distance_mm=float(np.linalg.norm(pred_mm[i] - ref_mm[i])) if i in pred_mm else None,
            identified=i in identified,
        )
        for level in LEVELS
        if (i := level.nnunet_id) in ref_mm
    )
    surplus = sort_cranio_caudal(BY_NNUNET_ID[i].name for i in pred_mm.keys() - ref_mm.keys())
    size = n_ref[1:].sum() + n_pred[1:].sum()
    binary_dice = float(2 * joint[1:, 1:].sum() / size) if size else None
    return CaseScore(case, binary_dice, vertebrae, tuple(surplus))
