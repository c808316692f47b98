"""Crops of fixed size around a vertebral body, and the way back into the scan.

A crop is axis-aligned in the world (RAS), so that a tilted scan gives an upright crop: 64 x 112 x 96 voxels of 1 mm
cranio-caudal, antero-posterior, left-right, centred on the body [Mita et al.]. Arrays here run along x, y, z as NIfTI
files do. The tip of a long spinous process lies more than 56 mm behind the body's centre and is not in the crop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnunet_spine.geometry import covered_box, nearest_voxel, resample_linear, to_index, to_world

CROP_SHAPE = (96, 112, 64)
"""Voxels along x, y, z."""
CROP_SPACING_MM = 1.0
AIR_HU = -1024.0
"""Outside the scan there is air, whatever a scanner stores beyond its field of view (-1000, -2048, -3024)."""


def crop_affine(centre_mm: Iterable[float]) -> np.ndarray:
    """Affine of the crop whose middle is a world point, 4x4.

    Example:
        >>> crop_affine((0.0, 0.0, 0.0))[:3, 3].tolist()
        [-47.5, -55.5, -31.5]
    """
    affine = np.diag([CROP_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = np.asarray(list(centre_mm), float) - CROP_SPACING_MM * (np.array(CROP_SHAPE) - 1) / 2
    return affine


def slices_of_crops(shape: tuple[int, ...], affine: np.ndarray, centres_mm: Iterable[Iterable[float]]) -> slice:
    """Slices along the last axis of a scan that hold everything its crops need; empty without a crop in the scan.

    Example:
        >>> isinstance(slices_of_crops((200, 200, 300), np.eye(4), [(100.0, 100.0, 150.0)]), slice)
        True
    """
    boxes = [covered_box(shape, affine, CROP_SHAPE, crop_affine(centre)) for centre in centres_mm]
    found = [box[2] for box in boxes if box[2].start < box[2].stop]
    return slice(min((s.start for s in found), default=0), max((s.stop for s in found), default=0))


def crop_image(image: np.ndarray, affine: np.ndarray, centre_mm: Iterable[float]) -> np.ndarray:
    """CT around a point: trilinear, air outside the scan; int16 HU of `CROP_SHAPE`.

    Example:
        >>> crop_image(np.zeros((80, 80, 80), np.float32), np.eye(4), (40.0, 40.0, 40.0)).shape == CROP_SHAPE
        True
    """
    values = resample_linear(image, affine, CROP_SHAPE, crop_affine(centre_mm), outside=AIR_HU)
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)


def crop_label(labels: np.ndarray, affine: np.ndarray, value: int, centre_mm: Iterable[float]) -> np.ndarray:
    """One label around a point: where its trilinear share is at least one half; uint8 0 and 1 of `CROP_SHAPE`.

    The share follows an oblique or thick-sliced surface, of which the nearest voxel would make steps. A surface midway
    between two voxels of the crop goes to the left, posterior, inferior one, as in `geometry.nearest_voxel`.

    Example:
        >>> labels = np.zeros((80, 80, 80), np.uint8)
        >>> labels[35:45, 35:45, 35:45] = 22
        >>> int(crop_label(labels, np.eye(4), 22, (39.5, 39.5, 39.5)).sum())
        1000
    """
    target = crop_affine(np.asarray(tuple(centre_mm)) - 1e-3)
    box = covered_box(labels.shape, affine, CROP_SHAPE, target)
    one = (labels[box] == value).astype(np.float32)
    return (resample_linear(one, shifted(affine, box), CROP_SHAPE, target) >= 0.5).astype(np.uint8)


def share_inside(mask: np.ndarray, affine: np.ndarray, centre_mm: Iterable[float]) -> float:
    """Share of a mask's voxels whose centres lie in the crop; 1 for an empty mask.

    Example:
        >>> mask = np.zeros((80, 80, 80), bool)
        >>> mask[35:45, 35:45, 35:45] = True
        >>> float(share_inside(mask, np.eye(4), (40.0, 40.0, 40.0)))
        1.0
    """
    voxels = np.argwhere(mask)
    index = nearest_voxel(crop_affine(centre_mm), to_index(crop_affine(centre_mm), to_world(affine, voxels)))
    inside = np.all((index >= 0) & (index < CROP_SHAPE), axis=-1)
    return float(inside.mean()) if inside.size else 1.0


def shifted(affine: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """Affine of `array[box]` for an array with this affine.

    Example:
        >>> shifted(np.eye(4), (slice(2, 5), slice(0, 5), slice(7, 9)))[:3, 3].tolist()
        [2.0, 0.0, 7.0]
    """
    out = np.array(affine, float)
    out[:3, 3] = to_world(affine, [s.start for s in box])
    return out


@dataclass(frozen=True)
class PredictedCrop:
    """What a network says about one crop.

    Attributes:
        value: label value of the vertebra in the middle.
        centre_mm: world point in the middle of the crop.
        probability: of that vertebra, `CROP_SHAPE`, 0 to 1.
    """

    value: int
    centre_mm: tuple[float, float, float]
    probability: np.ndarray


def paste(crops: Iterable[PredictedCrop], shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Label mask of a scan from crops of its vertebrae: of several, the most probable one; background below one half.

    Args:
        crops: in any order; taken one at a time, so a generator keeps memory small. The first wins a tie.
        shape, affine: of the scan.

    Returns:
        uint8 of `shape`; all background without crops.

    Example:
        >>> paste([], (4, 4, 4), np.eye(4)).max()
        np.uint8(0)
    """
    labels, best = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    for crop in crops:
        source = crop_affine(crop.centre_mm)
        box = covered_box(shape, affine, CROP_SHAPE, source)
        size = tuple(s.stop - s.start for s in box)
        probability = resample_linear(crop.probability, source, size, shifted(affine, box))
        wins = (probability >= 0.5) & (probability > best[box])
        labels[box][wins], best[box][wins] = crop.value, probability[wins]
    return labels
