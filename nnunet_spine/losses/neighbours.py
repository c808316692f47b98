"""Where a label map changes: comparisons of neighbouring voxels by views shifted by one, so nothing wraps around."""

from collections.abc import Iterator

import torch


def label_changes(target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark the voxels whose label differs from that of the previous voxel along any axis.

    The first voxel of an axis has no previous one.

    Args:
        target: Label map (b, 1, *spatial), or regions (b, c, *spatial) with values 0 and 1, each channel for itself.
        mask: Boolean (b, 1, *spatial), False where voxels are ignored: they are no change and make none.

    Returns:
        Boolean, shape of `target`.
    """
    changes = torch.zeros_like(target, dtype=torch.bool)
    for axis, differ in _differing_pairs(target, mask):
        changes.narrow(axis, 1, differ.shape[axis]).logical_or_(differ)
    return changes


def foreground_boundary(target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark the foreground voxels that have a face neighbour of another label.

    A voxel at the border of the patch is compared with the neighbours it has, which equals replicated borders.

    Args:
        target: As in `label_changes`, with background where `mask` is False.
        mask: Boolean (b, 1, *spatial), False where voxels are ignored: they are no boundary and make none.

    Returns:
        Boolean, shape of `target`.
    """
    boundary = torch.zeros_like(target, dtype=torch.bool)
    for axis, differ in _differing_pairs(target, mask):
        boundary.narrow(axis, 0, differ.shape[axis]).logical_or_(differ)
        boundary.narrow(axis, 1, differ.shape[axis]).logical_or_(differ)
    return boundary.logical_and_(target > 0)


def _differing_pairs(target: torch.Tensor, mask: torch.Tensor | None) -> Iterator[tuple[int, torch.Tensor]]:
    """For each spatial axis, which of its n - 1 pairs of neighbours differ; pairs with an ignored voxel do not."""
    for axis in range(2, target.ndim):
        n_pairs = target.shape[axis] - 1
        differ = target.narrow(axis, 1, n_pairs) != target.narrow(axis, 0, n_pairs)
        if mask is not None:
            differ &= mask.narrow(axis, 1, n_pairs) & mask.narrow(axis, 0, n_pairs)
        yield axis, differ
