"""Cross entropy with class weights, in which voxels at a change of label weigh more."""

from collections.abc import Sequence

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.neighbours import label_changes
from nnunet_spine.losses.ranks import mean_over_ranks
from nnunet_spine.losses.segmentation import Term, require_not_negative

INNER_WEIGHT = 0.95
EDGE_WEIGHT = 2.0


class WeightedEdgeNLL(Term):
    """sum(e w (-log p)) / sum(e) with e = 0.95 + 2 [label change] + separation and the label's class weight w.

    For regions -log p is the binary cross entropy of each region, with the region's weight and its own label changes.
    With deep supervision the changes are those of the target at each scale. Where no voxel counts the loss is 0.

    The trainer derives the class weights from the training cases. They are a buffer, so that a step copies nothing to
    the device.

    Source: Hempe & Heinrich 2021; their public code, which wraps around at borders, calls it edge loss. The weight of
    gaps is that of Ronneberger et al. 2015.

    Args:
        class_weights: Weight of each label, background included, or of each region; None weighs all equally.
        separation_weight: If above 0, the target may have a second channel with
            `nnunet_spine.training.separation.separation_map`, which is multiplied by this number. Not for regions.

    Raises:
        ValueError: A class weight is not above 0, or `separation_weight` is negative.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, separation_weight: float = 0.0) -> None:
        super().__init__()
        if class_weights is not None and not all(weight > 0 for weight in class_weights):
            raise ValueError(f"class_weights={list(class_weights)} was given; each class needs a weight above 0.")
        require_not_negative(separation_weight=separation_weight)
        self.class_weights = None if class_weights is None else tuple(class_weights)
        self.separation_weight = separation_weight
        self.reads_voxel_map = separation_weight > 0
        weights = None if class_weights is None else torch.tensor(self.class_weights)
        self.register_buffer("weight_of_class", weights, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the ratio; both sums go over all processes."""
        losses = batch.cross_entropy
        # Only the ratio of the two weights matters; an inner voxel of 1 keeps the sum from falling below 1.
        weights = torch.where(label_changes(batch.target, batch.mask), 1 + EDGE_WEIGHT / INNER_WEIGHT, 1)
        weights = weights.to(losses.dtype)
        if batch.voxel_map is not None:
            weights = weights + self.separation_weight / INNER_WEIGHT * batch.voxel_map
        if batch.mask is not None:
            weights = weights * batch.mask
        losses = losses * weights
        if self.weight_of_class is not None:
            per_region = self.weight_of_class.view(-1, *[1] * (losses.ndim - 2))
            losses = losses * (per_region if batch.context.regions else self.weight_of_class[batch.target.long()])
        return mean_over_ranks(losses.sum(), weights.sum(), batch.context.ddp)
