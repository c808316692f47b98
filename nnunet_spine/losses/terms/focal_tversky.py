"""Focal Tversky loss."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.counts import SoftCounts
from nnunet_spine.losses.terms.tversky import Tversky, tversky_loss


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


class FocalTversky(Tversky):
    """Mean of `focal_tversky_loss` over foreground classes or regions; 3.2e-5 where all voxels are ignored.

    Source: Abraham & Khan 2019, constants included. Wu et al., whose best loss is `DiceFocalTversky`, print none; nor
    do they say how the two are weighed: here they are added.

    Args:
        alpha: See `focal_tversky_loss`.
        beta: See `focal_tversky_loss`.
        gamma: See `focal_tversky_loss`.
        smooth: See `focal_tversky_loss`.

    Raises:
        ValueError: `gamma` is not above 0, or another option is negative.
    """

    def __init__(self, alpha: float = 0.7, beta: float = 0.3, gamma: float = 4 / 3, smooth: float = 1e-5) -> None:
        super().__init__(alpha, beta, smooth)
        if not gamma > 0:
            raise ValueError(
                f"gamma={gamma} was given; the exponent is 1 / gamma, so it must be above 0 (published: 4/3)."
            )
        self.gamma = gamma

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        losses = focal_tversky_loss(batch.counts, self.alpha, self.beta, self.gamma, self.smooth)
        return batch.mean_over_classes(losses)
