"""Patches around vertebrae, whose voxels carry the place of their vertebra in the order of a walk.

nnU-Net's loader is given cases that are already cut to one patch, as in `centred`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from nnunet_spine.anatomy import NAMES
from nnunet_spine.errors import InputError

IGNORED = 99
"""Code of voxels without annotation."""
CUT = 100
"""Added to the place of a vertebra that a face of the scan cuts."""


def places_in_walk(labels: Mapping[str, Any], *, upwards: bool) -> dict[int, int]:
    """Label value -> place in the order of a walk, from 1.

    >>> places_in_walk({"background": 0, "T12": 19, "L1": 20, "T13": 26, "ignore": 27}, upwards=False)
    {19: 1, 26: 2, 20: 3}

    Args:
        labels: of dataset.json.
        upwards: from foot to head.

    Raises:
        InputError: names that are no levels, so that their order is not known.
    """
    names = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    if unknown := [name for name in names if name not in NAMES]:
        raise InputError(
            f"label '{unknown[0]}'; a walk goes from level to level, so all labels have to be some of {NAMES[0]} to "
            f"{NAMES[-1]}",
            "train on a dataset of vertebrae",
        )
    order = sorted(names, key=NAMES.index, reverse=upwards)
    return {names[name]: place for place, name in enumerate(order, start=1)}


class NextVertebraCases:
    """Cases of a data set, each cut to one patch around a vertebra or anywhere, with coded labels.

    The loader has to ask for foreground in every sample (`oversample_foreground_percent` 1), because the middle of the
    patch is the only location that it then knows.

    Source: public code for Lessmann et al. 2019: a random vertebra, the patch around a random point of its box; every
    third patch anywhere.

    Args:
        cases: nnU-Net's data set.
        patch_size: of the loader, in voxels (3D).
        places: see `places_in_walk`.
        ignore_label: value of voxels without annotation, or None.
        anywhere: share of patches from anywhere.
    """

    def __init__(
        self,
        cases: nnUNetBaseDataset,
        patch_size: Sequence[int],
        places: Mapping[int, int],
        ignore_label: int | None,
        anywhere: float,
    ):
        self.cases = cases
        self.identifiers = cases.identifiers
        self.patch_size = np.array(patch_size, int)
        self.places, self.ignore_label, self.anywhere = dict(places), ignore_label, anywhere
        self.cut: dict[str, frozenset[int]] = {}

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
        """Image, coded labels and segmentation of a previous stage, each (channels, *patch_size), and properties.

        Outside the scan the image is 0 and the code -1, as in nnU-Net.
        """
        image, segmentation, previous, properties = self.cases.load_case(identifier)
        if identifier not in self.cut:
            self.cut[identifier] = _labels_at_faces(segmentation)
        centre = self._centre(properties["class_locations"], image.shape[1:])
        start = np.round(centre - self.patch_size / 2).astype(int)
        box = np.stack([start, start + self.patch_size], 1).tolist()
        codes = self._code(crop_and_pad_nd(segmentation, box, -1, cast_cropped_to=np.int16), self.cut[identifier])
        if previous is not None:
            previous = crop_and_pad_nd(previous, box, -1, cast_cropped_to=np.int16)
        middle = {1: np.array([[0, *self.patch_size // 2]])}
        return crop_and_pad_nd(image, box, 0), codes, previous, {**properties, "class_locations": middle}

    def _centre(self, locations: Mapping[Any, Any], shape: Sequence[int]) -> np.ndarray:
        there = [value for value in self.places if len(locations.get(value, ()))]
        # nnU-Net seeds the global state of its workers
        if not there or np.random.uniform() < self.anywhere:  # noqa: NPY002
            return np.random.uniform(0, shape)  # noqa: NPY002
        voxels = np.asarray(locations[there[np.random.randint(len(there))]])[:, 1:]  # noqa: NPY002
        return np.random.uniform(voxels.min(0), voxels.max(0) + 1)  # noqa: NPY002

    def _code(self, labels: np.ndarray, cut: frozenset[int]) -> np.ndarray:
        out = np.where(labels < 0, labels, 0).astype(np.int16)
        for value in np.unique(labels[labels > 0]).tolist():
            place = IGNORED if value == self.ignore_label else self.places.get(value, 0)
            out[labels == value] = place + (CUT if value in cut and place != IGNORED else 0)
        return out


def _labels_at_faces(segmentation: Any) -> frozenset[int]:
    """Values that reach a face of the array (1, *spatial), which may be compressed."""
    found: set[int] = set()
    for axis, n in enumerate(segmentation.shape[1:], start=1):
        for index in (0, n - 1):
            face = segmentation[tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(4))]
            found |= set(np.unique(face).tolist())
    return frozenset(value for value in found if value > 0)
