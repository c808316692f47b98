"""Label maps as arrays: their check, their labelled voxels, their centroids."""

import numpy as np

from nnunet_spine.anatomy import BY_NNUNET_ID
from nnunet_spine.errors import InputError

N_IDS = 1 + max(BY_NNUNET_ID)


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


def label_voxels(*maps: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Voxels that are labelled in at least one of several maps on one grid.

    Returns:
        Indices (n, 3), and for each map its labels there (n,).
    """
    if maps[0].flags.f_contiguous:  # NIfTI order: walk through memory as it lies
        index, values = label_voxels(*(m.T for m in maps))
        return index[:, ::-1], values
    labelled = maps[0] != 0
    for m in maps[1:]:
        labelled |= m != 0
    index = np.nonzero(labelled)
    return np.stack(index, axis=1), tuple(m[index] for m in maps)


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
