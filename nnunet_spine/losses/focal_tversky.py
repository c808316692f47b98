"""Focal Tversky loss."""

import torch

from nnunet_spine.losses.counts import SoftCounts
from nnunet_spine.losses.tversky import TverskyLoss, tversky_loss


def focal_tversky_loss(
    counts: SoftCounts, alpha: float = 0.7, beta: float = 0.3, gamma: float = 4 / 3, smooth: float = 1e-5
) -> torch.Tensor:
    """Compute (1 - TI) ** (1 / gamma) from the Tversky index TI of `tversky_loss`.

    The exponent is 1 / gamma = 0.75 as Abraham & Khan write it; some libraries call the exponent itself gamma.
    1 - TI is raised to 1e-6 at least, because the slope of x ** 0.75 is infinite at 0: below, the gradient is zero.

    Args:
        counts: Any shape.
        alpha: Weight of the false negatives.
        beta: Weight of the false positives.
        gamma: Inverse of the exponent, above 0.
        smooth: Added above and below, in voxels.

    Returns:
        Shape of the counts. A class absent from target and prediction, or predicted perfectly, has loss
        1e-6 ** (1 / gamma) = 3.2e-5.
    """
    return tversky_loss(counts, alpha, beta, smooth).clamp(min=1e-6) ** (1 / gamma)


class FocalTverskyLoss(TverskyLoss):
    """Mean of `focal_tversky_loss` over foreground classes or regions; 3.2e-5 where all voxels are ignored.

    Source: Abraham & Khan 2019; Wu et al. with alpha = 0.7, beta = 0.3 and gamma = 4/3.

    Args:
        alpha: See `focal_tversky_loss`.
        beta: See `focal_tversky_loss`.
        gamma: See `focal_tversky_loss`.
        smooth: See `focal_tversky_loss`.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If `gamma` is not above 0 or another option is negative.
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
        gamma: float = 4 / 3,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp, alpha=alpha, beta=beta, smooth=smooth)
        if not gamma > 0:
            raise ValueError(
                f"gamma={gamma} was given; the exponent is 1 / gamma, so it must be above 0 (published: 4/3)."
            )
        self.gamma = gamma

    def loss_of_counts(self, counts: SoftCounts) -> torch.Tensor:
        """Compute `focal_tversky_loss`."""
        return focal_tversky_loss(counts, self.alpha, self.beta, self.gamma, self.smooth)
