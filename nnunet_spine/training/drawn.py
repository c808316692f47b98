"""Training cases that are drawn when they are asked for, instead of read: phantoms of the wide domain without end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from nnunet_spine.anatomy import KINDS, dataset_labels
from nnunet_spine.errors import InputError
from nnunet_spine.io.label_ids import VERSE
from nnunet_spine.phantom import PhantomOptions, draw_phantom
from nnunet_spine.training.tissue import Window

_LOCATIONS = 2000  # places of each label that are remembered


def kind_of_labels(labels: Mapping[str, Any]) -> str:
    """Which of `anatomy.KINDS` a data set's labels are.

    Raises:
        InputError: none.
    """
    for kind in KINDS:
        if labels == dataset_labels(kind):
            return kind
    raise InputError(
        f"drawn cases have the labels of one of {', '.join(KINDS)}, and this data set has others",
        "convert it with `nnunet-spine convert`, or leave out the option 'drawn'",
    )


class DrawnCases:
    """What nnU-Net's loader needs of a data set, drawn: each phantom gives some patches, then comes the next.

    Seeds come from numpy's global state, from which nnU-Net seeds its workers: a seeded training sees the same phantoms
    again. A whole spine at 2 mm takes 1-4 s to draw.

    Args:
        cases: nnU-Net's data set of training cases; only its identifiers are used.
        kind: of labels, see `anatomy.KINDS`.
        spacing_mm: along the axes of nnU-Net's arrays.
        transpose: from the reader's axes z, y, x to those of the arrays, as in the plans.
        window: normalisation.
        patches: from one phantom.
    """

    def __init__(
        self,
        cases: nnUNetBaseDataset,
        kind: str,
        spacing_mm: Sequence[float],
        transpose: Sequence[int],
        window: Window,
        patches: int,
    ):
        self.identifiers = cases.identifiers
        self.kind, self.window, self.patches = kind, window, patches
        self.transpose = tuple(transpose)
        zyx_mm = np.array(spacing_mm, float)[np.argsort(self.transpose)]
        self.options = PhantomOptions(
            shape=None,
            spacing_mm=tuple(zyx_mm[::-1].tolist()),
            levels_in_view=(4, 14),
            circular_fov_probability=0.1,
            keep_partial=True,
            domain="wide",
        )
        self._left, self._case = 0, None

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, None, dict[str, Any]]:
        """Image (1, *shape) normalised, segmentation (1, *shape), no previous stage, and where labels are."""
        if not self._left:
            self._left, self._case = self.patches, self._draw()
        self._left -= 1
        return self._case

    def _draw(self) -> tuple[np.ndarray, np.ndarray, None, dict[str, Any]]:
        seed = int(np.random.randint(2**31 - 1))  # noqa: NPY002 - see the class
        phantom = draw_phantom(seed, self.options)
        mask = phantom.mask.copy()
        VERSE.to_ids(mask, self.kind)
        image = self.window.from_hu(phantom.image.T.astype(np.float32)).transpose(self.transpose)[None]
        segmentation = mask.T.transpose(self.transpose)[None].astype(np.int8)
        rng = np.random.default_rng(seed)
        locations = {}
        for value in np.unique(segmentation)[1:].tolist():
            places = np.argwhere(segmentation == value)
            locations[value] = places[rng.permutation(len(places))[:_LOCATIONS]]
        return image, segmentation, None, {"class_locations": locations}
