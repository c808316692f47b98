"""Images of any size for networks that halve: filled up with zeros at their ends, as nnU-Net pads."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiples(x: Tensor, multiples: Sequence[int]) -> Tensor:
    """Fill up the ends of the spatial axes with zeros.

    Args:
        x: (B, C, *spatial).
        multiples: one per spatial axis.

    Returns:
        (B, C, *padded), sides multiples of `multiples`; `x` itself where nothing is missing.
    """
    missing = [-n % multiple for n, multiple in zip(x.shape[2:], multiples, strict=True)]
    return F.pad(x, [amount for m in reversed(missing) for amount in (0, m)]) if any(missing) else x


def crop_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first voxels along each spatial axis: (B, C, *padded) to (B, C, *size)."""
    for axis, n in enumerate(size, start=2):
        if x.shape[axis] != n:
            x = x.narrow(axis, 0, n)
    return x
