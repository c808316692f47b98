"""Where to cut: the vertebral bodies, the curve through them, and the frame of a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import edt
import numpy as np

from nnunet_spine import scores

MARGIN_MM = np.array([[-45.0, -25.0, -35.0], [45.0, 60.0, 35.0]])
"""Context shown around the vertebrae, RAS: more in front, where the names are written."""
HEIGHT_PX = 1000
MAX_ASPECT = 1.4  # a row of panels is at most this much wider than `height_px`
MAX_PX_PER_MM = 6.0
WORKING_SPACING_MM = 2.0  # finding the bodies on a finer grid moves the cut by less than a voxel
FRAGMENT = 0.2  # a label below this share of the median vertebra's volume steers neither cut nor frame


@dataclass(frozen=True)
class View:
    """A viewing direction in a RAS array: the axis across the cut, the axis from right to left, and the two sides."""

    name: str
    across: int
    along: int
    left: str
    right: str


SAGITTAL = View("sagittal", across=0, along=1, left="A", right="P")
CORONAL = View("coronal", across=1, along=0, left="R", right="L")
VIEWS = (SAGITTAL, CORONAL)


def body_points(labels: np.ndarray, spacing_mm: np.ndarray) -> dict[int, np.ndarray]:
    """A point in the thickest part of each vertebra, its body (C1: between the lateral masses).

    The centroid weighted by the tenth power of the distance to the surface; lower powers drift towards the arch.
    Fragments (`FRAGMENT`) are left out.

    Args:
        labels: label map, three axes.
        spacing_mm: voxel size, (3,).

    Returns:
        Label -> continuous voxel index (3,); empty without labels.
    """
    index, (values,) = scores.label_voxels(labels)
    if not len(index):
        return {}
    low, high = index.min(0), index.max(0)
    box = np.ascontiguousarray(labels[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))])
    depth_mm = edt.edt(box, anisotropy=tuple(np.asarray(spacing_mm, float)), black_border=True)
    points = scores.centres(index, values, depth_mm[tuple((index - low).T)].astype(float) ** 10)
    counts = np.bincount(values)
    smallest = FRAGMENT * np.median(counts[list(points)])
    return {i: point for i, point in points.items() if counts[i] >= smallest}


def cut_positions(points: Mapping[int, np.ndarray], shape: tuple[int, ...], view: View, *, curved: bool) -> np.ndarray:
    """Index across the cut for each axial slice of a RAS array, (shape[2],).

    Args:
        points: label -> voxel index (x, y, z).
        shape: of the array.
        view: direction.
        curved: follow the points, constant above the first and below the last; otherwise the plane of their median.

    Returns:
        The volume's middle where there are no points.
    """
    if not points:
        return np.full(shape[2], (shape[view.across] - 1) / 2)
    xyz = np.array(sorted(points.values(), key=lambda point: point[2]))
    if not curved:
        return np.full(shape[2], np.median(xyz[:, view.across]))
    return np.interp(np.arange(shape[2]), xyz[:, 2], xyz[:, view.across])


def extent(labels: list[np.ndarray], spacing_mm: np.ndarray) -> np.ndarray | None:
    """First and last index along each axis of a RAS array of all maps' vertebrae and `MARGIN_MM` around, (2, 3) float.

    Fragments (`FRAGMENT`) are ignored. The result may reach beyond the array; None without labels.
    """
    corners = []
    for array in labels:
        index, (values,) = scores.label_voxels(array)
        if len(index):
            counts = np.bincount(values)
            whole = counts[values] >= FRAGMENT * np.median(counts[counts > 0])
            corners += [index[whole].min(0), index[whole].max(0)]
    if not corners:
        return None
    return np.array([np.min(corners, 0), np.max(corners, 0)]) + MARGIN_MM / np.asarray(spacing_mm)


@dataclass(frozen=True)
class Frame:
    """Which part of a RAS array the panels show, and how large.

    Attributes:
        box: first and last voxel index shown along each axis, (2, 3).
        spacing_mm: voxel size, (3,).
        px_per_mm: scale.
    """

    box: np.ndarray
    spacing_mm: np.ndarray
    px_per_mm: float

    @classmethod
    def fit(
        cls, box: np.ndarray, spacing_mm: np.ndarray, rows: Sequence[Sequence[View]], height_px: int = HEIGHT_PX
    ) -> "Frame":
        """The largest scale at which rows of panels are together at most `height_px` high, and none is too wide."""
        size_mm = (box[1] - box[0] + 1) * spacing_mm
        width_mm = max(sum(size_mm[view.along] for view in row) for row in rows)
        px_per_mm = min(height_px / (len(rows) * size_mm[2]), MAX_ASPECT * height_px / width_mm, MAX_PX_PER_MM)
        return cls(box, spacing_mm, px_per_mm)

    def size(self, view: View) -> tuple[int, int]:
        """Height and width of a panel in pixels."""
        size_px = (self.box[1] - self.box[0] + 1) * self.spacing_mm * self.px_per_mm
        return max(1, round(float(size_px[2]))), max(1, round(float(size_px[view.along])))

    def positions(self, view: View, across: np.ndarray) -> np.ndarray:
        """Voxel index for each pixel of a panel, (3, height, width); `across` as from `cut_positions`."""
        height, width = self.size(view)
        step = 1 / (self.px_per_mm * self.spacing_mm)
        # superior is up, and anterior or right is left: pixels start at the high end, half a voxel beyond its centre
        z = self.box[1, 2] + 0.5 - (np.arange(height) + 0.5) * step[2]
        along = self.box[1, view.along] + 0.5 - (np.arange(width) + 0.5) * step[view.along]
        position = np.empty((3, height, width))
        position[2] = z[:, None]
        position[view.along] = along[None, :]
        position[view.across] = np.interp(z, np.arange(len(across)), across)[:, None]
        return position

    def pixel(self, view: View, index: np.ndarray) -> tuple[float, float]:
        """Row and column at which a voxel (3,) is seen."""
        px = (self.box[1] + 0.5 - index) * self.spacing_mm * self.px_per_mm - 0.5
        return float(px[2]), float(px[view.along])
