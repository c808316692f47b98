"""Weight map for the gaps between neighbouring vertebrae [Ronneberger et al. 2015].

The map is made in the data loader, where its time is hidden: on a CPU, exact distances around each label take less than
a tenth of the time of comparing shifted patches, the form that would suit a GPU (`benchmarks.separation`).
"""

import edt
import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import SegOnlyTransform
from scipy import ndimage

SIGMA = 5.0  # voxels


def separation_map(labels: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Compute exp(-(d1 + d2)² / (2 sigma²)) with the distances to the nearest and the second nearest label.

    It is near 1 where two vertebrae touch and falls to both sides of the gap; inside a vertebra d1 is 0.

    Args:
        labels: unsigned integers, 0 is background; (x, y) or (x, y, z).
        sigma: in voxels.

    Returns:
        float32, shape of `labels`. 0 where fewer than two labels are nearer than 4 sigma.
    """
    reach = int(np.ceil(4 * sigma))
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        distance = edt.edt(labels[around] != label, parallel=1)
        first = nearest[around]  # views: the arrays are updated in place
        np.minimum(second[around], np.maximum(first, distance), out=second[around])
        np.minimum(first, distance, out=first)
    return np.exp(-((nearest + second) ** 2) / (2 * sigma**2))


class SeparationTransform(SegOnlyTransform):
    """Appends `separation_map` to the segmentation as a second channel, which becomes float32.

    Comes last, when all voxels have their final label.

    Args:
        ignore_label: voxels of it belong to no vertebra.
    """

    def __init__(self, ignore_label: int | None = None):
        super().__init__()
        self.ignore_label = ignore_label

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **params) -> torch.Tensor:
        labels = segmentation[0].numpy().astype(np.uint8)
        if self.ignore_label is not None:
            labels[labels == self.ignore_label] = 0
        return torch.stack([segmentation[0].float(), torch.from_numpy(separation_map(labels))])
