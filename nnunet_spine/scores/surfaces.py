"""Distances between the surfaces of two masks on one grid.

The surface of a mask is the mask minus its erosion by the six face neighbours: its voxels that have a face neighbour
outside. Beyond the edge of the array everything is outside: a vertebra cut by the edge of the scan has a surface there.
Distances run between voxel centres, with the spacing along the array axes (lengths of the affine's columns): exact for
rotated grids; a sheared affine is measured as if its axes were orthogonal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from nnunet_spine.errors import InputError
from nnunet_spine.scores.identification import ROUNDING_MM


@dataclass(frozen=True)
class SurfaceScore:
    """How far two surfaces lie apart; every surface voxel of either mask counts once.

    Attributes:
        assd_mm: mean over all voxels of both surfaces of the distance to the other.
        hd_mm: largest of these distances (Hausdorff).
        hd95_mm: their 95th percentile, linear between ranks, both surfaces pooled, as in medpy. (MONAI
            takes the larger of the two directed percentiles, as a rule a larger number.)
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
    mask_a: np.ndarray, mask_b: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other.

    Args:
        mask_a, mask_b: 3-D bool, same shape, both with at least one voxel. The box that holds both is enough.
        spacing_mm: voxel size along the array axes.

    Returns:
        mm from a to b (n_a,), and from b to a (n_b,), in the order of the voxels.

    Raises:
        InputError: other shapes, or an empty mask.
    """
    if mask_a.shape != mask_b.shape:
        raise InputError(f"masks of shape {mask_a.shape} and {mask_b.shape}; expected the same grid")
    if not (mask_a.any() and mask_b.any()):
        raise InputError("empty mask", "distances exist between two surfaces only")
    spacing_mm = np.asarray(spacing_mm, float)
    offsets, lengths_mm = _ball(spacing_mm)
    margin = [(reach, reach) for reach in offsets.max(0)]  # no offset leaves the array, or wraps around its end
    outer_a, outer_b = (surface(np.pad(mask, margin)) for mask in (mask_a, mask_b))
    steps = offsets @ (np.array(outer_a.strides) // outer_a.itemsize)
    near = list(zip(steps.tolist(), lengths_mm.tolist(), strict=True))
    return _nearest_mm(outer_a, outer_b, near, spacing_mm), _nearest_mm(outer_b, outer_a, near, spacing_mm)


def _nearest_mm(
    start: np.ndarray, goal: np.ndarray, near: list[tuple[int, float]], spacing_mm: np.ndarray
) -> np.ndarray:
    """Distance of each voxel of `start` to the nearest of `goal`.

    Most surfaces of predictions lie within some voxels of the reference's: those are found by looking around, nearest
    offset first, some ten times as fast as by a distance transform of the box. The rest asks a tree.
    """
    start_at, goal_flat = np.flatnonzero(start), goal.ravel()
    out, left, at = np.empty(len(start_at)), np.arange(len(start_at)), start_at
    for step, length_mm in near:
        hit = goal_flat[at + step]
        out[left[hit]] = length_mm
        left, at = left[~hit], at[~hit]
        if not len(left):
            return out
    points, goals = (np.stack(np.unravel_index(k, start.shape), 1) * spacing_mm for k in (at, np.flatnonzero(goal)))
    out[left] = cKDTree(goals).query(points)[0]
    return out


def _ball(spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the some 120 voxels around a voxel and of itself, (n, 3), and their lengths in mm, nearest first."""
    radius_mm = np.cbrt(120 * spacing_mm.prod() / (4 / 3 * np.pi))
    ranges = [np.arange(-n, n + 1) for n in (radius_mm // spacing_mm).astype(int)]
    offsets = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    lengths_mm = np.linalg.norm(offsets * spacing_mm, axis=1)
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= radius_mm]
    return offsets[order], lengths_mm[order]


def score_surfaces(a_to_b_mm: np.ndarray, b_to_a_mm: np.ndarray, tolerance_mm: float) -> SurfaceScore:
    """Summary of the distances of `surface_distances`. A distance of exactly the tolerance is within it."""
    both = np.sort(np.concatenate([a_to_b_mm, b_to_a_mm]))  # sorted: the mean must not depend on the axes' directions
    return SurfaceScore(
        assd_mm=float(both.mean()),
        hd_mm=float(both[-1]),
        hd95_mm=float(np.percentile(both, 95)),
        nsd=float(np.mean(both <= tolerance_mm + ROUNDING_MM)),
    )
