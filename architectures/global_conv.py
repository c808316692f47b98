"""Separable convolution with a kernel nearly as large as the map: the global convolution of Peng et al. 2017."""

from itertools import permutations

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def axis_orders(dimension: int, n_branches: int) -> list[tuple[int, ...]]:
    """The orders in which the branches of a global convolution run along the axes.

    Args:
        dimension: spatial axes.
        n_branches: 1 (one order), 3 (the cyclic permutations) or 6 (all); in 2D 3 and 6 are the same two orders.

    Raises:
        ValueError: another number of branches.
    """
    cyclic = [tuple((start + i) % dimension for i in range(dimension)) for start in range(dimension)]
    choices = {1: cyclic[:1], 3: cyclic, 6: list(permutations(range(dimension)))}
    if n_branches not in choices:
        raise ValueError(f"a global convolution has 1, 3 or 6 branches, got {n_branches}")
    return choices[n_branches]


class GlobalConv(nn.Module):
    """Sum of branches, each a chain of one-dimensional convolutions along every axis, without nonlinearity or bias.

    In 2D these are the two branches (k,1), (1,k) and (1,k), (k,1) of Peng et al.; in 3D the cyclic permutations of
    (k,1,1), (1,k,1), (1,1,k). Taps that reach only padding contribute nothing, so on a map of n voxels the kernel acts
    as one of 2n - 1 and the weights fit any size.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        input_channels: channels of the input.
        output_channels: channels from the first convolution of each branch on.
        kernel_size: k, odd.
        n_branches: 1, 3 or 6, see `axis_orders`.

    Raises:
        ValueError: `kernel_size` is even or `n_branches` unknown.
    """

    def __init__(
        self, conv_op: type[_ConvNd], input_channels: int, output_channels: int, kernel_size: int, n_branches: int
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"the kernel size of a global convolution must be odd, got {kernel_size}")
        dimension = {nn.Conv2d: 2, nn.Conv3d: 3}[conv_op]
        self.branches = nn.ModuleList()
        for order in axis_orders(dimension, n_branches):
            channels = [input_channels] + [output_channels] * dimension
            self.branches.append(
                nn.Sequential(
                    *(
                        conv_op(
                            channels[i],
                            channels[i + 1],
                            _along(axis, kernel_size, dimension),
                            padding="same",
                            bias=False,
                        )
                        for i, axis in enumerate(order)
                    )
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, input_channels, ...) to (B, output_channels, ...) of the same size."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total


def _along(axis: int, kernel_size: int, dimension: int) -> tuple[int, ...]:
    return tuple(kernel_size if i == axis else 1 for i in range(dimension))
