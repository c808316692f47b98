"""Distances between the surfaces of two masks on one grid.

The surface of a mask is the mask minus its erosion by the six face neighbours: its voxels that have a face neighbour
outside. Beyond the edge of the array everything is outside: a vertebra cut by the edge of the scan has a surface there.
Distances run between voxel centres in the world, whatever the grid's axes: anisotropic, rotated or sheared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from nnunet_spine.errors import InputError
from nnunet_spine.label_maps import label_voxels
from nnunet_spine.scores.identification import ROUNDING_MM


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces; every surface voxel of either mask counts once.

    Attributes:
        directed_mm: from a to b (n_a,), and from b to a (n_b,).
    """

    directed_mm: tuple[np.ndarray, np.ndarray]

    @cached_property
    def pooled_mm(self) -> np.ndarray:
        """Both together, sorted: their mean must not depend on the axes' directions."""
        return np.sort(np.concatenate(self.directed_mm))

    def share_within(self, tolerance_mm: float) -> float:
        """Share of all distances within a tolerance; a distance of exactly so far is within it."""
        return float(np.mean(self.pooled_mm <= tolerance_mm + ROUNDING_MM))


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a 3-D mask with a face neighbour outside it, or at the edge of the array; bool, same shape."""
    padded = np.pad(np.ascontiguousarray(mask), 1)
    at = np.flatnonzero(padded)
    out = np.zeros(padded.shape, bool)
    out.ravel()[at[_at_surface(padded.ravel(), at, np.array(padded.strides) // padded.itemsize)]] = True
    return out[1:-1, 1:-1, 1:-1]


def surface_distances(
    mask_a: np.ndarray, mask_b: np.ndarray, axes_mm: Sequence[float] | np.ndarray
) -> SurfaceDistances:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other.

    Args:
        mask_a, mask_b: 3-D bool, same shape, both with at least one voxel. The box that holds both is enough.
        axes_mm: voxel size along the array axes, (3,), or the affine's columns, (3, 3).

    Returns:
        Distances in the order of `label_voxels`.

    Raises:
        InputError: other shapes, or an empty mask.

    Example:
        >>> mask = np.zeros((9, 9, 9), bool)
        >>> mask[2:5, 2:5, 2:5] = True
        >>> distances = surface_distances(mask, np.roll(mask, 1, axis=0), (2.0, 1.0, 1.0))
        >>> float(distances.pooled_mm.max())
        2.0
    """
    if mask_a.shape != mask_b.shape:
        raise InputError(f"masks of shape {mask_a.shape} and {mask_b.shape}; expected the same grid")
    if not (mask_a.any() and mask_b.any()):
        raise InputError("empty mask", "distances exist between two surfaces only")
    index, values = label_voxels(mask_a.astype(np.uint8), mask_b.astype(np.uint8))
    return label_surface_distances(mask_a.shape, index, *values, axes_mm)[1]


def label_surface_distances(
    shape: Sequence[int],
    index: np.ndarray,
    values_a: np.ndarray,
    values_b: np.ndarray,
    axes_mm: Sequence[float] | np.ndarray,
) -> dict[int, SurfaceDistances]:
    """`surface_distances` of every label that two maps have in common.

    Works on lists of voxels, not on a box per label, which one stray voxel would make as large as the scan.

    Args:
        shape: of the maps, three axes.
        index, values_a, values_b: labelled voxels (n, 3) and their labels (n,), as of `label_voxels(a, b)`.
        axes_mm: as in `surface_distances`.

    Returns:
        Label -> distances.
    """
    axes_mm = np.asarray(axes_mm, float)
    axes_mm = np.diag(axes_mm) if axes_mm.ndim == 1 else axes_mm
    offsets, lengths_mm = _ball(axes_mm)
    margin = np.maximum(offsets.max(0), 1)  # no step from a voxel leaves the array or wraps around
    padded = np.array(shape) + 2 * margin
    strides = np.array([padded[1] * padded[2], padded[2], 1])
    at = index @ strides + margin @ strides
    sides = []
    for values in (values_a, values_b):
        outer_map = np.zeros(padded, np.uint8)
        own, flat = at[values != 0], outer_map.ravel()
        flat[own] = values[values != 0]
        outer = _at_surface(flat, own, strides)
        flat[own[~outer]] = 0
        own = own[outer]
        sides.append((outer_map, {int(i): own[flat[own] == i] for i in np.flatnonzero(np.bincount(flat[own]))}))
    steps = offsets @ strides
    rings = np.flatnonzero(np.diff(lengths_mm, append=np.inf) > ROUNDING_MM) + 1  # steps of equal length
    near = [(ring, float(lengths_mm[end - 1])) for ring, end in zip(np.split(steps, rings), rings, strict=False)]
    (map_a, at_a), (map_b, at_b) = sides
    return {
        i: SurfaceDistances(
            (
                _nearest_mm(at_a[i], at_b[i], map_b, near, axes_mm),
                _nearest_mm(at_b[i], at_a[i], map_a, near, axes_mm),
            )
        )
        for i in sorted(at_a.keys() & at_b.keys())
    }


def _at_surface(flat: np.ndarray, at: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """Whether voxels of a raveled map have a face neighbour of another value; none may lie at the map's edge."""
    own, outer = flat[at], np.zeros(len(at), bool)
    for stride in strides:
        outer |= flat[at + stride] != own
        outer |= flat[at - stride] != own
    return outer


def _nearest_mm(
    start: np.ndarray,
    goal: np.ndarray,
    goal_map: np.ndarray,
    near: list[tuple[np.ndarray, float]],
    axes_mm: np.ndarray,
) -> np.ndarray:
    """Distance of each voxel of `start` to the nearest of `goal`.

    Most surfaces of predictions lie within some voxels of the reference's: those are found by looking around, nearest
    offset first, some ten times as fast as by a distance transform of the box. The rest asks a tree.

    Args:
        start, goal: flat indices of the surfaces of one label.
        goal_map: has the label at `goal` and nowhere else.
        near: steps of the flat index that are equally long, and their length, nearest first.
        axes_mm: the affine's columns, (3, 3).
    """
    goal_flat = goal_map.ravel()
    label = goal_flat[goal[0]]
    out, left, at = np.empty(len(start)), np.arange(len(start)), start
    for steps, length_mm in near:
        hit = np.zeros(len(at), bool)
        for step in steps:
            hit |= goal_flat.take(at + step) == label
        out[left[hit]] = length_mm
        left, at = left[~hit], at[~hit]
        if not len(left):
            return out
    points, goals = (np.stack(np.unravel_index(k, goal_map.shape), 1) @ axes_mm.T for k in (at, goal))
    out[left] = cKDTree(goals).query(points)[0]
    return out


def _ball(axes_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the some 120 voxels around a voxel and of itself, (n, 3), and their lengths in mm, nearest first."""
    radius_mm = np.cbrt(120 * abs(np.linalg.det(axes_mm)) / (4 / 3 * np.pi))
    reach = radius_mm * np.linalg.norm(np.linalg.inv(axes_mm), axis=1)  # of the ball along each axis, in voxels
    ranges = [np.arange(-n, n + 1) for n in reach.astype(int)]
    offsets = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    lengths_mm = np.linalg.norm(offsets @ axes_mm.T, axis=1)
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= radius_mm]
    return offsets[order], lengths_mm[order]
