"""What all losses share: the constructor, the target as nnU-Net delivers it, the ignore label and the precision."""

from typing import ClassVar

import torch
from torch import nn

from nnunet_spine.losses.counts import SoftCounts, label_map_counts, pool_batch, region_counts
from nnunet_spine.losses.ranks import mean_over_ranks


def split_ignore(
    target: torch.Tensor, regions: bool, ignore_label: int | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Separate the target from the mask of voxels that count.

    Args:
        target: Label map (b, 1, *spatial), or for regions (b, c, *spatial) with values 0 and 1; with an ignore label
            the regions are followed by one more channel that is 1 where the voxel is ignored.
        regions: Whether the target holds regions.
        ignore_label: Label to ignore, or None. For regions only its presence matters, as in nnU-Net.

    Returns:
        Target without the ignore label (ignored voxels become background) or ignore channel, and the boolean mask
        (b, 1, *spatial) of the voxels that count, or None if all do.
    """
    if ignore_label is None:
        return target, None
    if regions:
        return target[:, :-1], target[:, -1:] == 0
    mask = target != ignore_label
    return torch.where(mask, target, 0), mask


def require_not_negative(**options: float) -> None:
    """Raise `ValueError` naming the first option that is negative or not a number."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name}={value} was given; a loss needs {name} >= 0.")


class SegmentationLoss(nn.Module):
    """Base of all losses; takes logits and targets as nnU-Net's own losses do, so its `DeepSupervisionWrapper` fits.

    Half precision logits are computed in float32, also under autocast; float64 stays. Ignored voxels count nowhere:
    the result is that of cropping them away, and where nothing is left it is a constant with zero gradient. (A wholly
    ignored sample still enters a mean over samples, with that constant; so it does in nnU-Net.)

    With `ddp` the loss and, after DDP's averaging, the parameter gradients are those of one process with the joined
    batch, also where processes have unequal batch sizes or numbers of ignored voxels. (nnU-Net averages cross entropy
    and, without `batch_dice`, Dice over processes instead.) All processes must then call the loss equally often.

    Args:
        regions: True for sigmoid heads with one channel per region, False for softmax heads with background first.
        ignore_label: Label that marks voxels without annotation, or None.
        batch_dice: Sum overlap counts over the batch before the ratio, instead of one ratio per sample.
        ddp: Gather over the processes of the default process group, which must be initialised.

    Attributes:
        uses_class_weights: Whether there is an option `class_weights`, which the trainer derives from the cases.
    """

    uses_class_weights: ClassVar[bool] = False

    def __init__(
        self, regions: bool, ignore_label: int | None = None, batch_dice: bool = False, ddp: bool = False
    ) -> None:
        super().__init__()
        self.regions = regions
        self.ignore_label = ignore_label
        self.batch_dice = batch_dice
        self.ddp = ddp

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        Args:
            logits: (b, c, *spatial).
            target: Label map (b, 1, *spatial), or regions (b, c, *spatial), with one more channel for ignored voxels if
                there is an ignore label. Any dtype.

        Returns:
            Scalar in float32, or float64 for float64 logits.

        Raises:
            ValueError: If the shapes do not fit.
        """
        return self.compute(*self.prepare(logits, target))

    def prepare(
        self, logits: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Check the shapes; return the logits in float32 or float64 and what `split_ignore` returns."""
        self._check_shapes(logits, target)
        return (
            logits.to(torch.promote_types(logits.dtype, torch.float32)),
            *split_ignore(target, self.regions, self.ignore_label),
        )

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Compute the scalar from float32 or float64 logits and what `split_ignore` returns."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Show all options, since nnU-Net writes the loss into its debug file."""
        options = {name: value for name, value in vars(self).items() if name != "training" and name[0] != "_"}
        return ", ".join(f"{name}={value}" for name, value in options.items())

    def _check_shapes(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        b, c, *spatial = logits.shape
        if not self.regions and c < 2:
            raise ValueError(
                f"Softmax needs background and a class, got logits {tuple(logits.shape)}; use regions=True."
            )
        channels = c + (self.ignore_label is not None) if self.regions else 1
        if target.shape != (b, channels, *spatial):
            raise ValueError(
                f"Expected a target of shape {(b, channels, *spatial)} for logits {tuple(logits.shape)} with "
                f"regions={self.regions} and ignore_label={self.ignore_label}, got {tuple(target.shape)}."
            )


class OverlapLoss(SegmentationLoss):
    """Mean over classes (and samples, without `batch_dice`) of a loss on soft counts; background is left out.

    A region head has no background channel, so all its channels count.
    """

    def compute(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Count, pool, and average the loss over classes and samples."""
        if self.regions:
            counts = region_counts(logits.sigmoid(), target, mask)
        else:
            counts = label_map_counts(logits.softmax(1), target, mask)
        if self.batch_dice:
            return self.loss_of_counts(pool_batch(counts, self.ddp)).mean()
        losses = self.loss_of_counts(counts)
        return mean_over_ranks(losses.sum(), losses.new_full((), losses.numel()), self.ddp)

    def loss_of_counts(self, counts: SoftCounts) -> torch.Tensor:
        """Compute the loss of each class, in the shape of the counts: (classes,) or (b, classes)."""
        raise NotImplementedError
