"""Cross entropy: categorical for softmax heads, binary for region heads."""

import torch
import torch.nn.functional as F

from nnunet_spine.losses.base import SegmentationLoss
from nnunet_spine.losses.ranks import mean_over_ranks


def voxel_cross_entropy(logits: torch.Tensor, target: torch.Tensor, regions: bool) -> torch.Tensor:
    """Compute -log p(label), or for regions the binary cross entropy, of each voxel.

    Args:
        logits: (b, c, *spatial), floating point.
        target: Label map (b, 1, *spatial) of labels below c, or for regions (b, c, *spatial) with values 0 and 1.
        regions: Which of the two to compute.

    Returns:
        Shape of `target`.
    """
    if regions:
        return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, target[:, 0].long(), reduction="none")[:, None]  # (b, 1, *spatial)


def mean_over_voxels(losses: torch.Tensor, mask: torch.Tensor | None, ddp: bool = False) -> torch.Tensor:
    """Average over the voxels that count, and over channels.

    Args:
        losses: (b, c, *spatial).
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        ddp: Average over the voxels of all processes.

    Returns:
        Scalar; 0 with zero gradient if no voxel counts.
    """
    if mask is None:
        return mean_over_ranks(losses.sum(), losses.new_full((), losses.numel()), ddp)
    return mean_over_ranks((losses * mask).sum(), (mask.sum() * losses.shape[1]).to(losses.dtype), ddp)


def cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, regions: bool, ddp: bool = False
) -> torch.Tensor:
    """Mean of -log p(label) over voxels, or for regions of the binary cross entropy over voxels and regions.

    nnU-Net's `DC_and_BCE_loss` divides by the number of voxels alone once there is an ignore label, which multiplies
    its binary cross entropy by the number of regions; here the ignore label does not change the scale.

    Args:
        logits: (b, c, *spatial), floating point.
        target: Label map (b, 1, *spatial) of labels below c, or for regions (b, c, *spatial) with values 0 and 1.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        regions: Which of the two to compute.
        ddp: Average over the voxels of all processes.

    Returns:
        Scalar; 0 with zero gradient if no voxel counts.
    """
    return mean_over_voxels(voxel_cross_entropy(logits, target, regions), mask, ddp)


class CrossEntropyLoss(SegmentationLoss):
    """Mean cross entropy, categorical or for regions binary; `batch_dice` is accepted and has no effect.

    Background counts. Where all voxels are ignored the loss is 0.
    """

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Compute `cross_entropy`."""
        return cross_entropy(logits, target, mask, self.regions, self.ddp)
