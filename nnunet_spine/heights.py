"""Heights of vertebral bodies in front, in the middle and behind, measured in a label map.

The axis of a body runs parallel to the line between the body centres of its neighbours above and below (of itself and
its only neighbour at the ends). Its front lies where the body centre lies seen from the centroid of the whole
vertebra, at right angles to the axis. In a band of 10 mm around the middle, the depth of the body is that of the bone
at the height of its centre, from the front wall to the canal. A height is the median length of bone along the axis in
the front, middle or rear fifth of this depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry
from nnunet_spine.anatomy import LEVELS
from nnunet_spine.centroids import Centroid, label_boxes, measure

WITHOUT = ("C1", "C2")
"""Levels without a height: C1 has no body, that of C2 goes over into the dens."""

_BAND_MM, _REACH_MM = 5.0, 35.0
_STEP_MM = 0.25  # along axis and depth
_LEVEL_MM = 5.0  # a column of the body passes this close to the plane through its centre
_ARCH_MM = 3.0  # distance between the two centres from which on an arch tells where front is


@dataclass(frozen=True)
class Heights:
    """Heights of one body.

    Attributes:
        anterior_mm, middle_mm, posterior_mm: None where the body cannot be measured.
        reason: why not; "" where it can.
    """

    anterior_mm: float | None = None
    middle_mm: float | None = None
    posterior_mm: float | None = None
    reason: str = ""


def body_heights(
    labels: np.ndarray, affine: np.ndarray, points: Mapping[int, Centroid] | None = None
) -> dict[str, Heights]:
    """Heights of all bodies from C3 down.

    Source: Hempe & Heinrich 2021 plot body height per level from the labels and do not define it; the definition above
    is ours. Depth and heights follow the bone as labelled: osteophytes count.

    Args:
        labels: nnU-Net ids, 3-D.
        affine: voxel index -> RAS mm, 4x4; mirrored and oblique ones are fine.
        points: of the labels, where `measure` has found them already.

    Returns:
        Level -> heights, from head to foot; empty without labels.

    Example:
        >>> labels = np.zeros((30, 30, 70), np.uint8)
        >>> labels[5:25, 5:25, 40:60], labels[5:25, 5:25, 10:30] = 20, 21
        >>> {name: round(found.middle_mm) for name, found in body_heights(labels, np.eye(4)).items()}
        {'L1': 20, 'L2': 20}
    """
    boxes = label_boxes(labels)
    points = measure(labels, affine, boxes) if points is None else points
    present = [level for level in LEVELS if level.nnunet_id in points]
    found = {}
    for k, level in enumerate(present):
        if level.name in WITHOUT:
            continue
        above = present[max(k - 1, 0)]
        below = present[min(k + 1, len(present) - 1)]
        if above is below:
            found[level.name] = Heights(reason="no neighbour that tells its axis")
            continue
        axis = np.subtract(points[above.nnunet_id].body_mm, points[below.nnunet_id].body_mm)
        frame = _frame(points[level.nnunet_id], axis)
        found[level.name] = _heights(labels, boxes[level.nnunet_id], level.nnunet_id, affine, frame)
    return found


def _frame(point: Centroid, axis: np.ndarray) -> np.ndarray:
    """World positions of a body's own coordinates (to its left, to its front, up), 4x4, origin in its centre."""
    up = axis / np.linalg.norm(axis)
    front = np.subtract(point.body_mm, point.mask_mm)
    front = front - up * (front @ up)
    if np.linalg.norm(front) < _ARCH_MM:  # a mask of the body alone
        front = np.array([0.0, 1.0, 0.0]) - up * up[1]
    if np.linalg.norm(front) < 1e-6:  # a spine that runs from back to front, if the header is to be believed
        front = np.array([0.0, 0.0, 1.0]) - up * up[2]
    front = front / np.linalg.norm(front)
    frame = np.eye(4)
    frame[:3, :3] = np.column_stack([np.cross(up, front), front, up])
    frame[:3, 3] = point.body_mm
    return frame


def _heights(
    labels: np.ndarray, box: tuple[slice, slice, slice], label: int, affine: np.ndarray, frame: np.ndarray
) -> Heights:
    across = np.arange(-_BAND_MM, _BAND_MM + 0.5)
    along = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM / 2, _STEP_MM)
    own = np.stack(np.meshgrid(across, along, along, indexing="ij"), -1)  # (s, t, z, 3)
    index = geometry.to_index(affine, geometry.to_world(frame, own))
    mask = np.pad(labels[box] == label, 1).astype(np.float32)
    start = np.array([side.start for side in box]) - 1
    bone = ndimage.map_coordinates(mask, np.moveaxis(index - start, -1, 0), order=1) >= 0.5
    beyond = ((index < 0) | (index > np.array(labels.shape) - 1)).any(-1)
    middle = len(along) // 2
    walls = [run for s in range(len(across)) if (run := _run(bone[s, :, middle], 0)) is not None]
    if not walls:
        return Heights(reason="no bone at its centre")
    rear, front = (int(edge) for edge in np.median(walls, axis=0))
    if rear <= 0 or front >= len(along):
        return Heights(reason="no wall in front or behind, where the canal should be")
    if beyond[:, rear : front + 1, middle].any() or beyond[:, max(rear - 1, 0), middle].any():
        return Heights(reason="cut by the border of the volume")
    fifths = np.rint(np.linspace(rear, front, 6)).astype(int)
    heights = {}
    for name, k in (("posterior_mm", 0), ("middle_mm", 2), ("anterior_mm", 4)):
        part = slice(fifths[k], fifths[k + 1])
        columns, outside = (a[:, part].reshape(-1, len(along)) for a in (bone, beyond))
        runs = [(n, run) for n, column in enumerate(columns) if (run := _run(column, round(_LEVEL_MM / _STEP_MM)))]
        if not runs:
            return Heights(reason="holes in the body")
        if any(outside[n, max(low - 1, 0)] or outside[n, min(high, len(along) - 1)] for n, (low, high) in runs):
            return Heights(reason="cut by the border of the volume")
        heights[name] = float(np.median([high - low for _, (low, high) in runs])) * _STEP_MM
    return Heights(**heights)


def _run(line: np.ndarray, reach: int) -> tuple[int, int] | None:
    """The longest run of bone that comes within `reach` samples of the middle, as a half-open range, or None."""
    edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    middle = len(line) // 2
    near = edges[(edges[:, 0] <= middle + reach) & (edges[:, 1] > middle - reach)]
    return tuple(near[np.argmax(near[:, 1] - near[:, 0])].tolist()) if len(near) else None
