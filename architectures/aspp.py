"""Atrous spatial pyramid pooling."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .mobile_block import conv_norm


class ASPP(nn.Module):
    """Context of several reaches: a 1^d convolution, dilated 3^d convolutions and the mean of the map, then a mix.

    Each branch has batch normalisation and ReLU; the branches are concatenated, mixed by a 1^d convolution and dropped
    out. A batch of one image has nothing to normalise the pooled branch by; its running statistics serve then.

    Source: Chen et al., DeepLabv3; dilations and channels as Hempe & Heinrich.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels: channels of the map.
        out_channels: channels of each branch and of the result.
        dilations: one 3^d branch for each.
        dropout: probability.
    """

    def __init__(
        self,
        conv_op: type[_ConvNd],
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        dropout: float,
    ):
        super().__init__()

        def branch(kernel_size: int, **options) -> nn.Sequential:
            return nn.Sequential(
                *conv_norm(conv_op, in_channels, out_channels, kernel_size, **options), nn.ReLU(inplace=True)
            )

        self.branches = nn.ModuleList([branch(1), *(branch(3, dilation=dilation) for dilation in dilations)])
        self.pooled = branch(1)
        self.mix = nn.Sequential(
            *conv_norm(conv_op, out_channels * (len(dilations) + 2), out_channels, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, ...) to (B, out_channels, ...) of the same size."""
        mean = x.mean(dim=tuple(range(2, x.dim())), keepdim=True)  # (B, in_channels, 1, ...)
        maps = [branch(x) for branch in self.branches]
        return self.mix(torch.cat([*maps, self._pool(mean).expand_as(maps[0])], 1))

    def _pool(self, mean: Tensor) -> Tensor:
        convolution, norm, nonlinearity = self.pooled
        if len(mean) > 1 or isinstance(norm, nn.SyncBatchNorm):
            return self.pooled(mean)
        statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
        return nonlinearity(F.batch_norm(convolution(mean), *statistics, training=False, eps=norm.eps))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Elements of the outputs of all convolutions, the unit of `PlainConvUNet`; the pooled branch is left out."""
        return (len(self.branches) + 1) * self.out_channels * math.prod(input_size)
