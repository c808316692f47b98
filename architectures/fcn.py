"""Fully convolutional network of Masuzawa et al. 2020, after Roth et al. 2018."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_conv_op_to_dim,
    get_matching_batchnorm,
    get_matching_convtransp,
    get_matching_pool_op,
)
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .intensity_range import rescaling
from .padding import crop_to, pad_to_multiples


class FCN(nn.Module):
    """Levels of 3^d convolutions with batch normalisation and ReLU, max pooling by 2, deconvolutions of 4^d, stride 2.

    The paper names these layers. Two convolutions per level, and the widths, which it gives in a figure only, are our
    choice; features of the encoder are concatenated to those of the decoder. 5.65 M parameters in 3D.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        features: channels of each level, the finest first.
        input_ranges: per channel, intensities mapped to [-1, 1] by a fixed first layer, None for a channel that stays;
            without them all stay.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[_ConvNd],
        features: Sequence[int] = (32, 64, 128, 256),
        input_ranges: Sequence[tuple[float, float] | None] | None = None,
    ):
        super().__init__()
        self.features, self.num_classes = tuple(features), num_classes
        self.dimension = convert_conv_op_to_dim(conv_op)
        self.multiples = (2 ** (len(self.features) - 1),) * self.dimension
        self.rescale = rescaling(input_ranges, input_channels)
        norm_op, transposed = get_matching_batchnorm(conv_op), get_matching_convtransp(conv_op)
        self.pool = get_matching_pool_op(conv_op, pool_type="max")(2)

        def level(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (inputs, outputs):
                layers += [conv_op(channels, outputs, 3, padding=1), norm_op(outputs), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        finer, coarser = self.features[:-1], self.features[1:]
        self.encoder = nn.ModuleList(
            level(inputs, outputs) for inputs, outputs in zip((input_channels, *finer), self.features, strict=True)
        )
        self.up = nn.ModuleList(
            transposed(below, here, 4, stride=2, padding=1) for here, below in zip(finer, coarser, strict=True)
        )
        self.decoder = nn.ModuleList(level(2 * here, here) for here in finer)
        self.head = conv_op(self.features[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, ...) of any size to logits (B, num_classes, ...) of the same size."""
        size = x.shape[2:]
        x = pad_to_multiples(self.rescale(x), self.multiples)
        skips = []
        for i, level in enumerate(self.encoder):
            x = level(self.pool(x) if i else x)
            skips.append(x)
        for up, level, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips[:-1]), strict=True):
            x = level(torch.cat([skip, up(x)], 1))
        return crop_to(self.head(x), size)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> float:
        """Size of the convolutions' outputs, as nnU-Net's networks state it for the planner.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        if len(input_size) != self.dimension:
            raise ValueError(f"input_size must have the {self.dimension} spatial axes only, got {tuple(input_size)}")
        voxels = torch.Size(n + -n % m for n, m in zip(input_size, self.multiples, strict=True)).numel()
        layers = [5] * (len(self.features) - 1) + [2]  # two convolutions down, one up and two again; two at the bottom
        per_voxel = self.num_classes + sum(
            n * width / 2 ** (self.dimension * i)
            for i, (n, width) in enumerate(zip(layers, self.features, strict=True))
        )
        return voxels * per_voxel

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for rectifiers."""
        InitWeights_He(0)(module)
