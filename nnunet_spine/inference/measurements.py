"""What is measured of each vertebra of a prediction: centres, volume, heights and grey values of its body."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine import geometry
from nnunet_spine.anatomy import LEVELS
from nnunet_spine.centroids import measure
from nnunet_spine.heights import Heights, body_heights
from nnunet_spine.label_maps import Box, label_boxes

BODY_RADIUS_MM = 6.0
"""Largest radius of the ball in which grey values are taken."""
BODY_SHARE = 1 / 3
"""Radius of the ball as a share of the body's height in the middle, where that is less."""


@dataclass(frozen=True)
class BodyHu:
    """Grey values within a ball around the centre of a body, which leaves out the cortex.

    Attributes:
        mean, sd: HU; the standard deviation is that of the voxels.
        voxels: how many.
        radius_mm: of the ball.
    """

    mean: float
    sd: float
    voxels: int
    radius_mm: float


@dataclass(frozen=True)
class Vertebra:
    """One named vertebra, measured.

    Attributes:
        name: its level.
        body_mm, mask_mm: centre of the body, and centroid of the whole vertebra, RAS mm.
        volume_ml: of the whole vertebra.
        touches_border: whether it reaches a face of the volume, so that part of it may be out of view.
        heights: of the body.
        hu: None where the ball holds no voxel of it, and for C1, which has no body.
    """

    name: str
    body_mm: tuple[float, float, float]
    mask_mm: tuple[float, float, float]
    volume_ml: float
    touches_border: bool
    heights: Heights
    hu: BodyHu | None


def measure_vertebrae(labels: np.ndarray, image: np.ndarray, affine: np.ndarray) -> tuple[Vertebra, ...]:
    """Measure every vertebra of a label map.

    >>> labels = np.zeros((24, 24, 60), np.uint8)
    >>> labels[2:22, 2:22, 34:54], labels[2:22, 2:22, 6:26] = 20, 21
    >>> [(v.name, v.volume_ml, v.hu.mean) for v in measure_vertebrae(labels, labels * 10.0, np.eye(4))]
    [('L1', 8.0, 200.0), ('L2', 8.0, 210.0)]

    Args:
        labels: nnU-Net ids, 3-D uint8.
        image: HU on the same grid.
        affine: voxel index -> world RAS mm, 4x4.

    Returns:
        From head to foot; empty without labels.
    """
    boxes = label_boxes(labels)
    centres = measure(labels, affine, boxes)
    heights = body_heights(labels, affine, centres)
    out = []
    for level in LEVELS:
        if level.nnunet_id not in boxes:
            continue
        point, own = centres[level.nnunet_id], heights.get(level.name, Heights(reason="has no body height"))
        radius_mm = min(BODY_RADIUS_MM, BODY_SHARE * own.middle_mm) if own.middle_mm else BODY_RADIUS_MM * 2 / 3
        hu = None
        if level.name != "C1":
            hu = body_hu(labels, image, affine, level.nnunet_id, point.body_mm, radius_mm)
        out.append(
            Vertebra(level.name, point.body_mm, point.mask_mm, point.volume_mm3 / 1000, point.touches_border, own, hu)
        )
    return tuple(out)


def body_hu(
    labels: np.ndarray,
    image: np.ndarray,
    affine: np.ndarray,
    label: int,
    centre_mm: tuple[float, float, float],
    radius_mm: float,
) -> BodyHu | None:
    """Grey values of a label's voxels within a ball; where slices are thick, of those nearest to its centre.

    Args:
        labels, image, affine: as `measure_vertebrae`.
        label: value in the map.
        centre_mm: of the ball, RAS.
        radius_mm: of the ball, at least half a voxel's diagonal, so that it holds a voxel.
    """
    spacing = geometry.spacing_mm(affine)
    radius_mm = max(radius_mm, float(np.linalg.norm(spacing)) / 2)
    box = _box_around(labels.shape, affine, centre_mm, radius_mm)
    index = np.argwhere(labels[box] == label) + [s.start for s in box]
    distance = np.linalg.norm(geometry.to_world(affine, index) - np.array(centre_mm), axis=-1)
    index = index[distance <= radius_mm]
    if not len(index):
        return None
    values = np.asarray(image[tuple(index.T)], np.float64)
    return BodyHu(float(values.mean()), float(values.std()), len(values), radius_mm)


def _box_around(shape: tuple[int, ...], affine: np.ndarray, centre_mm: tuple, radius_mm: float) -> Box:
    middle = geometry.to_index(affine, np.array(centre_mm))
    # the rows of the inverse say how far an index moves within the ball, on sheared grids too
    reach = radius_mm * np.linalg.norm(np.linalg.inv(np.asarray(affine, float)[:3, :3]), axis=1)
    low, high = np.floor(middle - reach).astype(int), np.ceil(middle + reach).astype(int) + 1
    return tuple(slice(max(0, a), max(0, min(n, b))) for a, b, n in zip(low, high, shape, strict=True))
