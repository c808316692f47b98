"""The blocks of a ResNet18 that keeps the resolution of a MobileNet."""

import math
from collections.abc import Sequence

from dynamic_network_architectures.building_blocks.helper import get_matching_pool_op
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .mobile_block import conv_norm, strided


class ResNetStem(nn.Module):
    """A 7^d convolution of stride 2, batch normalisation and ReLU; the max-pooling belongs to the first block.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels, out_channels: before and after.
    """

    def __init__(self, conv_op: type[_ConvNd], in_channels: int, out_channels: int):
        super().__init__()
        self.layers = nn.Sequential(*conv_norm(conv_op, in_channels, out_channels, 7, stride=2), nn.ReLU(inplace=True))
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, ...) to (B, out_channels, ... / 2), sizes rounded up."""
        return self.layers(x)

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the output."""
        return strided(input_size, 2)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Elements of the outputs of all convolutions, the unit of `PlainConvUNet`."""
        return self.out_channels * math.prod(self.output_size(input_size))


class ResidualBlock(nn.Module):
    """Two 3^d convolutions with batch normalisation, added to the input (by a 1^d convolution if widths differ), ReLU.

    Source: He et al. 2016, the block of ResNet18; dilation instead of stride as in DeepLab.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels, out_channels: before and after.
        dilation: of both convolutions.
        pool: begin with the stem's 3^d max-pooling of stride 2.
    """

    def __init__(
        self, conv_op: type[_ConvNd], in_channels: int, out_channels: int, dilation: int = 1, pool: bool = False
    ):
        super().__init__()
        max_pool = get_matching_pool_op(conv_op, pool_type="max")
        self.pool = max_pool(3, stride=2, padding=1) if pool else nn.Identity()
        self.layers = nn.Sequential(
            *conv_norm(conv_op, in_channels, out_channels, 3, dilation=dilation),
            nn.ReLU(inplace=True),
            *conv_norm(conv_op, out_channels, out_channels, 3, dilation=dilation),
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(conv_op, in_channels, out_channels, 1))
        self.nonlin = nn.ReLU(inplace=True)
        self.out_channels, self.stride, self.n_convolutions = out_channels, 2 if pool else 1, 2 if same else 3

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, ...) to (B, out_channels, ...), with `pool` of half the size, rounded up."""
        x = self.pool(x)
        return self.nonlin(self.layers(x) + self.shortcut(x))

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the output."""
        return strided(input_size, self.stride)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Elements of the outputs of all convolutions, the unit of `PlainConvUNet`."""
        return self.n_convolutions * self.out_channels * math.prod(self.output_size(input_size))


def resnet18(conv_op: type[_ConvNd], in_channels: int) -> list[nn.Module]:
    """Stem and eight blocks of 64, 128, 256 and 512 channels at stride 4 (33.2 M parameters in 3D).

    ResNet18 halves the map three times more; here the convolutions of these stages are dilated by 2, 4 and 8 instead,
    as in DeepLab, so that maps are as large as those of the MobileNet.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels: channels of the image.
    """
    parts: list[nn.Module] = [ResNetStem(conv_op, in_channels, 64)]
    for stage, channels in enumerate((64, 128, 256, 512)):
        before = parts[-1].out_channels
        parts.append(ResidualBlock(conv_op, before, channels, 2**stage, pool=stage == 0))
        parts.append(ResidualBlock(conv_op, channels, channels, 2**stage))
    return parts
