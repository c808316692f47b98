"""Dice plus cross entropy."""

import torch

from nnunet_spine.losses.cross_entropy import cross_entropy
from nnunet_spine.losses.dice import DiceLoss


class DiceCELoss(DiceLoss):
    """Unweighted sum of `DiceLoss` and `CrossEntropyLoss` (binary for regions): nnU-Net's default loss plus one.

    Source: Wu et al., method section (binary cross entropy and Dice). For where it differs from nnU-Net, see
    `cross_entropy` (scale of the binary form with an ignore label) and `SegmentationLoss` (averages under DDP).
    """

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Add the two losses."""
        return super().compute(logits, target, mask) + cross_entropy(logits, target, mask, self.regions, self.ddp)
