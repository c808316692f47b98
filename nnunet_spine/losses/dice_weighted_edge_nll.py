"""Dice plus cross entropy with weights for classes and changes of label."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from nnunet_spine.losses.dice import DiceLoss
from nnunet_spine.losses.weighted_edge_nll import require_positive, weighted_edge_nll


class DiceWeightedEdgeNLLLoss(DiceLoss):
    """Unweighted sum of `DiceLoss` and `WeightedEdgeNLLLoss`.

    Args:
        smooth: See `DiceLoss`.
        class_weights: See `WeightedEdgeNLLLoss`; they do not weigh the Dice loss.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If `smooth` is negative or a class weight not above 0.
    """

    uses_class_weights: ClassVar[bool] = True

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        smooth: float = 1e-5,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp, smooth=smooth)
        self.class_weights = require_positive(class_weights)

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Add the two losses."""
        return super().compute(logits, target, mask) + weighted_edge_nll(
            logits, target, mask, self.regions, self.ddp, self.class_weights
        )
