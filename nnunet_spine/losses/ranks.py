"""Sums and means over the processes of a DDP training, with the gradient of the joined batch."""

import torch
from nnunetv2.utilities.ddp_allgather import AllGatherGrad


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor of equal shape over all processes; every process gets the sum.

    A loss computed from the sum is the same number L on each of the W processes. The backward pass of `AllGatherGrad`
    adds up the gradients of all W copies, so process r obtains W * dL/dvalues_r. DDP then divides the sum of the
    parameter gradients by W, and what remains is the gradient of L on the joined batch.

    Args:
        values: Any shape, the same on all processes.

    Returns:
        Same shape and dtype as `values`.
    """
    return AllGatherGrad.apply(values).sum(0)


def mean_over_ranks(total: torch.Tensor, count: torch.Tensor, ddp: bool) -> torch.Tensor:
    """Divide a sum by its number of terms, both taken over all processes if `ddp`.

    Processes may contribute unequal numbers of terms (unequal batch sizes, ignored voxels): each term weighs the same.

    Args:
        total: Scalar sum of this process.
        count: Scalar number of summed terms, same dtype as `total`.
        ddp: Whether to add up `total` and `count` over the processes first.

    Returns:
        Scalar mean; 0 with zero gradient if there is no term at all.
    """
    if ddp:
        total, count = sum_over_ranks(torch.stack([total, count])).unbind()
    return total / count.clamp(min=1)
