"""Label maps as arrays: their check, their labelled voxels, boxes, overlap and centroids."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry
from nnunet_spine.anatomy import BY_NNUNET_ID
from nnunet_spine.errors import InputError

N_IDS = 1 + max(BY_NNUNET_ID)

Box = tuple[slice, slice, slice]


def as_label_ids(array: np.ndarray) -> np.ndarray:
    """Check that an array of any type holds nnU-Net ids, and return it as uint8 (a view where it already is).

    Raises:
        InputError: not three axes, fractions, NaN, or values outside 0..26.
    """
    if array.ndim != 3:
        raise InputError(f"label map of shape {array.shape}; expected three axes")
    if array.dtype == np.uint8:
        labels = array
    else:
        with np.errstate(invalid="ignore"):
            labels = array.astype(np.uint8)
        if not np.array_equal(labels, array):
            raise InputError("label map with negative, fractional or large values", f"use whole ids 0..{N_IDS - 1}")
    if labels.size and (largest := int(labels.max())) >= N_IDS:
        raise InputError(
            f"label {largest}; expected nnU-Net ids 0..{N_IDS - 1}",
            "convert the mask from VerSe ids (T13 is 28 there, 26 here)",
        )
    return labels


def labelled_part(*maps: np.ndarray, affine: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The smallest box that holds all labels of all maps, with the slowest axis in memory first.

    Returns:
        Views, (n0, n1, n2) each, without voxels where no map has labels; and their common affine.
    """
    axes = np.argsort([-abs(stride) for stride in maps[-1].strides], kind="stable")
    maps, affine = [m.transpose(axes) for m in maps], np.asarray(affine, float)[:, [*axes, 3]]
    box = joint_box([box for m in maps if (box := geometry.bounding_box(m)) is not None])
    affine[:3, 3] = geometry.to_world(affine, [s.start for s in box])
    return [m[box] for m in maps], affine


def label_boxes(labels: np.ndarray) -> dict[int, Box]:
    """Bounding box of each label but 0, in one pass."""
    found = ndimage.find_objects(labels) if labels.size else []
    return {i: box for i, box in enumerate(found, start=1) if box is not None}


def joint_box(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all boxes; one without voxels where there are none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in zip(*boxes, strict=True))


def label_voxels(*maps: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Voxels that are labelled in at least one of several maps on one grid.

    Returns:
        Indices (n, 3), and for each map its labels there (n,).
    """
    if maps[0].flags.fnc:  # NIfTI order: walk through memory as it lies
        index, values = label_voxels(*(m.T for m in maps))
        return index[:, ::-1], values
    labelled = maps[0] != 0
    for m in maps[1:]:
        labelled |= m != 0
    index = np.unravel_index(np.flatnonzero(labelled), labelled.shape)
    return np.stack(index).T, tuple(m[labelled] for m in maps)  # each axis contiguous


def centres(index: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """Centroid of each label.

    Args:
        index: voxel indices or positions, (n, 3).
        values: label of each, (n,); 0 is left out.
        weights: optional weight of each, (n,), positive.

    Returns:
        Label -> centroid (3,), in the units of `index`; empty without labels.
    """
    mass = np.bincount(values, weights, minlength=N_IDS)
    sums = [np.bincount(values, axis if weights is None else axis * weights, minlength=N_IDS) for axis in index.T]
    return {int(i): np.array([s[i] for s in sums]) / mass[i] for i in np.flatnonzero(mass) if i != 0}
