"""What lies across the centre line, position by position: how much of the middle is bone, how wide it is, its names."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DISC_RADIUS_MM = 7.0
_HALF_WIDTH_MM = 24.0
_TANGENT_MM = 6.0
_NAME_WINDOW_MM = 4


@dataclass(frozen=True)
class Profile:
    """Cross-sections along a line, one per millimetre, from top to bottom.

    Attributes:
        points: voxel indices of the working grid, (n, 3).
        tangents: unit vectors along the line, (n, 3).
        filled: share of the disc around the line that is mask, (n,).
        radius_mm: distance from the line to the nearest voxel outside the mask within the cross-section, (n,).
        name_change: how different the names are on the two sides of the position, 0 (the same) to 1, (n,).
    """

    points: np.ndarray
    tangents: np.ndarray
    filled: np.ndarray
    radius_mm: np.ndarray
    name_change: np.ndarray


def read_profile(labels: np.ndarray, line: np.ndarray, step_mm: float) -> Profile:
    """Cross-sections of a label map along its centre line.

    Args:
        labels: 3-D integers, isotropic, axes to the right, front and top; 0 background.
        line: voxel indices (m, 3) from top to bottom, m at least 2.
        step_mm: side of a voxel.
    """
    points = _every_millimetre(line, step_mm)
    tangents = np.gradient(ndimage.gaussian_filter1d(points, _TANGENT_MM, axis=0, mode="nearest"), axis=0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    across = np.cross(tangents, [0.0, 1.0, 0.0])  # to the left or right, for a spine that runs downwards
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    forward = np.cross(across, tangents)
    ticks = np.arange(-_HALF_WIDTH_MM, _HALF_WIDTH_MM + 0.1, step_mm) / step_mm
    u, v = np.meshgrid(ticks, ticks, indexing="ij")
    where = points[:, None, None] + u[..., None] * across[:, None, None] + v[..., None] * forward[:, None, None]
    index = np.rint(where).astype(np.int64)
    inside = np.all((index >= 0) & (index < labels.shape), axis=-1)
    index[~inside] = 0
    sections = np.where(inside, labels[tuple(np.moveaxis(index, -1, 0))], 0)  # (n, w, w)
    disc = u**2 + v**2 <= (DISC_RADIUS_MM / step_mm) ** 2
    middle = sections[:, disc]
    radius = np.array([_inscribed(section > 0) for section in sections]) * step_mm
    return Profile(points, tangents, (middle > 0).mean(1), radius, _name_change(middle))


def _every_millimetre(line: np.ndarray, step_mm: float) -> np.ndarray:
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]) * step_mm
    at = np.arange(0, length[-1] + 1e-6, 1.0)
    return np.stack([np.interp(at, length, line[:, axis]) for axis in range(3)], 1)


def _inscribed(section: np.ndarray) -> float:
    """Distance in voxels from the middle of a section to the nearest voxel outside, holes filled; 0 outside."""
    filled = ndimage.binary_fill_holes(section)
    n = section.shape[0] // 2
    if not filled[n, n]:
        return 0.0
    empty = np.argwhere(~filled)
    return float(np.sqrt(((empty - n) ** 2).sum(1).min())) if len(empty) else float(n)


def _name_change(middle: np.ndarray) -> np.ndarray:
    """Total variation between the names just above and just below each position, 0 where one side is empty."""
    values, codes = np.unique(middle, return_inverse=True)
    codes = codes.reshape(middle.shape)
    counts = np.stack([(codes == k).sum(1) for k in np.flatnonzero(values != 0)], 1) if values.any() else None
    if counts is None or counts.shape[1] < 2:
        return np.zeros(len(middle))
    total = np.pad(np.cumsum(counts, 0), ((1, 0), (0, 0))).astype(float)
    n = len(middle)
    at = np.arange(n)
    above = total[at] - total[np.maximum(at - _NAME_WINDOW_MM, 0)]
    below = total[np.minimum(at + _NAME_WINDOW_MM, n)] - total[at]
    share = [side / np.maximum(side.sum(1, keepdims=True), 1e-9) for side in (above, below)]
    change = 0.5 * np.abs(share[0] - share[1]).sum(1)
    change[(above.sum(1) == 0) | (below.sum(1) == 0)] = 0
    return change
