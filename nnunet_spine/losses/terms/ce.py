"""Cross entropy: categorical for softmax heads, binary for region heads."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.segmentation import Term


class CE(Term):
    """Mean of -log p(label) over voxels, or for regions of the binary cross entropy over voxels and regions.

    Background counts. Where all voxels are ignored the loss is 0. `batch_dice` has no effect.

    nnU-Net's `DC_and_BCE_loss` divides by the number of voxels alone once there is an ignore label, which multiplies
    its binary cross entropy by the number of regions; here the ignore label does not change the scale. `DiceCE` is
    nnU-Net's default loss plus one; Wu et al. name it in their method section (binary cross entropy and Dice).
    """

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        return batch.mean_over_voxels(batch.cross_entropy)
