"""V-Net-like encoder with a decoder of global convolutions [Mita et al.]."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_conv_op_to_dim,
    get_matching_convtransp,
    get_matching_instancenorm,
)
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .global_conv import GlobalConv

# V-Net's number of convolutions on the first three levels; further levels have as many as the last.
CONVOLUTIONS = (1, 2, 3)
# Channels double down to the fifth level and stay there, should the plans have more.
DOUBLINGS = 4


class GlobalConvNet(nn.Module):
    """Encoder of large convolutions, decoder of separable global ones, a sum over each level; 2D and 3D.

    On every encoder level 1, 2, 3, 3, 3 convolutions of 5 voxels, on every decoder level one `GlobalConv` over
    the concatenation of up-sampled and encoder map; the first map of a level is added to its last, through a 1×1
    convolution if widths differ. Strided and transposed convolutions change resolution and width. Instance
    normalisation after every convolution; PReLU; no biases where normalisation removes them. With five levels, one
    channel and two classes in 3D: 36.65 M parameters, 32.87 M of them in the encoder.

    Source: Mita et al., after V-Net (Milletari et al. 2016) and Peng et al. 2017. The source does not give widths and
    numbers of convolutions: those of V-Net are taken. V-Net has no normalisation.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        n_stages: levels; 5 in the source.
        strides: stride per level; the first must be 1. Two along every axis in the source.
        deep_supervision: return the logits of every decoder level, the finest first.
        width: channels of the first level; they double to 16 times as many on the fifth and stay there.
        kernel_size: of the encoder, odd.
        gcn_kernel_size: of the decoder, odd.
        gcn_branches: 1, 3 or 6, see `GlobalConv`.

    Raises:
        ValueError: an option does not fit.
    """

    plans_arguments = ("conv_op", "n_stages", "strides", "deep_supervision")
    """What the network takes from nnU-Net plans; the rest of its layout is fixed."""

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[_ConvNd],
        n_stages: int,
        strides: Sequence[int | Sequence[int]],
        deep_supervision: bool = False,
        width: int = 16,
        kernel_size: int = 5,
        gcn_kernel_size: int = 13,
        gcn_branches: int = 3,
    ):
        super().__init__()
        dimension = convert_conv_op_to_dim(conv_op)
        strides = [(s,) * dimension if isinstance(s, int) else tuple(map(int, s)) for s in strides]
        if not 2 <= n_stages == len(strides) or max(strides[0]) > 1:
            raise ValueError(
                f"GlobalConvNet needs 2 stages or more and a stride for each, the first 1; got {n_stages}, {strides}"
            )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        features = [width * 2 ** min(stage, DOUBLINGS) for stage in range(n_stages)]
        self.total_stride = tuple(math.prod(axis) for axis in zip(*strides, strict=True))
        self.encoder = _Encoder(conv_op, input_channels, features, strides, kernel_size)
        self.decoder = _Decoder(
            conv_op, features, strides, num_classes, gcn_kernel_size, gcn_branches, deep_supervision
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Maps images (B, input_channels, ...) to logits (B, num_classes, ...), or a list of them, the finest first.

        Raises:
            ValueError: the spatial size is not a multiple of the product of the strides.
        """
        if any(n % factor for n, factor in zip(x.shape[2:], self.total_stride, strict=True)):
            raise ValueError(
                f"GlobalConvNet got an image of size {tuple(x.shape[2:])}; its sides must be multiples of "
                f"{self.total_stride}. Use the patch size of the plans or pad the image"
            )
        return self.decoder(self.encoder(x))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> np.int64:
        """Size of the kept activations in the unit of `PlainConvUNet`, which nnU-Net turns into gigabytes.

        One unit stands for two kept half-precision elements, since a convolution of `PlainConvUNet` keeps two maps
        (its output and that of the nonlinearity, which works in place). Here PReLU keeps its input as well.

        Args:
            input_size: spatial size of the image, without batch and channels.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        if len(input_size) != len(self.total_stride):
            raise ValueError(
                f"input_size must have the {len(self.total_stride)} spatial axes only, got {tuple(input_size)}"
            )
        voxels = [np.int64(math.prod(input_size))]
        for stride in self.encoder.strides[1:]:
            voxels.append(voxels[-1] // math.prod(stride))
        kept = [n * m for n, m in zip(voxels, self.encoder.kept_per_voxel(), strict=True)]
        kept += [n * m for n, m in zip(voxels[-2::-1], self.decoder.kept_per_voxel(), strict=True)]
        return sum(kept) // 2

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for the initial slope of PReLU; for `network.apply(network.initialize)`."""
        InitWeights_He(0.25)(module)


class _Level(nn.Module):
    """Convolutions in a row with normalisation and PReLU; the input is added before the last PReLU."""

    def __init__(self, conv_op: type[_ConvNd], input_channels: int, channels: int, convolutions: Sequence[nn.Module]):
        super().__init__()
        norm_op = get_matching_instancenorm(conv_op)
        layers = []
        for convolution in convolutions:
            layers += [convolution, norm_op(channels, affine=True), nn.PReLU(channels)]
        self.layers = nn.Sequential(*layers[:-1])
        self.shortcut = (
            nn.Identity() if input_channels == channels else conv_op(input_channels, channels, 1, bias=False)
        )
        self.nonlin = layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlin(self.layers(x) + self.shortcut(x))


class _Encoder(nn.Module):
    def __init__(
        self,
        conv_op: type[_ConvNd],
        input_channels: int,
        features: Sequence[int],
        strides: Sequence[tuple[int, ...]],
        kernel_size: int,
    ):
        super().__init__()
        self.strides, self.features = strides, features
        self.n_convolutions = [CONVOLUTIONS[min(s, len(CONVOLUTIONS) - 1)] for s in range(len(features))]
        self.downs, self.stages = nn.ModuleList([nn.Identity()]), nn.ModuleList()
        for stage, channels in enumerate(features):
            if stage > 0:
                down = conv_op(features[stage - 1], channels, strides[stage], strides[stage], bias=False)
                self.downs.append(_normalised(conv_op, down, channels))
            first = input_channels if stage == 0 else channels
            convolutions = [
                conv_op(first if i == 0 else channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
                for i in range(self.n_convolutions[stage])
            ]
            self.stages.append(_Level(conv_op, first, channels, convolutions))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of all levels, the finest first."""
        maps = []
        for down, stage in zip(self.downs, self.stages, strict=True):
            x = stage(down(x))
            maps.append(x)
        return maps

    def kept_per_voxel(self) -> list[int]:
        """Elements that each level keeps: three maps for every convolution, the strided one included."""
        return [
            3 * channels * (n + (stage > 0))
            for stage, (channels, n) in enumerate(zip(self.features, self.n_convolutions, strict=True))
        ]


class _Decoder(nn.Module):
    """Attributes: deep_supervision may be switched at any time, as nnU-Net does."""

    def __init__(
        self,
        conv_op: type[_ConvNd],
        features: Sequence[int],
        strides: Sequence[tuple[int, ...]],
        num_classes: int,
        kernel_size: int,
        n_branches: int,
        deep_supervision: bool,
    ):
        super().__init__()
        self.deep_supervision = deep_supervision
        self.features, self.num_classes, self.dimension = features, num_classes, len(strides[0])
        transposed_conv = get_matching_convtransp(conv_op)
        self.transpconvs, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(features) - 1)):  # the deepest first
            channels, stride = features[level], strides[level + 1]
            up = transposed_conv(features[level + 1], channels, stride, stride, bias=False)
            self.transpconvs.append(_normalised(conv_op, up, channels))
            convolution = GlobalConv(conv_op, 2 * channels, channels, kernel_size, n_branches)
            self.stages.append(_Level(conv_op, 2 * channels, channels, [convolution]))
            self.seg_layers.append(conv_op(channels, num_classes, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Maps the encoder's maps, the finest first, to logits or a list of them."""
        x = maps[-1]
        logits = []
        for level, skip in enumerate(reversed(maps[:-1])):
            x = self.stages[level](torch.cat((self.transpconvs[level](x), skip), dim=1))
            if self.deep_supervision:
                logits.append(self.seg_layers[level](x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)

    def kept_per_voxel(self) -> list[int]:
        """Elements that each level keeps, the deepest first.

        Two maps of the transposed convolution, the concatenation of two, what is between the convolutions of each
        branch, three maps after them, and the logits with their softmax.
        """
        n_branches = len(self.stages[0].layers[0].branches)
        kept = [(2 + 2 + n_branches * (self.dimension - 1) + 3) * channels for channels in self.features[-2::-1]]
        n_heads = len(kept) if self.deep_supervision else 1
        return kept[:-n_heads] + [n + 2 * self.num_classes for n in kept[-n_heads:]]


def _normalised(conv_op: type[_ConvNd], convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, get_matching_instancenorm(conv_op)(channels, affine=True), nn.PReLU(channels))
