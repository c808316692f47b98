"""Solids with an approximate signed distance (mm, negative inside), evaluated on open grids."""

from dataclasses import dataclass

import numpy as np

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Open grid: coordinates in mm as float32 arrays of shape (nx, 1, 1), (1, ny, 1), (1, 1, nz)."""


@dataclass(frozen=True)
class Capsule:
    """Two balls and what lies between them; or, with a spread, a plate with rounded edges.

    Attributes:
        start_mm, end_mm: (3,) centres of the balls.
        start_radius_mm, end_radius_mm: their radii; the radius varies linearly in between.
        spread_mm: (3,) half of the plate's extent across its length; its part along the length is ignored.
    """

    start_mm: np.ndarray
    end_mm: np.ndarray
    start_radius_mm: float
    end_radius_mm: float
    spread_mm: np.ndarray | None = None

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners (3,) of a box around the solid."""
        a, b, ra, rb = self.start_mm, self.end_mm, self.start_radius_mm, self.end_radius_mm
        across = 0.0 if self.spread_mm is None else np.abs(self._across())
        return np.minimum(a - ra, b - rb) - across, np.maximum(a + ra, b + rb) + across

    def _across(self) -> np.ndarray:
        step = self.end_mm - self.start_mm
        return self.spread_mm - step * ((self.spread_mm @ step) / max(float(step @ step), 1e-6))

    def distance(self, axes: Axes) -> np.ndarray:
        """Signed distance (nx, ny, nz)."""
        step = self.end_mm - self.start_mm
        length2 = max(float(step @ step), 1e-6)
        offsets = [axis - np.float32(p) for axis, p in zip(axes, self.start_mm, strict=True)]
        along = [o * np.float32(s) for o, s in zip(offsets, step, strict=True)]
        dot = (along[0] + along[1]) + along[2]
        squared = (offsets[0] ** 2 + offsets[1] ** 2) + offsets[2] ** 2
        t = np.clip(dot * np.float32(1 / length2), 0, 1)
        squared += t * (t * np.float32(length2) - 2 * dot)
        if self.spread_mm is not None:
            across = self._across()
            across2 = np.float32(max(float(across @ across), 1e-6))
            side = [o * np.float32(s) for o, s in zip(offsets, across, strict=True)]
            dot = (side[0] + side[1]) + side[2]
            t_across = np.clip(dot / across2, -1, 1)
            squared += t_across * (t_across * across2 - 2 * dot)
        radius = np.float32(self.start_radius_mm) + t * np.float32(self.end_radius_mm - self.start_radius_mm)
        return np.sqrt(np.maximum(squared, 0, out=squared), out=squared) - radius


@dataclass(frozen=True)
class Body:
    """Vertebral body (or disc): a superelliptic cylinder with a waist, wedged and biconcave as asked.

    Attributes:
        centre_mm: (3,).
        axes: (3, 3), columns right, anterior, up.
        width_mm, depth_mm: at the endplates.
        height_mm: of the posterior wall.
        anterior_factor: anterior over posterior height.
        concavity_mm: depth of each endplate's middle below its rim.
        waist: narrowing at half height as a fraction of the radius.
        exponent: of the superellipse; 2 is an ellipse.
        rounding_mm: radius of the endplate rim.
    """

    centre_mm: np.ndarray
    axes: np.ndarray
    width_mm: float
    depth_mm: float
    height_mm: float
    anterior_factor: float = 1.0
    concavity_mm: float = 0.8
    waist: float = 0.1
    exponent: float = 2.6
    rounding_mm: float = 1.5

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners (3,) of a box around the solid."""
        height = self.height_mm * max(1.0, self.anterior_factor)
        half = np.abs(self.axes) @ (np.array([self.width_mm, self.depth_mm, height]) / 2)
        return self.centre_mm - half, self.centre_mm + half

    def distance(self, axes: Axes) -> np.ndarray:
        """Signed distance (nx, ny, nz)."""
        u, v, w = local_coordinates(axes, self.centre_mm, self.axes)
        a, b = np.float32(self.width_mm / 2), np.float32(self.depth_mm / 2)
        n = np.float32(self.exponent)
        radial = (np.abs(u) / a) ** n + (np.abs(v) / b) ** n
        radial **= 1 / n
        mean_factor, slope = (1 + self.anterior_factor) / 2, (self.anterior_factor - 1) / 2
        half = np.float32(self.height_mm / 2) * (np.float32(mean_factor) + np.float32(slope) * np.clip(v / b, -1, 1))
        half -= np.float32(self.concavity_mm) * np.clip(1 - radial**2, 0, 1)
        height = np.abs(w)
        girdle = 1 - np.float32(self.waist) * np.clip(1 - (height / half) ** 2, 0, 1)
        side = (radial - girdle) * min(a, b) + np.float32(self.rounding_mm)
        end = height - half + np.float32(self.rounding_mm)
        outside = np.sqrt(np.maximum(side, 0) ** 2 + np.maximum(end, 0) ** 2)
        return outside + np.minimum(np.maximum(side, end), 0) - np.float32(self.rounding_mm)


@dataclass(frozen=True)
class Tube:
    """Endless elliptic cylinder along the third axis; used to hollow out the canal.

    Attributes:
        centre_mm: (3,).
        axes: (3, 3), columns right, anterior, up.
        width_mm, depth_mm: full axes of the ellipse.
    """

    centre_mm: np.ndarray
    axes: np.ndarray
    width_mm: float
    depth_mm: float

    def distance(self, axes: Axes) -> np.ndarray:
        """Signed distance (nx, ny, nz)."""
        u, v, _ = local_coordinates(axes, self.centre_mm, self.axes)
        a, b = np.float32(self.width_mm / 2), np.float32(self.depth_mm / 2)
        return (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1) * min(a, b)


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid along the world's axes.

    Attributes:
        centre_mm: (3,).
        half_mm: (3,) semi-axes.
    """

    centre_mm: np.ndarray
    half_mm: np.ndarray

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners (3,) of a box around the solid."""
        return self.centre_mm - self.half_mm, self.centre_mm + self.half_mm

    def distance(self, axes: Axes) -> np.ndarray:
        """Signed distance (nx, ny, nz), exact on the shortest axis only."""
        x, y, z = (
            ((axis - np.float32(c)) / np.float32(h)) ** 2
            for axis, c, h in zip(axes, self.centre_mm, self.half_mm, strict=True)
        )
        return (np.sqrt((x + y) + z) - 1) * np.float32(min(self.half_mm))


def local_coordinates(axes: Axes, centre_mm: np.ndarray, frame: np.ndarray) -> list[np.ndarray]:
    """Right, anterior and up of a frame (columns) on an open grid, three arrays (nx, ny, nz) in mm."""
    offsets = [axis - np.float32(c) for axis, c in zip(axes, centre_mm, strict=True)]
    return [sum(o * np.float32(f) for o, f in zip(offsets, frame[:, k], strict=True)) for k in range(3)]
