"""Loss of a network that segments the next vertebra and tells whether it sees the whole of it."""

import torch
from torch import nn
from torch.nn import functional

from nnunet_spine.losses.ranks import mean_over_ranks
from nnunet_spine.losses.segmentation import SegmentationLoss

INCOMPLETE, COMPLETE, IGNORE = 1, 2, 3
"""Values of the target: the next vertebra, cut off or whole, and voxels without annotation."""


def completeness_logit(logits: torch.Tensor, vertebra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of the third output over the vertebra.

    Args:
        logits: (b, 3, *spatial): background, vertebra, and whether it is complete.
        vertebra: bool (b, *spatial).

    Returns:
        (b,) logits, 0 where there is no vertebra; and (b,) bool, where there is one.
    """
    vertebra = vertebra.flatten(1)
    n = vertebra.sum(1)
    total = (logits[:, 2].flatten(1).float() * vertebra).sum(1)
    return total / n.clamp(min=1), n > 0


class NextVertebraLoss(nn.Module):
    """Loss of the segmentation, plus the weighted binary cross entropy of the completeness.

    The completeness is that of images whose target is not empty; it is 0 where none is.

    Args:
        segmentation: of background and vertebra, with `IGNORE` as ignore label.
        completeness: weight; 0 for networks without this output.
    """

    def __init__(self, segmentation: SegmentationLoss, completeness: float = 0.0) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.completeness = completeness

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the scalar from logits (b, 2 or 3, *spatial) and a target (b, 1, *spatial) of the values above."""
        loss = self.segmentation(logits[:, :2], torch.where(target == COMPLETE, 1, target))
        if not self.completeness:
            return loss
        vertebra = (target == INCOMPLETE) | (target == COMPLETE)
        logit, there = completeness_logit(logits, vertebra[:, 0])
        whole = (target == COMPLETE).flatten(1).any(1).to(logit.dtype)
        errors = functional.binary_cross_entropy_with_logits(logit, whole, reduction="none") * there
        mean = mean_over_ranks(errors.sum(), there.sum().to(logit.dtype), self.segmentation.context.ddp)
        return loss + self.completeness * mean

    def extra_repr(self) -> str:
        return f"completeness={self.completeness}"
