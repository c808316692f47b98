"""Where in the world nnU-Net's preprocessed arrays lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def affine_of_preprocessed(
    properties: Mapping[str, Any], shape: Sequence[int], transpose_forward: Sequence[int]
) -> np.ndarray:
    """Voxel index of a preprocessed array, in the order of its axes, -> RAS mm, as 4 x 4 matrix.

    Args:
        properties: of the case, as nnU-Net's preprocessing leaves them; by a reader that turns scans to RAS.
        shape: of the preprocessed array, three axes.
        transpose_forward: of the plans.
    """
    to_scan = np.zeros((4, 4))  # to the reoriented scan, x, y, z
    to_scan[3, 3] = 1
    boxes, old = properties["bbox_used_for_cropping"], properties["shape_after_cropping_and_before_resampling"]
    for a, (box, before, after) in enumerate(zip(boxes, old, shape, strict=True)):
        axis = 2 - list(transpose_forward)[a]  # nnU-Net's volumes are z, y, x before the transposition
        step = before / after
        to_scan[axis, a] = step
        to_scan[axis, 3] = box[0] + step / 2 - 0.5  # resampling keeps the outer faces, not the outer centres
    return _affine_of_scan(properties) @ to_scan


def _affine_of_scan(properties: Mapping[str, Any]) -> np.ndarray:
    """RAS affine of the scan as the reader turned it, axes x, y, z."""
    if "nibabel_stuff" in properties:
        return np.asarray(properties["nibabel_stuff"]["reoriented_affine"], float)
    stuff = properties["sitk_stuff"]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(stuff["direction"], (3, 3)) * stuff["spacing"]
    affine[:3, 3] = stuff["origin"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # SimpleITK's world is LPS
