"""Soft Dice loss."""

import torch

from nnunet_spine.losses.base import OverlapLoss, require_not_negative
from nnunet_spine.losses.counts import SoftCounts


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


class DiceLoss(OverlapLoss):
    """Mean of `dice_loss` over foreground classes or regions; 0 where all voxels are ignored.

    Source: Milletari et al. 2016 (V-Net), with the denominator that is not squared, as in Wu et al. and nnU-Net.

    Args:
        smooth: See `dice_loss`.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If `smooth` is negative.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp)
        require_not_negative(smooth=smooth)
        self.smooth = smooth

    def loss_of_counts(self, counts: SoftCounts) -> torch.Tensor:
        """Compute `dice_loss`."""
        return dice_loss(counts, self.smooth)
