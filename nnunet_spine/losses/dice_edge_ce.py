"""Dice plus cross entropy with a higher weight on boundaries."""

import torch

from nnunet_spine.losses.base import require_not_negative
from nnunet_spine.losses.dice import DiceLoss
from nnunet_spine.losses.edge_cross_entropy import edge_cross_entropy


class DiceEdgeCELoss(DiceLoss):
    """Unweighted sum of `DiceLoss` and `EdgeCrossEntropyLoss`.

    Args:
        smooth: See `DiceLoss`.
        edge_weight: See `edge_cross_entropy`.
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
        smooth: float = 1e-5,
        edge_weight: float = 1.1,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp, smooth=smooth)
        require_not_negative(edge_weight=edge_weight)
        self.edge_weight = edge_weight

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Add the two losses."""
        return super().compute(logits, target, mask) + edge_cross_entropy(
            logits, target, mask, self.regions, self.ddp, self.edge_weight
        )
