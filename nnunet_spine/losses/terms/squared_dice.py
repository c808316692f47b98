"""Soft Dice loss with squares in the denominator, as V-Net has it."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.terms.dice import Dice, dice_loss


class SquaredDice(Dice):
    """Mean over foreground classes or regions of 1 - (2 sum pg + smooth) / (sum p² + sum g² + smooth).

    Its gradient vanishes where p is g, and near there is flatter than that of `Dice`.

    Source: Milletari et al. 2016 (V-Net), which has one foreground class and no `smooth`; Sekuboyina et al. 2017 train
    with it.

    Args:
        smooth: Added above and below, in voxels.

    Raises:
        ValueError: `smooth` is negative.
    """

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        return batch.mean_over_classes(dice_loss(batch.squared_counts, self.smooth))
