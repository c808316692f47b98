"""Soft true positives, false positives and false negatives: what all overlap losses are made of."""

from typing import NamedTuple

import torch

from nnunet_spine.losses.ranks import sum_over_ranks


class SoftCounts(NamedTuple):
    """Soft voxel counts per class, each of shape (b, classes), or (classes,) after `pool_batch`."""

    tp: torch.Tensor
    fp: torch.Tensor
    fn: torch.Tensor


def label_map_counts(
    probabilities: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None, squared: bool = False
) -> SoftCounts:
    """Count per sample and foreground class from softmax probabilities and a label map.

    The true positives of a class are the probabilities *at the labels* summed by label, so no one-hot target of the
    size of the probabilities is needed. On CUDA the order of the additions, hence the last digits, can vary between
    runs.

    Args:
        probabilities: (b, c, *spatial), background first.
        target: Label map (b, 1, *spatial) of labels below c, any dtype; 0 where `mask` is False.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        squared: Make the false positives of sum p² instead of sum p, so that 2 TP + FP + FN is V-Net's denominator.

    Returns:
        Counts of shape (b, c - 1) without background.
    """
    b, c, rows = probabilities.shape[:3]
    labels = target.long()
    at_label = probabilities.gather(1, labels).reshape(b, rows, -1)
    labels = labels.reshape(b, rows, -1)
    # One set of bins per row of the first spatial axis: a float32 stops counting at 2**24, and CUDA atomics on few
    # bins would wait for each other.
    bins = at_label.new_zeros(b, rows, c)
    tp = bins.scatter_add(2, labels, at_label).sum(1)
    in_target = bins.scatter_add(2, labels, at_label.new_ones(1).expand_as(labels)).sum(1)
    in_prediction = _sum_voxels(_power(probabilities if mask is None else probabilities * mask, squared))
    # Masked voxels are labelled 0 and so fall away with the background.
    return SoftCounts(*(count[:, 1:] for count in (tp, in_prediction - tp, in_target - tp)))


def region_counts(
    probabilities: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None, squared: bool = False
) -> SoftCounts:
    """Count per sample and region from sigmoid probabilities.

    Args:
        probabilities: (b, c, *spatial), one channel per region; regions may overlap.
        target: (b, c, *spatial) with values 0 and 1, any dtype.
        mask: Boolean (b, 1, *spatial), True where voxels count; None counts all.
        squared: As in `label_map_counts`.

    Returns:
        Counts of shape (b, c).
    """
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    tp = _sum_voxels(probabilities * target)
    return SoftCounts(tp, _sum_voxels(_power(probabilities, squared)) - tp, _sum_voxels(target) - tp)


def pool_batch(counts: SoftCounts, ddp: bool = False) -> SoftCounts:
    """Sum the counts over the batch, and over the processes if `ddp`: (b, classes) -> (classes,).

    Summing over the batch first lets processes have unequal batch sizes.
    """
    pooled = torch.stack(counts).sum(1)  # (3, classes)
    return SoftCounts(*(sum_over_ranks(pooled) if ddp else pooled))


def _power(probabilities: torch.Tensor, squared: bool) -> torch.Tensor:
    return probabilities.square() if squared else probabilities


def _sum_voxels(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(2).sum(2)  # (b, c, *spatial) -> (b, c)
