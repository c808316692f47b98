"""What a network's answer on one patch shows of the next vertebra."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cc3d
import numpy as np

from nnunet_spine.geometry import bounding_box, spacing_mm, to_world

NEAR_MM = 10.0  # pieces further from the largest one are something else


@dataclass(frozen=True)
class Fragment:
    """The part of a vertebra that a patch shows, without what other vertebrae have.

    Attributes:
        start: first voxel of its box in the scan, (3,).
        mask: voxels of the box that belong to it.
        probability: in the box, float16.
        affine: of the scan, 4 x 4, RAS mm.
        clearance_mm: from the box to the faces of the patch, (3, 2) before and behind along each axis; infinite where
            the scan ends.
        cut: whether it reaches a face of the scan.
        completeness: by the network, None where it says nothing.
    """

    start: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    affine: np.ndarray
    clearance_mm: np.ndarray
    cut: bool
    completeness: float | None

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """In the scan."""
        return tuple(slice(int(a), int(a) + n) for a, n in zip(self.start, self.mask.shape, strict=True))

    @property
    def box_centre(self) -> np.ndarray:
        """Voxel indices in the scan, (3,), between voxels where the box is even."""
        return self.start + (np.array(self.mask.shape) - 1) / 2

    @cached_property
    def centre_mm(self) -> np.ndarray:
        """Centre of mass, RAS mm."""
        return to_world(self.affine, self.start + np.argwhere(self.mask).mean(0))

    @cached_property
    def volume_mm3(self) -> float:
        return int(np.count_nonzero(self.mask)) * voxel_mm3(self.affine)

    def lies_inside(self, margin_mm: float, margin_behind_mm: float, behind: np.ndarray) -> bool:
        """Whether it stays this far from all faces of the patch.

        Args:
            margin_behind_mm: for the face that looks towards `behind`.
            behind: direction along the axes of the array, (3,).
        """
        margins = np.full((3, 2), margin_mm)
        axis = int(np.abs(behind).argmax())
        margins[axis, int(behind[axis] > 0)] = margin_behind_mm
        return bool((self.clearance_mm >= margins).all())


def voxel_mm3(affine: np.ndarray) -> float:
    """Volume of a voxel."""
    return float(abs(np.linalg.det(np.asarray(affine, float)[:3, :3])))


def find_fragment(
    probability: np.ndarray,
    start: Sequence[int],
    taken: np.ndarray,
    affine: np.ndarray,
    *,
    threshold: float,
    smallest_mm3: float,
    completeness: float | None = None,
) -> Fragment | None:
    """The largest connected piece above the threshold, with other large pieces near it.

    Args:
        probability: of the next vertebra, on the patch.
        start: first voxel of the patch in the scan; it may lie outside.
        taken: instance map of the scan: what is not 0 is not taken again.
        affine: of the scan.
        threshold: probability.
        smallest_mm3: smaller pieces are dropped, unless they reach a face of the scan.
        completeness: what the network says of it.

    Returns:
        None where nothing is left.
    """
    start = np.asarray(start, int)
    shape, size = np.array(taken.shape), np.array(probability.shape)
    first, last = np.maximum(start, 0), np.minimum(start + size, shape)
    if (last <= first).any():
        return None
    inside = tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))
    in_scan = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    probability = probability[inside]
    free = (probability >= threshold) & (taken[in_scan] == 0)
    outer = bounding_box(free)
    if outer is None:
        return None
    free = free[outer]
    first = first + [s.start for s in outer]
    kept = _pieces(free, first, shape, affine, smallest_mm3)
    box = bounding_box(kept)
    if box is None:
        return None
    offset = np.array([s.start for s in box])
    corner, mask = first + offset, kept[box]
    end = corner + mask.shape
    clearance = np.stack([corner - start, start + size - end], 1) * spacing_mm(affine)[:, None]
    at_face = np.stack([corner == 0, end == shape], 1)
    clearance[at_face] = np.inf
    probability = np.where(mask, probability[outer][box], 0).astype(np.float16)
    return Fragment(corner, mask, probability, np.asarray(affine, float), clearance, bool(at_face.any()), completeness)


def find_crumbs(
    probability: np.ndarray, start: Sequence[int], taken: np.ndarray, *, threshold: float
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Pieces of an answer that lie wholly inside the patch, whatever their size.

    Args:
        probability, start, taken, threshold: see `find_fragment`.

    Returns:
        The patch's part of the scan, and the voxels of the pieces in it.
    """
    start, size, shape = np.asarray(start, int), np.array(probability.shape), np.array(taken.shape)
    first, last = np.maximum(start, 0), np.maximum(np.minimum(start + size, shape), np.maximum(start, 0))
    inside = tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))
    here = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    free = (probability[inside] >= threshold) & (taken[here] == 0)
    if not free.any():
        return here, free
    ids = cc3d.connected_components(free, connectivity=26)
    leaves = set()
    for axis in range(3):
        for index, beyond in ((0, start[axis] > 0), (-1, start[axis] + size[axis] < shape[axis])):
            if beyond:  # the scan goes on behind this face of the patch
                leaves |= set(np.unique(ids.take(index, axis)).tolist())
    return here, free & ~np.isin(ids, sorted(leaves))


def _pieces(
    free: np.ndarray, first: np.ndarray, shape: np.ndarray, affine: np.ndarray, smallest_mm3: float
) -> np.ndarray:
    ids = cc3d.connected_components(free, connectivity=26)
    statistics = cc3d.statistics(ids, no_slice_conversion=True)
    low = statistics["bounding_boxes"][1:, 0::2].astype(int) + first
    high = statistics["bounding_boxes"][1:, 1::2].astype(int) + first + 1
    volumes = statistics["voxel_counts"][1:] * voxel_mm3(affine)
    at_face = (low == 0).any(1) | (high == shape).any(1)
    large = (volumes >= smallest_mm3) | at_face
    if not large.any():
        return np.zeros_like(free)
    main = int(np.where(large, volumes, -1).argmax())
    apart = np.maximum(np.maximum(low - high[main], low[main] - high), 0) * spacing_mm(affine)
    lookup = np.zeros(len(volumes) + 1, bool)
    lookup[1:] = large & (np.linalg.norm(apart, axis=1) <= NEAR_MM)
    return lookup[ids]
