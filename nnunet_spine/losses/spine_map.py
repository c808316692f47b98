"""Loss of the attention net: squared error of the spine's share of each cell."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class SpineShare(NamedTuple):
    """Share of spine among the counted voxels of each cell, and the share of counted voxels in the cell."""

    spine: torch.Tensor
    counted: torch.Tensor


def spine_share(target: torch.Tensor, cell: tuple[int, ...], ignore_label: int | None = None) -> SpineShare:
    """Pool a label map; every label above 0 is spine.

    Args:
        target: (b, 1, *spatial) of two or three spatial axes, any dtype.
        cell: Voxels along each spatial axis. Cells at the end may be cut off by the border.
        ignore_label: Label of voxels that do not count, or None.

    Returns:
        float32 (b, 1, *cells), values 0 to 1. Where no voxel counts, the share of spine is 0.
    """
    counts = torch.ones_like(target, dtype=torch.bool) if ignore_label is None else target != ignore_label
    spine, counted, inside = (
        _pool(mask, cell) for mask in ((target > 0) & counts, counts, torch.ones_like(counts[:1]))
    )
    return SpineShare(spine / counted.clamp(min=torch.finfo(counted.dtype).tiny), counted / inside)


def _pool(mask: torch.Tensor, cell: tuple[int, ...]) -> torch.Tensor:
    """Mean of a mask (b, 1, *spatial) in each cell; beyond the border it is 0."""
    margins = [-n % c for n, c in zip(mask.shape[2:], cell, strict=True)]
    padded = functional.pad(mask.float(), [amount for margin in reversed(margins) for amount in (0, margin)])
    return (functional.avg_pool3d if len(cell) == 3 else functional.avg_pool2d)(padded, cell)


class SpineMapLoss(nn.Module):
    """Mean squared error between the sigmoid of logits and `spine_share`; cells weigh by their counted voxels.

    Source: Sekuboyina et al. (2017). Computed in float32, also under autocast; 0 where all voxels are ignored. Each
    process takes its own mean.

    Args:
        cell: Voxels per output value along each spatial axis.
        ignore_label: Label that marks voxels without annotation, or None.
    """

    def __init__(self, cell: tuple[int, ...], ignore_label: int | None = None) -> None:
        super().__init__()
        self.cell = tuple(cell)
        self.ignore_label = ignore_label

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the scalar loss from logits (b, 1, *cells) and a label map (b, 1, *spatial)."""
        share = spine_share(target, self.cell, self.ignore_label)
        errors = (logits.float().sigmoid() - share.spine).square()
        return (errors * share.counted).sum() / share.counted.sum().clamp(min=1e-8)

    def extra_repr(self) -> str:
        return f"cell={self.cell}, ignore_label={self.ignore_label}"
