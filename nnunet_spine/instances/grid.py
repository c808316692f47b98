"""The isotropic grid on which bones are found: any label map, sampled along the axes of the world."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine import geometry

STEP_MM = 1.5
MARGIN_MM = 6.0


@dataclass(frozen=True)
class WorkingGrid:
    """Isotropic voxels whose axes run to the right, front and top.

    Attributes:
        origin_mm: world position of the first voxel's centre, (3,) RAS mm.
        shape: voxels along each axis.
        step_mm: side of a voxel.
    """

    origin_mm: np.ndarray
    shape: tuple[int, int, int]
    step_mm: float

    @property
    def affine(self) -> np.ndarray:
        """4 x 4, voxel index -> RAS mm."""
        affine = np.diag([self.step_mm] * 3 + [1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def sample(self, labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """Nearest values of a label map on this grid; 0 outside."""
        return geometry.resample_nearest(labels, affine, self.shape, self.affine)

    def index(self, world_mm: np.ndarray) -> np.ndarray:
        """Continuous voxel indices (..., 3) of world positions."""
        return (world_mm - self.origin_mm) / self.step_mm


def grid_around(box: tuple[slice, slice, slice], affine: np.ndarray, step_mm: float = STEP_MM) -> WorkingGrid:
    """The grid that holds a box of voxels of another grid, with a margin.

    Args:
        box: in the other grid.
        affine: of the other grid, 4 x 4, RAS mm.
        step_mm: side of a voxel.
    """
    corners = np.stack(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in box], indexing="ij"), -1).reshape(-1, 3)
    world = geometry.to_world(affine, corners)
    low, high = world.min(0) - MARGIN_MM, world.max(0) + MARGIN_MM
    shape = tuple(int(n) for n in np.ceil((high - low) / step_mm) + 1)
    return WorkingGrid(low, shape, step_mm)
