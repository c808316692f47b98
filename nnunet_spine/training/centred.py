"""Patches around the middle of each scan, for data sets whose scans are crops around what is to be segmented.

nnU-Net's loader takes its patches anywhere, which destroys the meaning of such a crop. It is given cases that are
already cut to one patch, with the middle as the only place where foreground is known to be.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset


def middle_of_scan(properties: dict[str, Any], shape: Sequence[int]) -> np.ndarray:
    """Where the middle of the scan as it was in the file lies in its preprocessed array.

    nnU-Net cuts off borders of zeros, so it need not be the middle of the array.

    Args:
        properties: those of nnU-Net's preprocessing.
        shape: of the preprocessed array, without channels.

    Returns:
        (3,), in voxels from the edge of the first voxel, in the order of the array.
    """
    kept = np.array(properties["bbox_used_for_cropping"], float)  # (3, 2): first, last + 1
    middle = np.array(properties["shape_before_cropping"]) / 2 - kept[:, 0]
    return middle * np.array(shape) / (kept[:, 1] - kept[:, 0])


class CentredCases:
    """Cases of a data set, each cut to one patch around the middle of its scan; what nnU-Net's loader needs of them.

    The loader has to ask for foreground in every sample (`oversample_foreground_percent` 1), because the middle is the
    only location that it then knows.

    Args:
        cases: nnU-Net's data set.
        patch_size: of the loader, in voxels (3D).
        max_shift_voxels: the patch is off centre by up to so much along each axis, uniformly random.
    """

    def __init__(self, cases: nnUNetBaseDataset, patch_size: Sequence[int], max_shift_voxels: Sequence[float]):
        self.cases = cases
        self.identifiers = cases.identifiers
        self.patch_size = np.array(patch_size, int)
        self.max_shift_voxels = np.array(max_shift_voxels, float)

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
        """Image, segmentation and segmentation of a previous stage, each (channels, *patch_size), and properties.

        Outside the scan the image is 0 and the segmentation -1, as in nnU-Net.
        """
        image, segmentation, previous, properties = self.cases.load_case(identifier)
        middle = middle_of_scan(properties, image.shape[1:])
        shift = np.random.uniform(-1, 1, 3) * self.max_shift_voxels  # noqa: NPY002 - nnU-Net seeds the global state
        start = np.round(middle + shift - self.patch_size / 2).astype(int)
        box = np.stack([start, start + self.patch_size], 1).tolist()
        if previous is not None:
            previous = crop_and_pad_nd(previous, box, -1, cast_cropped_to=np.int16)
        return (
            crop_and_pad_nd(image, box, 0),
            crop_and_pad_nd(segmentation, box, -1, cast_cropped_to=np.int16),
            previous,
            {**properties, "class_locations": {1: np.array([[0, *self.patch_size // 2]])}},
        )
