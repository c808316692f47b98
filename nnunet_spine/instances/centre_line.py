"""The line through the vertebral bodies, from the voxels of a spine.

Bodies and the discs between them are the thickest column of a spine: along it a smoothed mask is densest. The line is
the path from the top of the mask to its bottom that collects most of this density, one point per slice, found exactly
by dynamic programming, and then moved to the middle of the thick parts around it.
"""

import edt
import numpy as np
from scipy import ndimage

_SMOOTHING_MM = (4.0, 4.0, 8.0)
_COARSE_STRIDE = 2  # of the search, in voxels
_TURN_COST = 0.03  # of one step sideways, growing with the square, in units of the largest density
_MIDLINE_SD_MM, _MIDLINE_SMOOTHING_MM = 12.0, 15.0
_REACH_MM = 14.0
_REFINEMENTS = 5
_SMOOTH_LINE_MM = 9.0


def centre_line(mask: np.ndarray, step_mm: float) -> np.ndarray:
    """One point per axial slice between the lowest and the highest voxel of a mask.

    Args:
        mask: 3-D bool, isotropic, axes to the right, front and top.
        step_mm: side of a voxel.

    Returns:
        Voxel indices (n, 3), from top to bottom, third coordinate whole; (0, 3) for an empty mask.
    """
    slices = np.flatnonzero(mask.any((0, 1)))
    if not slices.size:
        return np.zeros((0, 3))
    density = ndimage.gaussian_filter(mask.astype(np.float32), [s / step_mm for s in _SMOOTHING_MM], truncate=3)
    density *= _near_midline(mask, step_mm)
    coarse = density[::_COARSE_STRIDE, ::_COARSE_STRIDE, slices[0] : slices[-1] + 1 : _COARSE_STRIDE]
    path = _heaviest_path(coarse / max(float(coarse.max()), 1e-6)) * _COARSE_STRIDE  # (m, 3), upwards
    z = np.arange(slices[0], slices[-1] + 1)
    rough = np.stack([np.interp(z, slices[0] + path[:, 2], path[:, axis]) for axis in (0, 1)], 1)
    depth = edt.edt(np.asfortranarray(mask), parallel=1)
    line = rough
    for _ in range(_REFINEMENTS):
        line = _to_thick_parts(depth, line, z, step_mm)
    return np.column_stack([line, z])[::-1]


def _near_midline(mask: np.ndarray, step_mm: float) -> np.ndarray:
    """Weight (nx, 1, nz) that falls off to the sides: vertebrae are symmetric, so half of a slice lies on each side."""
    width = mask.sum(1).astype(float)  # (nx, nz)
    smooth = ndimage.gaussian_filter1d(width, _MIDLINE_SMOOTHING_MM / step_mm, axis=1, mode="nearest")
    below = np.cumsum(smooth, 0)
    middle = (below < below[-1:] / 2).sum(0)
    x = np.arange(mask.shape[0])[:, None]
    return np.exp(-(((x - middle) * step_mm / _MIDLINE_SD_MM) ** 2) / 2).astype(np.float32)[:, None]


def _heaviest_path(weight: np.ndarray) -> np.ndarray:
    """The path through all slices that collects most weight; steps of at most two voxels sideways.

    Args:
        weight: (nx, ny, nz), at most 1.

    Returns:
        Indices (nz, 3).
    """
    moves = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    best = weight[..., 0].astype(np.float64)
    came = np.zeros((weight.shape[2], *best.shape), np.int8)
    for k in range(1, weight.shape[2]):
        padded = np.pad(best, 2, constant_values=-np.inf)
        candidates = np.stack(
            [
                padded[2 + i : 2 + i + best.shape[0], 2 + j : 2 + j + best.shape[1]] - _TURN_COST * (i**2 + j**2)
                for i, j in moves
            ]
        )
        came[k] = candidates.argmax(0)
        best = np.take_along_axis(candidates, came[k][None].astype(np.intp), 0)[0] + weight[..., k]
    x, y = np.unravel_index(int(best.argmax()), best.shape)
    path = [(x, y, weight.shape[2] - 1)]
    for k in range(weight.shape[2] - 1, 0, -1):
        i, j = moves[came[k, x, y]]
        x, y = x + i, y + j
        path.append((x, y, k - 1))
    return np.array(path[::-1], float)


def _to_thick_parts(depth: np.ndarray, rough: np.ndarray, z: np.ndarray, step_mm: float) -> np.ndarray:
    """Move each point to the mean of the voxels around it, weighted by the square of their depth in the mask."""
    reach = int(np.ceil(_REACH_MM / step_mm))
    sums = np.zeros((len(z), 3))
    for row, (x, y) in enumerate(rough):
        i, j = max(0, round(x) - reach), max(0, round(y) - reach)
        window = depth[i : round(x) + reach + 1, j : round(y) + reach + 1, z[row]] ** 2
        grid_x, grid_y = np.ogrid[i : i + window.shape[0], j : j + window.shape[1]]
        near = np.exp(-((grid_x - x) ** 2 + (grid_y - y) ** 2) * step_mm**2 / (_REACH_MM**2 / 2))
        weight = window * near
        sums[row] = (weight * grid_x).sum(), (weight * grid_y).sum(), weight.sum()
    # thin slices (discs, gaps) take part by what they hold, so that the line runs straight through them
    smooth = ndimage.gaussian_filter1d(sums, _SMOOTH_LINE_MM / step_mm, axis=0, mode="nearest")
    total = smooth[:, 2:]
    return np.where(total > 1e-6 * max(float(total.max()), 1e-9), smooth[:, :2] / np.maximum(total, 1e-12), rough)
