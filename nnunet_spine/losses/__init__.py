"""Losses of Wu et al. for softmax and region heads; `LOSSES` lists them by the name that a trainer recipe uses."""

from nnunet_spine.losses.base import SegmentationLoss
from nnunet_spine.losses.cross_entropy import CrossEntropyLoss
from nnunet_spine.losses.dice import DiceLoss
from nnunet_spine.losses.dice_ce import DiceCELoss
from nnunet_spine.losses.dice_focal_tversky import DiceFocalTverskyLoss
from nnunet_spine.losses.focal_tversky import FocalTverskyLoss
from nnunet_spine.losses.tversky import TverskyLoss

# The head decides between softmax and sigmoid, so BCE and DiceBCE are only other names of CE and DiceCE.
LOSSES: dict[str, type[SegmentationLoss]] = {
    "CE": CrossEntropyLoss,
    "BCE": CrossEntropyLoss,
    "Dice": DiceLoss,
    "DiceCE": DiceCELoss,
    "DiceBCE": DiceCELoss,
    "Tversky": TverskyLoss,
    "FocalTversky": FocalTverskyLoss,
    "DiceFocalTversky": DiceFocalTverskyLoss,
}

__all__ = [
    "LOSSES",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceFocalTverskyLoss",
    "DiceLoss",
    "FocalTverskyLoss",
    "SegmentationLoss",
    "TverskyLoss",
]
