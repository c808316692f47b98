"""Dice plus cross entropy with weights for classes and changes of label."""

from collections.abc import Sequence

import torch

from nnunet_spine.losses.dice import DiceLoss
from nnunet_spine.losses.weighted_edge_nll import WeightedEdgeNLLLoss


class DiceWeightedEdgeNLLLoss(WeightedEdgeNLLLoss):
    """Unweighted sum of `DiceLoss` and `WeightedEdgeNLLLoss`.

    Args:
        smooth: See `DiceLoss`.
        class_weights, separation_weight: See `WeightedEdgeNLLLoss`; they do not weigh the Dice loss.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If an option is out of range, see the two losses.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        smooth: float = 1e-5,
        class_weights: Sequence[float] | None = None,
        separation_weight: float = 0.0,
    ) -> None:
        super().__init__(
            regions, ignore_label, batch_dice, ddp, class_weights=class_weights, separation_weight=separation_weight
        )
        self.dice = DiceLoss(regions, ignore_label, batch_dice, ddp, smooth=smooth)

    def compute(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None,
        separation: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Add the two losses."""
        return self.dice.compute(logits, target, mask) + super().compute(logits, target, mask, separation)
