"""A smooth random deformation of image and labels together."""

import numpy as np
from scipy.ndimage import map_coordinates

from nnunet_spine.phantom.grid import Grid
from nnunet_spine.phantom.render import low_frequency


def draw_warp(rng: np.random.Generator, grid: Grid, amount_mm: float, length_mm: float = 45.0) -> np.ndarray:
    """Displacement (3, nx, ny, nz) float32 in voxels, of `amount_mm` standard deviation along each axis."""
    return np.stack([low_frequency(rng, grid, length_mm) * np.float32(amount_mm / s) for s in grid.spacing_mm])


def warp(values: np.ndarray, displacement: np.ndarray, order: int) -> np.ndarray:
    """`values` read at each voxel's place plus its displacement; the border goes on outside."""
    places = [
        shift + np.arange(n, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        for axis, (shift, n) in enumerate(zip(displacement, values.shape, strict=True))
    ]
    return map_coordinates(values, places, order=order, mode="nearest", output=values.dtype)


def moved(point: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Where a voxel index (3,) of the input is found after `warp`, by fixed-point iteration."""
    at = np.asarray(point, float)
    for _ in range(8):
        inside = np.clip(at, 0, np.array(displacement.shape[1:]) - 1)
        shift = [map_coordinates(d, inside[:, None], order=1)[0] for d in displacement]
        at = point - np.array(shift)
    return at
