"""Tversky loss."""

import torch

from nnunet_spine.losses.base import OverlapLoss, require_not_negative
from nnunet_spine.losses.counts import SoftCounts


def tversky_loss(counts: SoftCounts, alpha: float = 0.7, beta: float = 0.3, smooth: float = 1e-5) -> torch.Tensor:
    """Compute 1 - TI with the Tversky index TI = (TP + smooth) / (TP + alpha FN + beta FP + smooth).

    alpha weighs the missed voxels, as in Abraham & Khan; Salehi et al. and some libraries (MONAI among them) give alpha
    to the false positives. With alpha = beta = 0.5 this is `dice_loss` with twice the `smooth`.

    Args:
        counts: Any shape.
        alpha: Weight of the false negatives.
        beta: Weight of the false positives.
        smooth: Added above and below, in voxels.

    Returns:
        Shape of the counts. A class absent from target and prediction has loss 0, or 1 if `smooth` is 0; a class absent
        from the target alone has 1 - smooth / (beta FP + smooth), about 1.
    """
    tp, fp, fn = counts
    return 1 - (tp + smooth) / (tp + alpha * fn + beta * fp + smooth).clamp(min=1e-8)


class TverskyLoss(OverlapLoss):
    """Mean of `tversky_loss` over foreground classes or regions; 0 where all voxels are ignored.

    Source: Salehi et al. 2017; Wu et al. with alpha = 0.7 and beta = 0.3.

    Args:
        alpha: See `tversky_loss`.
        beta: See `tversky_loss`.
        smooth: See `tversky_loss`.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If an option is negative.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        alpha: float = 0.7,
        beta: float = 0.3,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp)
        require_not_negative(alpha=alpha, beta=beta, smooth=smooth)
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth

    def loss_of_counts(self, counts: SoftCounts) -> torch.Tensor:
        """Compute `tversky_loss`."""
        return tversky_loss(counts, self.alpha, self.beta, self.smooth)
