"""Connected pieces of the labels of a mask."""

from dataclasses import dataclass

import cc3d
import numpy as np


@dataclass(frozen=True)
class Fragments:
    """Pieces of a label map: voxels of one label that hang together.

    Attributes:
        ids: piece of each voxel, 0 background, the shape of the label map.
        labels: label of each piece, (n + 1,); first the background's.
        voxels: size of each piece, (n + 1,).
    """

    ids: np.ndarray
    labels: np.ndarray
    voxels: np.ndarray


def find_fragments(labels: np.ndarray) -> Fragments:
    """Pieces of equal labels, 26-connected.

    Args:
        labels: 3-D unsigned integers.
    """
    ids, n = cc3d.connected_components(labels, connectivity=26, return_N=True)
    voxels = np.zeros(n + 1, np.int64)
    names = np.zeros(n + 1, np.int64)
    for k in range(labels.shape[2]):  # a slice at a time: counting needs eight bytes per voxel
        here, first = np.unique(ids[..., k], return_index=True)
        names[here] = labels[..., k].ravel()[first]
        voxels += np.bincount(ids[..., k].ravel(), minlength=n + 1)
    return Fragments(ids, names, voxels)
