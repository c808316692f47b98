"""Cross entropy with class weights, in which voxels at a change of label weigh more."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from nnunet_spine.losses.base import SegmentationLoss, require_not_negative
from nnunet_spine.losses.cross_entropy import voxel_cross_entropy
from nnunet_spine.losses.ranks import mean_over_ranks

INNER_WEIGHT = 0.95
EDGE_WEIGHT = 2.0


def label_changes(target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark the voxels whose label differs from that of the previous voxel along any axis.

    Views shifted by one are compared, so nothing wraps around: the first voxel of an axis has no previous one.

    Args:
        target: Label map (b, 1, *spatial), or regions (b, c, *spatial) with values 0 and 1, each channel for itself.
        mask: Boolean (b, 1, *spatial), False where voxels are ignored: they are no change and make none.

    Returns:
        Boolean, shape of `target`.
    """
    changes = torch.zeros_like(target, dtype=torch.bool)
    for axis in range(2, target.ndim):
        n_pairs = target.shape[axis] - 1
        differ = target.narrow(axis, 1, n_pairs) != target.narrow(axis, 0, n_pairs)
        if mask is not None:
            differ &= mask.narrow(axis, 1, n_pairs) & mask.narrow(axis, 0, n_pairs)
        changes.narrow(axis, 1, n_pairs).logical_or_(differ)
    return changes


def weighted_edge_nll(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    regions: bool,
    ddp: bool = False,
    class_weights: Sequence[float] | None = None,
    separation: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute sum(e w (-log p)) / sum(e) with e = 0.95 + 2 [label change] + separation and the label's class weight w.

    For regions -log p is the binary cross entropy of each region, with the region's weight and its own label changes.

    Args:
        logits: (b, c, *spatial), floating point.
        target: Label map (b, 1, *spatial) of labels below c, or for regions (b, c, *spatial) with values 0 and 1.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        regions: Whether the target holds regions.
        ddp: Add up both sums over the processes before the ratio.
        class_weights: One per channel; None weighs all equally.
        separation: Further weight of each voxel, not negative, (b, 1, *spatial); None adds none.

    Returns:
        Scalar; 0 with zero gradient if no voxel counts.
    """
    losses = voxel_cross_entropy(logits, target, regions)
    # Only the ratio of the two weights matters; an inner voxel of 1 keeps the sum from falling below 1.
    weights = torch.where(label_changes(target, mask), 1 + EDGE_WEIGHT / INNER_WEIGHT, 1).to(losses.dtype)
    if separation is not None:
        weights = weights + separation / INNER_WEIGHT
    if mask is not None:
        weights = weights * mask
    losses = losses * weights
    if class_weights is not None:
        per_class = losses.new_tensor(class_weights)
        per_region = per_class.view(-1, *[1] * (losses.ndim - 2))
        losses = losses * (per_region if regions else per_class[target.long()])
    return mean_over_ranks(losses.sum(), weights.sum(), ddp)


class WeightedEdgeNLLLoss(SegmentationLoss):
    """Cross entropy with class weights and a higher weight where the label changes, see `weighted_edge_nll`.

    The trainer derives the class weights from the training cases. `batch_dice` is accepted and has no effect. With deep
    supervision the changes are those of the target at each scale.

    Source: Hempe & Heinrich 2021; their public code, which wraps around at borders, calls it edge loss. The weight of
    gaps is that of Ronneberger et al. 2015.

    Args:
        class_weights: Weight of each label, background included, or of each region; None weighs all equally.
        separation_weight: If above 0, the target may have a second channel with
            `nnunet_spine.training.separation.separation_map`, which is multiplied by this number. Not for regions.
        Others: See `SegmentationLoss`.

    Raises:
        ValueError: If a class weight is not above 0, `separation_weight` is negative, or is used with regions.
    """

    uses_class_weights: ClassVar[bool] = True

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        *,
        class_weights: Sequence[float] | None = None,
        separation_weight: float = 0.0,
    ) -> None:
        super().__init__(regions, ignore_label, batch_dice, ddp)
        if class_weights is not None and not all(weight > 0 for weight in class_weights):
            raise ValueError(f"class_weights={list(class_weights)} was given; each class needs a weight above 0.")
        require_not_negative(separation_weight=separation_weight)
        if regions and separation_weight:
            raise ValueError("separation_weight was given with regions, which are not separate from each other.")
        self.class_weights = None if class_weights is None else tuple(class_weights)
        self.separation_weight = separation_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss as `SegmentationLoss` does; a second channel of the target is the separation map."""
        if not self.separation_weight or target.shape[1] == 1:
            return super().forward(logits, target)
        return self.compute(*self.prepare(logits, target[:, :1]), self.separation_weight * target[:, 1:])

    def compute(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None,
        separation: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute `weighted_edge_nll`."""
        return weighted_edge_nll(logits, target, mask, self.regions, self.ddp, self.class_weights, separation)
