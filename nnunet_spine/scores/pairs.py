"""What a metric sees: one vertebra on both sides, and one scan."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.surfaces import SurfaceDistances
from nnunet_spine.scores.vertebra import SurplusVertebra, VertebraScore


@dataclass(frozen=True)
class VertebraPair:
    """One reference vertebra beside what was predicted under its name.

    Attributes:
        reference_voxels, predicted_voxels, common_voxels: sizes of the two masks and of their overlap.
        voxel_mm3: volume of a voxel.
        distances: between the two surfaces; None without a reference mask.
        reference_mm, predicted_mm: centres, world RAS (3,).
        identified, identified_glocker: by the two rules of `identification`.
        masks: returns both masks (bool, one shape, all axes cut to what holds any label) and their affine.
        settings: what the scores depend on.
    """

    reference_voxels: int
    predicted_voxels: int
    common_voxels: int
    voxel_mm3: float
    distances: SurfaceDistances | None
    reference_mm: np.ndarray
    predicted_mm: np.ndarray
    identified: bool
    identified_glocker: bool
    masks: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
    settings: Settings


@dataclass(frozen=True)
class Naming:
    """How sure the one is who named the predicted vertebrae.

    Attributes:
        probability: that all names are right; None: not said.
        ambiguous: whether they may be shifted as a whole.
    """

    probability: float | None
    ambiguous: bool


@dataclass(frozen=True)
class ScanPair:
    """One scan: all its vertebrae together against background, and the scores of each.

    Attributes:
        reference_voxels, predicted_voxels, common_voxels: of all vertebrae together.
        vertebrae: the reference's, scored.
        surplus: predicted levels that the reference does not have.
        settings: what the scores depend on.
        naming: how sure the names are; None: nobody said.
    """

    reference_voxels: int
    predicted_voxels: int
    common_voxels: int
    vertebrae: tuple[VertebraScore, ...]
    surplus: tuple[SurplusVertebra, ...]
    settings: Settings
    naming: Naming | None = None
