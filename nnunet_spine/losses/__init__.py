"""Losses for softmax and region heads; `LOSSES` lists them by the name that a trainer recipe uses."""

from nnunet_spine.losses.base import SegmentationLoss
from nnunet_spine.losses.cross_entropy import CrossEntropyLoss
from nnunet_spine.losses.dice import DiceLoss
from nnunet_spine.losses.dice_ce import DiceCELoss
from nnunet_spine.losses.dice_edge_ce import DiceEdgeCELoss
from nnunet_spine.losses.dice_focal_tversky import DiceFocalTverskyLoss
from nnunet_spine.losses.dice_weighted_edge_nll import DiceWeightedEdgeNLLLoss
from nnunet_spine.losses.edge_cross_entropy import EdgeCrossEntropyLoss
from nnunet_spine.losses.focal_tversky import FocalTverskyLoss
from nnunet_spine.losses.tversky import TverskyLoss
from nnunet_spine.losses.weighted_edge_nll import WeightedEdgeNLLLoss

# The head decides between softmax and sigmoid, so BCE and DiceBCE are only other names of CE and DiceCE.
LOSSES: dict[str, type[SegmentationLoss]] = {
    "CE": CrossEntropyLoss,
    "BCE": CrossEntropyLoss,
    "EdgeCE": EdgeCrossEntropyLoss,
    "Dice": DiceLoss,
    "DiceCE": DiceCELoss,
    "DiceBCE": DiceCELoss,
    "DiceEdgeCE": DiceEdgeCELoss,
    "Tversky": TverskyLoss,
    "FocalTversky": FocalTverskyLoss,
    "DiceFocalTversky": DiceFocalTverskyLoss,
    "WeightedEdgeNLL": WeightedEdgeNLLLoss,
    "DiceWeightedEdgeNLL": DiceWeightedEdgeNLLLoss,
}

__all__ = [
    "LOSSES",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceEdgeCELoss",
    "DiceFocalTverskyLoss",
    "DiceLoss",
    "DiceWeightedEdgeNLLLoss",
    "EdgeCrossEntropyLoss",
    "FocalTverskyLoss",
    "SegmentationLoss",
    "TverskyLoss",
    "WeightedEdgeNLLLoss",
]
