"""The voxel grid a phantom is drawn on, in the patient's RAS millimetres, and the distance field on it."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.phantom.shapes import Axes

FAR_MM = 20.0


@dataclass(frozen=True)
class Grid:
    """Axis-aligned RAS grid.

    Attributes:
        shape: voxels along x, y, z.
        spacing_mm: (3,) voxel size.
        first_mm: (3,) centre of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing_mm: np.ndarray
    first_mm: np.ndarray

    def axes(self, box: tuple[slice, slice, slice] | None = None) -> Axes:
        """Voxel centres of a box (default: all) as an open grid, float32 mm."""
        lines = [
            (f + s * np.arange(n)).astype(np.float32)
            for f, s, n in zip(self.first_mm, self.spacing_mm, self.shape, strict=True)
        ]
        if box is not None:
            lines = [line[b] for line, b in zip(lines, box, strict=True)]
        return lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray, margin_mm: float = 0.0) -> tuple[slice, slice, slice] | None:
        """Voxels between two corners widened by a margin; None if none are in view."""
        low = np.floor((np.asarray(low_mm) - margin_mm - self.first_mm) / self.spacing_mm).astype(int)
        high = np.ceil((np.asarray(high_mm) + margin_mm - self.first_mm) / self.spacing_mm).astype(int) + 1
        low, high = np.maximum(low, 0), np.minimum(high, self.shape)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)) if (low < high).all() else None

    def affine(self) -> np.ndarray:
        """4 x 4 affine, voxel index -> mm."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.first_mm
        return affine


class DistanceField:
    """Signed distance to the nearest bone surface and the code of that bone, on a grid.

    Attributes:
        distance_mm: float32, negative inside bone, at most `FAR_MM`.
        code: uint8, code of the bone that is nearest; 0 far from any.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.distance_mm = np.full(grid.shape, FAR_MM, np.float32)
        self.code = np.zeros(grid.shape, np.uint8)
        self._margin_mm = 1.5 * float(max(grid.spacing_mm))
        self._lines = grid.axes()

    def _axes(self, box: tuple[slice, slice, slice]) -> Axes:
        x, y, z = self._lines
        return x[box[0]], y[:, box[1]], z[:, :, box[2]]

    def add_loose(self, solids: list, code: int) -> None:
        """Unite solids with the field where they are nearest, one small box each."""
        for solid in solids:
            box = self.grid.box(*solid.bounds(), self._margin_mm)
            if box is not None:
                distance = solid.distance(self._axes(box))
                nearer = distance < self.distance_mm[box]
                self.code[box][nearer] = code
                np.minimum(self.distance_mm[box], distance, out=self.distance_mm[box])

    def add_bone(self, solids: list, carved: list, code: int, joint_space_mm: float = 0.8) -> None:
        """Add one bone: the union of `solids` less the union of `carved`.

        Where it would overlap bones that are there already, both are cut back to leave a joint space between them.
        """
        corners = [solid.bounds() for solid in solids]
        box = self.grid.box(np.min([c[0] for c in corners], 0), np.max([c[1] for c in corners], 0), self._margin_mm)
        if box is None:
            return
        own = np.full(self.distance_mm[box].shape, FAR_MM, np.float32)
        for solid in solids:
            part = self.grid.box(*solid.bounds(), self._margin_mm)
            if part is not None:
                inner = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
                np.minimum(own[inner], solid.distance(self._axes(part)), out=own[inner])
        for hollow in carved:
            np.maximum(own, -hollow.distance(self._axes(box)), out=own)
        others = self.distance_mm[box]
        lead = (own - others) / 2
        half_gap = np.float32(joint_space_mm / 2)
        own = np.maximum(own, lead + half_gap)
        others_left = np.maximum(others, half_gap - lead)
        nearer = own < others_left
        self.code[box][nearer] = code
        self.distance_mm[box] = np.minimum(own, others_left)
