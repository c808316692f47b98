"""What every loss needs to know of the training it serves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossContext:
    """The head, the ignore label, and over what counts are added up.

    Attributes:
        regions: True for sigmoid heads with one channel per region, False for softmax heads with background first.
        ignore_label: label that marks voxels without annotation, or None. For regions only its presence matters, as in
            nnU-Net.
        batch_dice: sum overlap counts over the batch before the ratio, instead of one ratio per sample.
        ddp: gather over the processes of the default process group, which must be initialised.
    """

    regions: bool = False
    ignore_label: int | None = None
    batch_dice: bool = False
    ddp: bool = False
