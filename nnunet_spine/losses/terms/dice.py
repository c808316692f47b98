"""Soft Dice loss."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.counts import SoftCounts
from nnunet_spine.losses.segmentation import Term, require_not_negative


def dice_loss(counts: SoftCounts, smooth: float = 1e-5) -> torch.Tensor:
    """Compute 1 - (2 TP + smooth) / (2 TP + FP + FN + smooth), where 2 TP + FP + FN = sum of p + sum of g.

    nnU-Net's Dice is the same with the sign changed and without the 1: ours is nnU-Net's plus one.

    Args:
        counts: Any shape.
        smooth: Added above and below, in voxels.

    Returns:
        Shape of the counts. A class absent from target and prediction has loss 0, or 1 if `smooth` is 0; a class absent
        from the target alone has 1 - smooth / (FP + smooth), about 1.
    """
    tp, fp, fn = counts
    return 1 - (2 * tp + smooth) / (2 * tp + fp + fn + smooth).clamp(min=1e-8)


class Dice(Term):
    """Mean of `dice_loss` over foreground classes or regions; 0 where all voxels are ignored.

    Source: Milletari et al. 2016 (V-Net), without the squares in the denominator, as in nnU-Net; with them it is
    `SquaredDice`.

    Args:
        smooth: See `dice_loss`.

    Raises:
        ValueError: `smooth` is negative.
    """

    def __init__(self, smooth: float = 1e-5) -> None:
        super().__init__()
        require_not_negative(smooth=smooth)
        self.smooth = smooth

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        return batch.mean_over_classes(dice_loss(batch.counts, self.smooth))
