"""The loss of segmentations: a sum of terms over one batch, with the target as nnU-Net delivers it."""

import inspect
from collections.abc import Sequence

import torch
from torch import nn

from nnunet_spine.losses.batch import Batch, split_ignore
from nnunet_spine.losses.context import LossContext


def require_not_negative(**options: float) -> None:
    """Raise `ValueError` naming the first option that is negative or not a number."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name}={value} was given; a loss needs {name} >= 0.")


class Term(nn.Module):
    """One term of a loss; its constructor's arguments are its options, all of them with a default.

    Attributes:
        reads_voxel_map: whether the target of softmax heads may have a second channel, which this term reads.
    """

    reads_voxel_map: bool = False

    def __init__(self) -> None:
        super().__init__()

    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the scalar, in the logits' dtype."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Show all options, since nnU-Net writes the loss into its debug file."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in inspect.signature(type(self)).parameters)


class SegmentationLoss(nn.Module):
    """Unweighted sum of terms; takes logits and targets as nnU-Net's own losses do, so `DeepSupervisionWrapper` fits.

    Half precision logits are computed in float32, also under autocast; float64 stays. Ignored voxels count nowhere:
    the result is that of cropping them away, and where nothing is left it is a constant with zero gradient. (A wholly
    ignored sample still enters a mean over samples, with that constant; so it does in nnU-Net.)

    With `context.ddp` the loss and, after DDP's averaging, the parameter gradients are those of one process with the
    joined batch, also where processes have unequal batch sizes or numbers of ignored voxels. (nnU-Net averages cross
    entropy and, without `batch_dice`, Dice over processes instead.) All processes must then call the loss
    equally often.

    Args:
        terms: At least one.
        context: Regions, ignore label, batch Dice, DDP.

    Raises:
        ValueError: A term reads a map of voxels, which the target of regions cannot carry.
    """

    def __init__(self, terms: Sequence[Term], context: LossContext) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.context = context
        self.reads_voxel_map = any(term.reads_voxel_map for term in terms)
        if context.regions and self.reads_voxel_map:
            raise ValueError("separation_weight was given with regions, which are not separate from each other.")

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        Args:
            logits: (b, c, *spatial).
            target: Label map (b, 1, *spatial), or regions (b, c, *spatial), with one more channel for ignored voxels if
                there is an ignore label. Any dtype. A label map may be followed by the map that a term reads.

        Returns:
            Scalar in float32, or float64 for float64 logits.

        Raises:
            ValueError: The shapes do not fit.
        """
        voxel_map = None
        if self.reads_voxel_map and target.shape[1] == 2:
            target, voxel_map = target[:, :1], target[:, 1:]
        self._check_shapes(logits, target)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        batch = Batch(logits, *split_ignore(target, self.context), self.context, voxel_map)
        first, *others = (term(batch) for term in self.terms)
        return sum(others, start=first)

    def extra_repr(self) -> str:
        return str(self.context)

    def _check_shapes(self, logits: torch.Tensor, target: torch.Tensor) -> None:
        b, c, *spatial = logits.shape
        regions, ignore_label = self.context.regions, self.context.ignore_label
        if not regions and c < 2:
            raise ValueError(
                f"Softmax needs background and a class, got logits {tuple(logits.shape)}; use regions=True."
            )
        channels = c + (ignore_label is not None) if regions else 1
        if target.shape != (b, channels, *spatial):
            raise ValueError(
                f"Expected a target of shape {(b, channels, *spatial)} for logits {tuple(logits.shape)} with "
                f"regions={regions} and ignore_label={ignore_label}, got {tuple(target.shape)}."
            )
