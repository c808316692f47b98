"""Inverted residual block: expand, depthwise convolution, project."""

import math
from collections.abc import Sequence

from dynamic_network_architectures.building_blocks.helper import get_matching_batchnorm
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def conv_norm(
    conv_op: type[_ConvNd], in_channels: int, out_channels: int, kernel_size: int, **options
) -> list[nn.Module]:
    """A "same"-padded convolution without bias and its batch normalisation."""
    padding = options.get("dilation", 1) * (kernel_size // 2)
    return [
        conv_op(in_channels, out_channels, kernel_size, padding=padding, bias=False, **options),
        get_matching_batchnorm(conv_op)(out_channels),
    ]


class MobileBlock(nn.Module):
    """1^d expansion, 3^d depthwise convolution, 1^d projection; batch norm after each, ReLU6 after the first two.

    The input is added to the output where both have the same shape. Convolutions start with Kaiming-normal weights
    (fan-out). Source: Sandler et al., MobileNetV2, in the layout of Hempe & Heinrich.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels, mid_channels, out_channels: before, between and after.
        stride: of the depthwise convolution.
        stem_stride: if given, the expansion is a dense 3^d convolution with this stride (first block of a network).
    """

    def __init__(
        self,
        conv_op: type[_ConvNd],
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        stem_stride: int | None = None,
    ):
        super().__init__()
        if stem_stride is None:
            expand = conv_norm(conv_op, in_channels, mid_channels, 1)
        else:
            expand = conv_norm(conv_op, in_channels, mid_channels, 3, stride=stem_stride)
        self.layers = nn.Sequential(
            *expand,
            nn.ReLU6(),
            *conv_norm(conv_op, mid_channels, mid_channels, 3, stride=stride, groups=mid_channels),
            nn.ReLU6(),
            *conv_norm(conv_op, mid_channels, out_channels, 1),
        )
        self.mid_channels, self.out_channels = mid_channels, out_channels
        self.stem_stride, self.stride = stem_stride or 1, stride
        self.has_shortcut = in_channels == out_channels and self.stem_stride == stride == 1
        for layer in self.layers:
            if isinstance(layer, _ConvNd):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, ...) to (B, out_channels, ... / (stem_stride · stride)), sizes rounded up."""
        y = self.layers(x)
        return x + y if self.has_shortcut else y

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the output."""
        return strided(strided(input_size, self.stem_stride), self.stride)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Half the elements kept for the backward pass, the unit of `PlainConvUNet`.

        Of a convolution with ReLU6 three maps are kept (also the normalised one), of the projection two.
        """
        output_voxels = math.prod(self.output_size(input_size))
        mid = self.mid_channels * (math.prod(strided(input_size, self.stem_stride)) + output_voxels)
        return (3 * mid) // 2 + self.out_channels * output_voxels


def strided(size: Sequence[int], stride: int) -> tuple[int, ...]:
    """Spatial size after "same" padding and a stride."""
    return tuple(-(-n // stride) for n in size)
