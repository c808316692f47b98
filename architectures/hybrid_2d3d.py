"""U-Net that mixes convolutions within slices and across slices."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_conv_op_to_dim,
    get_matching_batchnorm,
    get_matching_pool_op,
)
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU, StackedConvBlocks
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .diffusion import AnisotropicDiffusion
from .padding import crop_to, pad_to_multiples


class Hybrid2D3D(nn.Module):
    """Segmentation net of Sekuboyina et al. (2017): five levels, every other one without a view across slices.

    Two convolutions per level with batch normalisation and ReLU, 3 x 3 in plane and 3, 1, 3, 1, 1 across slices from
    top to bottom; max pooling in plane after each level and across slices after the third and fourth; element-wise
    dropout on the lowest level. The source names sizes only; the layout is that of the network they fit (synapse-unet),
    with convolutions padded to keep the size, hence with odd kernels. That network convolves with 2 x 2 x 2 after each
    up-sampling; here a 1 x 1 x 1 convolution stands before it, which for nearest neighbours is the same as after it
    and takes a fraction of the time.

    In 2D it is the same network within slices.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv3d` or `nn.Conv2d`.
        slice_axis: axis of 3D images that counts the sagittal slices.
        dropout: on the lowest level.
        diffusion: `AnisotropicDiffusion` of the image as the first layer.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)
    features: ClassVar[tuple[int, ...]] = (32, 64, 128, 256, 512)
    slice_kernels: ClassVar[tuple[int, ...]] = (3, 1, 3, 1, 1)
    slice_strides: ClassVar[tuple[int, ...]] = (1, 1, 2, 2)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[_ConvNd],
        slice_axis: int = 0,
        dropout: float = 0.5,
        diffusion: bool = False,
    ):
        super().__init__()
        self.dimension = convert_conv_op_to_dim(conv_op)
        self.slice_axis = slice_axis
        self.diffusion = AnisotropicDiffusion() if diffusion else nn.Identity()
        kernels = [self._slices_first(k, 3) for k in self.slice_kernels]
        strides = [self._slices_first(s, 2) for s in self.slice_strides]
        self.total_stride = tuple(prod(axis) for axis in zip(*strides, strict=True))
        block_options = {
            "conv_bias": False,
            "norm_op": get_matching_batchnorm(conv_op),
            "norm_op_kwargs": {},
            "nonlin": nn.ReLU,
            "nonlin_kwargs": {"inplace": True},
        }

        def two_convolutions(channels: int, level: int) -> nn.Module:
            return StackedConvBlocks(2, conv_op, channels, self.features[level], kernels[level], 1, **block_options)

        channels = [input_channels, *self.features[:-1]]
        self.encoder = nn.ModuleList(two_convolutions(c, level) for level, c in enumerate(channels))
        pool = get_matching_pool_op(conv_op, pool_type="max")
        self.pools = nn.ModuleList(pool(stride) for stride in strides)
        self.dropout = nn.Dropout(dropout)
        # from the finest level to the second lowest
        self.narrow = nn.ModuleList(
            ConvDropoutNormReLU(conv_op, deep, width, 1, 1, **block_options)
            for width, deep in zip(self.features, self.features[1:], strict=False)
        )
        self.up = nn.ModuleList(nn.Upsample(scale_factor=stride, mode="nearest") for stride in strides)
        self.merge = nn.ModuleList(two_convolutions(2 * width, i) for i, width in enumerate(self.features[:-1]))
        # nnU-Net's fine-tuning leaves out what has `.seg_layers.` in its name, so that labels may differ
        self.head = nn.ModuleDict({"seg_layers": conv_op(self.features[0], num_classes, 1)})

    def _slices_first(self, across: int, in_plane: int) -> tuple[int, ...]:
        return (across, in_plane, in_plane) if self.dimension == 3 else (in_plane, in_plane)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, ...) of any size to logits (B, num_classes, ...).

        Sides that are no multiples of 16 (slices: 4) are filled up with zeros, as nnU-Net pads images.
        """
        x = self.diffusion(x)
        if self.dimension == 3:
            x = x.movedim(2 + self.slice_axis, 2)
        size = x.shape[2:]
        maps = self._encode(pad_to_multiples(x, self.total_stride))
        x = crop_to(self.head["seg_layers"](self._decode(maps)), size)
        return x.movedim(2, 2 + self.slice_axis) if self.dimension == 3 else x

    def _encode(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, stage in enumerate(self.encoder):
            x = stage(self.pools[i - 1](x) if i else x)
            maps.append(x)
        return maps

    def _decode(self, maps: list[Tensor]) -> Tensor:
        x = self.dropout(maps[-1])
        for i in reversed(range(len(self.merge))):
            x = self.merge[i](torch.cat((maps[i], self.up[i](self.narrow[i](x))), 1))
        return x

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> float:
        """Size of the convolutions' outputs, as nnU-Net's networks state it for the planner.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        if len(input_size) != self.dimension:
            raise ValueError(f"input_size must have the {self.dimension} spatial axes only, got {tuple(input_size)}")
        voxels = prod(int(n) for n in input_size)
        total = voxels * self.head["seg_layers"].out_channels
        for level, width in enumerate(self.features):
            decoded = level < len(self.merge)
            total += voxels * width * (4 if decoded else 2)
            if decoded:
                voxels /= prod(self._slices_first(self.slice_strides[level], 2))
                total += voxels * width  # narrowed, before the up-sampling
        return total

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for rectifiers."""
        InitWeights_He(0)(module)
