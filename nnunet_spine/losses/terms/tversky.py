"""Tversky loss."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.counts import SoftCounts
from nnunet_spine.losses.segmentation import Term, require_not_negative


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


class Tversky(Term):
    """Mean of `tversky_loss` over foreground classes or regions; 0 where all voxels are ignored.

    Source: Salehi et al. 2017, who try several weights and find 0.7 for the missed voxels and 0.3 for the false ones
    best, and Abraham & Khan 2019, who take these over. Wu et al. name the loss and print no constant.

    Args:
        alpha: See `tversky_loss`.
        beta: See `tversky_loss`.
        smooth: See `tversky_loss`.

    Raises:
        ValueError: An option is negative.
    """

    def __init__(self, alpha: float = 0.7, beta: float = 0.3, smooth: float = 1e-5) -> None:
        super().__init__()
        require_not_negative(alpha=alpha, beta=beta, smooth=smooth)
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        return batch.mean_over_classes(tversky_loss(batch.counts, self.alpha, self.beta, self.smooth))
