"""Logits and target of one step as the terms of a loss see them, with what several terms need computed once."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from nnunet_spine.losses.context import LossContext
from nnunet_spine.losses.counts import SoftCounts, label_map_counts, pool_batch, region_counts
from nnunet_spine.losses.ranks import mean_over_ranks


def split_ignore(target: torch.Tensor, context: LossContext) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Separate the target from the mask of voxels that count.

    Args:
        target: Label map (b, 1, *spatial), or for regions (b, c, *spatial) with values 0 and 1; with an ignore label
            the regions are followed by one more channel that is 1 where the voxel is ignored.
        context: Says whether there are regions and an ignore label.

    Returns:
        Target without the ignore label (ignored voxels become background) or ignore channel, and the boolean mask
        (b, 1, *spatial) of the voxels that count, or None if all do.
    """
    if context.ignore_label is None:
        return target, None
    if context.regions:
        return target[:, :-1], target[:, -1:] == 0
    mask = target != context.ignore_label
    return torch.where(mask, target, 0), mask


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's logits and target; ignored voxels are taken apart.

    Attributes:
        logits: (b, c, *spatial) in float32 or float64.
        target: Label map (b, 1, *spatial) of labels below c, or for regions (b, c, *spatial) with values 0 and 1;
            ignored voxels are background.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        context: The loss's.
        voxel_map: (b, 1, *spatial), a further channel of the target for a term that asked for it, or None.
    """

    logits: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None
    context: LossContext
    voxel_map: torch.Tensor | None = None

    @cached_property
    def counts(self) -> SoftCounts:
        """Soft counts of foreground classes or regions: (b, classes), with `batch_dice` (classes,)."""
        return self._counts(squared=False)

    @cached_property
    def squared_counts(self) -> SoftCounts:
        """As `counts`, with the squared probabilities instead of the probabilities in the false positives."""
        return self._counts(squared=True)

    def _counts(self, squared: bool) -> SoftCounts:
        if self.context.regions:
            counts = region_counts(self.logits.sigmoid(), self.target, self.mask, squared)
        else:
            counts = label_map_counts(self.logits.softmax(1), self.target, self.mask, squared)
        return pool_batch(counts, self.context.ddp) if self.context.batch_dice else counts

    @cached_property
    def cross_entropy(self) -> torch.Tensor:
        """-log p(label) of each voxel, or for regions the binary cross entropy; shape of `target`."""
        if self.context.regions:
            return F.binary_cross_entropy_with_logits(self.logits, self.target.to(self.logits.dtype), reduction="none")
        return F.cross_entropy(self.logits, self.target[:, 0].long(), reduction="none")[:, None]  # (b, 1, *spatial)

    def mean_over_classes(self, losses: torch.Tensor) -> torch.Tensor:
        """Average what was made of the counts over classes, and without `batch_dice` over the samples of all processes.

        Args:
            losses: Shape of the counts.

        Returns:
            Scalar.
        """
        if self.context.batch_dice:
            return losses.mean()
        return mean_over_ranks(losses.sum(), losses.new_full((), losses.numel()), self.context.ddp)

    def mean_over_voxels(self, losses: torch.Tensor) -> torch.Tensor:
        """Average over the voxels that count, of all processes, and over channels.

        Args:
            losses: Shape of `target`.

        Returns:
            Scalar; 0 with zero gradient if no voxel counts.
        """
        if self.mask is None:
            return mean_over_ranks(losses.sum(), losses.new_full((), losses.numel()), self.context.ddp)
        n = (self.mask.sum() * losses.shape[1]).to(losses.dtype)
        return mean_over_ranks((losses * self.mask).sum(), n, self.context.ddp)
