"""A column of cubes as a spine, and folders of such cases."""

from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.io import nifti

SPACING_MM = 5.0
AFFINE = np.array([[SPACING_MM, 0, 0, -20], [0, SPACING_MM, 0, 7], [0, 0, SPACING_MM, -300], [0, 0, 0, 1.0]])
LEVELS_SEEN = ("T11", "T12", "L1", "L2")
DISTANCE_MM = 30.0  # between neighbouring centres: 6 voxels of 5 mm


def spine(names=LEVELS_SEEN, table="nnunet_id"):
    """Cubes of 4 voxels, 6 voxels apart, the first on top of the last; uint8 (8, 8, 6 n + 2), RAS."""
    labels = np.zeros((8, 8, 6 * len(names) + 2), np.uint8)
    for k, name in enumerate(reversed(names)):
        labels[2:6, 2:6, 1 + 6 * k : 5 + 6 * k] = getattr(BY_NAME[name], table)
    return labels


def centre_mm(name, names=LEVELS_SEEN):
    """Centroid of a cube, world RAS mm."""
    k = len(names) - 1 - list(names).index(name)
    return AFFINE[:3, :3] @ [3.5, 3.5, 2.5 + 6 * k] + AFFINE[:3, 3]


def write(path: Path, labels=None, affine=AFFINE) -> Path:
    nifti.write_nifti(path, spine() if labels is None else labels, affine)
    return path
