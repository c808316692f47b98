"""Cross entropy in which the boundary of the foreground weighs more."""

import torch

from nnunet_spine.losses.base import SegmentationLoss, require_not_negative
from nnunet_spine.losses.cross_entropy import mean_over_voxels, voxel_cross_entropy


def foreground_boundary(target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark the foreground voxels that have a face neighbour of another label.

    Neighbours are compared by shifted views: nothing wraps around, and a voxel at the border of the patch is compared
    with the neighbours it has, which equals replicated borders.

    Args:
        target: Label map (b, 1, *spatial), or regions (b, c, *spatial) with values 0 and 1, each channel for itself.
        mask: Boolean (b, 1, *spatial), False where voxels are ignored: they are no boundary and make none.

    Returns:
        Boolean, shape of `target`.
    """
    boundary = torch.zeros_like(target, dtype=torch.bool)
    for axis in range(2, target.ndim):
        n_pairs = target.shape[axis] - 1
        differ = target.narrow(axis, 1, n_pairs) != target.narrow(axis, 0, n_pairs)
        if mask is not None:
            # an ignored voxel itself is background in `target`, so only its neighbours need care
            differ &= mask.narrow(axis, 1, n_pairs) & mask.narrow(axis, 0, n_pairs)
        boundary.narrow(axis, 0, n_pairs).logical_or_(differ)
        boundary.narrow(axis, 1, n_pairs).logical_or_(differ)
    return boundary.logical_and_(target > 0)


def edge_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    regions: bool,
    ddp: bool = False,
    edge_weight: float = 1.1,
) -> torch.Tensor:
    """Compute `cross_entropy` with the terms of `foreground_boundary` multiplied by `edge_weight`.

    The sum is divided by the number of voxels, not of weights, so a higher weight is a higher loss, as in Mita et al.

    Args:
        logits: (b, c, *spatial), floating point.
        target: Label map (b, 1, *spatial) of labels below c, or for regions (b, c, *spatial) with values 0 and 1.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        regions: Whether the target holds regions.
        ddp: Average over the voxels of all processes.
        edge_weight: Weight of boundary voxels; all others have 1.

    Returns:
        Scalar; 0 with zero gradient if no voxel counts.
    """
    losses = voxel_cross_entropy(logits, target, regions)
    losses = torch.where(foreground_boundary(target, mask), edge_weight * losses, losses)
    return mean_over_voxels(losses, mask, ddp)


class EdgeCrossEntropyLoss(SegmentationLoss):
    """Cross entropy with a higher weight on the boundary voxels of the foreground, see `edge_cross_entropy`.

    The boundary is that of the target which the loss receives, so deep supervision weighs it at each scale. With
    several labels every change of label is a boundary; with regions each region has its own. `batch_dice` is accepted
    and has no effect.

    Source: Mita et al., weight 1.1 for boundary voxels found by a Laplacian of a binary label.

    Args:
        edge_weight: See `edge_cross_entropy`.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If `edge_weight` is negative.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        edge_weight: float = 1.1,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp)
        require_not_negative(edge_weight=edge_weight)
        self.edge_weight = edge_weight

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Compute `edge_cross_entropy`."""
        return edge_cross_entropy(logits, target, mask, self.regions, self.ddp, self.edge_weight)
