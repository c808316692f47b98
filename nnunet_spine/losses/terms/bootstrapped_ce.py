"""Cross entropy of the voxels that are hardest."""

import torch

from nnunet_spine.losses.batch import Batch
from nnunet_spine.losses.ranks import mean_over_ranks
from nnunet_spine.losses.segmentation import Term


class BootstrappedCE(Term):
    """Mean of `CE` over the share of each image's voxels whose label has the lowest probability; then over images.

    Ignored voxels are neither among them nor counted for the share. An image whose voxels are all ignored counts with
    loss 0. Regions choose among the voxels of all regions together. `batch_dice` has no effect.

    Source: Masuzawa et al. 2020: 10 % of all voxels. They speak of a threshold on the posterior, too, which agrees only
    if it is a rank, as it is here. Per image instead of per batch is our choice.

    Args:
        hardest: Share of the voxels.

    Raises:
        ValueError: `hardest` is not above 0 and at most 1.
    """

    def __init__(self, hardest: float = 0.1) -> None:
        super().__init__()
        if not 0 < hardest <= 1:
            raise ValueError(f"hardest={hardest} was given; it is a share of the voxels, above 0 and at most 1.")
        self.hardest = hardest

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the mean."""
        losses = batch.cross_entropy.flatten(1)  # (b, voxels)
        n = losses.shape[1]
        if batch.mask is None:
            chosen = losses.topk(_share(n, self.hardest), dim=1, sorted=False).values
            means = chosen.mean(1)
        else:
            counted = batch.mask.expand_as(batch.cross_entropy).flatten(1)
            # Ignored voxels come last; the number of chosen ones differs between images.
            chosen = torch.where(counted, losses, -1).topk(_share(n, self.hardest), dim=1).values
            numbers = (counted.sum(1).double() * self.hardest - 1e-6).ceil()
            first = torch.arange(chosen.shape[1], device=chosen.device) < numbers[:, None]
            means = (chosen * first).sum(1) / numbers.clamp(min=1).to(chosen.dtype)
        return mean_over_ranks(means.sum(), means.new_full((), len(means)), batch.context.ddp)


def _share(n: int, share: float) -> int:
    """At least one; what rounding adds is taken off, so that 10 % of 40 are 4."""
    return max(1, -int(-(n * share - 1e-6) // 1))
