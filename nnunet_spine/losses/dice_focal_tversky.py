"""Dice plus focal Tversky."""

import torch

from nnunet_spine.losses.counts import SoftCounts
from nnunet_spine.losses.dice import dice_loss
from nnunet_spine.losses.focal_tversky import FocalTverskyLoss


class DiceFocalTverskyLoss(FocalTverskyLoss):
    """Unweighted sum of `DiceLoss` and `FocalTverskyLoss` from one set of counts, with the latter's options.

    Source: Wu et al., the best loss of their comparison. Where all voxels are ignored the loss is 3.2e-5.
    """

    def loss_of_counts(self, counts: SoftCounts) -> torch.Tensor:
        """Add `dice_loss` and `focal_tversky_loss`."""
        return dice_loss(counts, self.smooth) + super().loss_of_counts(counts)
