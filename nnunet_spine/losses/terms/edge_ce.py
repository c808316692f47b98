"""Cross entropy in which the boundary of the foreground weighs more."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.neighbours import foreground_boundary
from nnunet_spine.losses.segmentation import Term, require_not_negative


class EdgeCE(Term):
    """`CE` with the voxels of `foreground_boundary` multiplied by `edge_weight`.

    The sum is divided by the number of voxels, not of weights, so a higher weight is a higher loss, as in Mita et al.
    The boundary is that of the target which the loss receives, so deep supervision weighs it at each scale. With
    several labels every change of label is a boundary; with regions each region has its own.

    Source: Mita et al., weight 1.1 for boundary voxels found by a Laplacian of a binary label.

    Args:
        edge_weight: Weight of boundary voxels; all others have 1.

    Raises:
        ValueError: `edge_weight` is negative.
    """

    def __init__(self, edge_weight: float = 1.1) -> None:
        super().__init__()
        require_not_negative(edge_weight=edge_weight)
        self.edge_weight = edge_weight

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        losses = batch.cross_entropy
        on_boundary = foreground_boundary(batch.target, batch.mask)
        return batch.mean_over_voxels(torch.where(on_boundary, self.edge_weight * losses, losses))
