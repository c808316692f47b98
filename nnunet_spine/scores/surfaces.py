"""Distances between the surfaces of two masks on one grid.

The surface of a mask is the mask minus its erosion by the six face neighbours: its voxels that have a face neighbour
outside. Beyond the edge of the array everything is outside, so a vertebra cut by the edge of the scan has a surface there.
Distances run between voxel centres, with the spacing along the array axes (lengths of the affine's columns): exact for
rotated grids; a sheared affine is measured as if its axes were orthogonal.
"""

from dataclasses import dataclass

import edt
import numpy as np

from nnunet_spine import geometry


@dataclass(frozen=True)
class SurfaceScore:
    """How far two surfaces lie apart; every surface voxel of either mask counts once.

    Attributes:
        assd_mm: mean over all voxels of both surfaces of the distance to the other.
        hd_mm: largest of these distances (Hausdorff).
        hd95_mm: their 95th percentile, linear between ranks, both surfaces pooled, as in medpy. (MONAI
            takes the larger of the two directed percentiles, which is never smaller.)
        nsd: share of these distances within the tolerance (normalised surface Dice, in surface voxels).
    """

    assd_mm: float
    hd_mm: float
    hd95_mm: float
    nsd: float


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a 3-D bool mask with a face neighbour outside it, or at the edge of the array."""
    inner = mask.copy(order="K")
    for axis in range(mask.ndim):
        cut, whole = inner.swapaxes(0, axis), mask.swapaxes(0, axis)
        cut[1:] &= whole[:-1]
        cut[:-1] &= whole[1:]
        cut[0] = cut[-1] = False
    return mask & ~inner


def surface_distances(
    mask_a: np.ndarray, mask_b: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other.

    Args:
        mask_a, mask_b: 3-D bool, same shape, both with at least one voxel.
        spacing_mm: voxel size along the array axes.

    Returns:
        mm from a to b (n_a,), and from b to a (n_b,), float32.
    """
    box = geometry.bounding_box(mask_a | mask_b)
    outer_a, outer_b = (np.asfortranarray(surface(m[box])) for m in (mask_a, mask_b))
    spacing = tuple(map(float, spacing_mm))
    to_a, to_b = (edt.edt(~s, anisotropy=spacing, parallel=1) for s in (outer_a, outer_b))
    return to_b[outer_a], to_a[outer_b]


def score_surfaces(a_to_b_mm: np.ndarray, b_to_a_mm: np.ndarray, tolerance_mm: float) -> SurfaceScore:
    """Summary of the distances of `surface_distances`."""
    both = np.concatenate([a_to_b_mm, b_to_a_mm]).astype(float)
    return SurfaceScore(
        assd_mm=float(both.mean()),
        hd_mm=float(both.max()),
        hd95_mm=float(np.percentile(both, 95)),
        nsd=float(np.mean(both <= tolerance_mm)),
    )
