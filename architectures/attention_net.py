"""Where in a scan is the spine? A small fully convolutional network over sagittal slices with a coarse output."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .diffusion import AnisotropicDiffusion

POOLS = 4
CELL_IN_PLANE = 2**POOLS
CELL_SLICES = 8
INITIAL_SHARE = 0.05  # a spine fills a few per cent of a scan


def cell_size(slice_axis: int, dimension: int = 3) -> tuple[int, ...]:
    """Voxels per output value along each spatial axis: 16 in plane, and in 3D 8 along the slice axis."""
    return tuple(CELL_SLICES if dimension == 3 and a == slice_axis else CELL_IN_PLANE for a in range(dimension))


class AttentionNet(nn.Module):
    """Attention net of Sekuboyina et al. (2017): the spine's share of every block of 8 slices by 16 x 16 voxels.

    Ten convolutions within slices, so slices never see each other: four of 5 x 5 with 16, 32, 64, 64 channels, each
    followed by 2 x 2 max pooling, five of 3 x 3 with 64 channels and dilations 1, 2, 4, 8, 1, and one of 1 x 1. Kernels
    and dilations are in a figure of the source; these are a layout that fits the sizes it states. Different from it,
    all convolutions are padded to keep the size. Of each block of 8 slices the network sees one, in the middle.

    Args:
        input_channels: channels of the image.
        conv_op: `nn.Conv3d`, or `nn.Conv2d` for single slices.
        num_classes: channels of the output (logits).
        slice_axis: axis of 3D images that counts the sagittal slices.
        diffusion: `AnisotropicDiffusion` of the image as the first layer, in 3D across slices as well.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)
    features: ClassVar[tuple[int, ...]] = (16, 32, 64, 64, 64, 64, 64, 64, 64)
    kernels: ClassVar[tuple[int, ...]] = (5, 5, 5, 5, 3, 3, 3, 3, 3)
    dilations: ClassVar[tuple[int, ...]] = (1, 1, 1, 1, 1, 2, 4, 8, 1)

    def __init__(
        self,
        *,
        input_channels: int,
        conv_op: type[_ConvNd],
        num_classes: int = 1,
        slice_axis: int = 0,
        diffusion: bool = False,
    ):
        super().__init__()
        self.dimension = convert_conv_op_to_dim(conv_op)
        self.slice_axis = slice_axis
        self.diffusion = AnisotropicDiffusion() if diffusion else nn.Identity()
        layers: list[nn.Module] = []
        channels = input_channels
        for i, (width, kernel, dilation) in enumerate(zip(self.features, self.kernels, self.dilations, strict=True)):
            layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2 * dilation, dilation=dilation))
            layers.append(nn.ReLU(inplace=True))
            if i < POOLS:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            channels = width
        self.slice_net = nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, ...) of any size to logits (B, num_classes, ...), one per cell.

        The first cell starts at the first voxel; a cell at the end may be only partly inside the image.
        """
        x = self.diffusion(x)
        if self.dimension == 2:
            return self.slice_net(x)
        x = _middle_slices(x.movedim(2 + self.slice_axis, 1))  # (B, cells, C, h, w)
        y = self.slice_net(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # (B, cells, num_classes, h / 16, w / 16)
        return y.movedim(1, 2 + self.slice_axis)

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Number of cells along each spatial axis."""
        return tuple(-(-n // c) for n, c in zip(input_size, cell_size(self.slice_axis, self.dimension), strict=True))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> float:
        """Size of the convolutions' outputs, as nnU-Net's networks state it for the planner.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        if len(input_size) != self.dimension:
            raise ValueError(f"input_size must have the {self.dimension} spatial axes only, got {tuple(input_size)}")
        voxels = torch.Size(input_size).numel() / (CELL_SLICES if self.dimension == 3 else 1)
        return sum(width * voxels / 4 ** min(i, POOLS) for i, width in enumerate(self.features))

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for rectifiers; the output starts at a small share everywhere.

        Most cells hold no spine. From outputs about one half, their squared error drives all logits so far down that
        the sigmoid has no gradient left, and the map stays empty.
        """
        InitWeights_He(0)(module)
        if isinstance(module, AttentionNet):  # visited after its parts
            nn.init.normal_(module.slice_net[-1].weight, std=0.01)
            nn.init.constant_(module.slice_net[-1].bias, math.log(INITIAL_SHARE / (1 - INITIAL_SHARE)))


def _middle_slices(x: Tensor) -> Tensor:
    """The middle slice of every cell; the last one of an incomplete cell that has no middle.

    Views, no list of indices, which would be copied to the device in every step.

    Args:
        x: (B, slices, ...).
    """
    middle = CELL_SLICES // 2
    slices = x[:, middle::CELL_SLICES]
    return torch.cat((slices, x[:, -1:]), 1) if 0 < x.shape[1] % CELL_SLICES <= middle else slices
