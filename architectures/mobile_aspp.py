"""MobileNet backbone with atrous spatial pyramid pooling: 1.28 million parameters for 28 vertebrae."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.checkpoint import checkpoint

from .aspp import ASPP
from .intensity_range import rescaling
from .mobile_block import MobileBlock, conv_norm
from .padding import crop_to, pad_to_multiples
from .residual_block import resnet18

# in, mid, out channels and depthwise stride of each block; the first has a stem of stride 2 and takes the image
BLOCKS = (
    (1, 32, 16, 1),
    (16, 96, 24, 1),
    (24, 144, 24, 1),
    (24, 144, 32, 1),
    (32, 192, 32, 1),
    (32, 192, 32, 2),
    (32, 192, 64, 1),
    (64, 384, 64, 1),
)
STRIDE = 4


def mobilenet(conv_op: type[_ConvNd], in_channels: int) -> list[nn.Module]:
    """The eight blocks, the first of which takes the image.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        in_channels: channels of the image.
    """
    (_, *stem), *others = BLOCKS
    return [
        MobileBlock(conv_op, in_channels, *stem, stem_stride=2),
        *(MobileBlock(conv_op, *block) for block in others),
    ]


BACKBONES = {"mobilenet": mobilenet, "resnet18": resnet18}
"""Lists of blocks: the first halves the image, whose map the head sees, and together they halve it twice."""


class MobileASPPNet(nn.Module):
    """Light network for large fields of view: eight inverted residual blocks, ASPP at stride 4, a head at stride 2.

    The layout is the published one whatever the plans: only the dimension is taken from them. The logits are computed
    at stride 2 and interpolated linearly. Images whose sides are no multiple of 4 are padded at their ends with 0, as
    nnU-Net pads, and the logits cropped. Its gradient in float32 is that of float64 up to the activations that
    rounding puts on the other side of zero, where ReLU has a kink: compiled and eager passes, which round differently,
    may differ by a per cent in it, and agree in float64. On maps smaller than a dilation (images below 64 with dilation
    16) the outer taps of that branch see padding only, so choose patches as large as the field of view.

    Source: Hempe & Heinrich 2021. The publication's 277 thousand parameters without ASPP are those of backbone plus
    the head of the full network; with `aspp=False` the head's first convolution is narrower, 273 thousand.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        backbone: "mobilenet", or "resnet18", with which the source compares (see `resnet18`; 40.6 M parameters in all).
        aspp: put ASPP between backbone and head.
        aspp_channels: channels of ASPP.
        dilations: of the branches of ASPP.
        dropout: after ASPP.
        head_channels: channels of the head.
        input_ranges: per channel, intensities mapped to [-1, 1] by a fixed first layer; none leaves them.
        pad_with_lowest: with `input_ranges`, padding becomes the lowest intensity, see `IntensityRange`.
        checkpointing: recompute each block and ASPP in the backward pass: less memory, more time.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[_ConvNd],
        backbone: Literal["mobilenet", "resnet18"] = "mobilenet",
        aspp: bool = True,
        aspp_channels: int = 128,
        dilations: Sequence[int] = (2, 4, 8, 16),
        dropout: float = 0.5,
        head_channels: int = 64,
        input_ranges: Sequence[tuple[float, float]] | None = None,
        pad_with_lowest: bool = False,
        checkpointing: bool = False,
    ):
        super().__init__()
        self.dimension = convert_conv_op_to_dim(conv_op)
        self.num_classes = num_classes
        self.checkpointing = checkpointing
        self.rescale = rescaling(input_ranges, input_channels, pad_with_lowest)
        if backbone not in BACKBONES:
            raise ValueError(f"MobileASPPNet has no backbone {backbone!r}; there is {', '.join(BACKBONES)}")
        self.backbone = nn.ModuleList(BACKBONES[backbone](conv_op, input_channels))
        context_channels = self.backbone[-1].out_channels
        self.aspp = ASPP(conv_op, context_channels, aspp_channels, dilations, dropout) if aspp else nn.Identity()
        skip_channels = self.backbone[0].out_channels
        self.head = nn.Sequential(
            *conv_norm(conv_op, (aspp_channels if aspp else context_channels) + skip_channels, head_channels, 1),
            nn.ReLU(inplace=True),
            *conv_norm(conv_op, head_channels, head_channels, 3),
            nn.ReLU(inplace=True),
        )
        # nnU-Net's fine-tuning leaves out what has `.seg_layers.` in its name, so that labels may differ
        self.head.add_module("seg_layers", conv_op(head_channels, num_classes, 1))
        if checkpointing:
            # A recomputed normalisation updates its statistics a second time: two such steps equal one of momentum 0.1.
            # (Compiled, it updates them once: they then follow half as fast.)
            for module in (m for part in (self.backbone, self.aspp) for m in part.modules()):
                if isinstance(module, _BatchNorm):
                    module.momentum = 1 - math.sqrt(1 - module.momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, ...) of any size to logits (B, num_classes, ...) of the same size."""
        size = x.shape[2:]
        x = self.rescale(pad_to_multiples(x, [STRIDE] * self.dimension))
        skip, *others = self.backbone
        skip = x = self._run(skip, x)
        for block in others:
            x = self._run(block, x)
        x = self._run(self.aspp, x)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.head(torch.cat([x, skip], 1))
        x = F.interpolate(x, scale_factor=2.0, mode="trilinear" if self.dimension == 3 else "bilinear")
        return crop_to(x, size)

    def _run(self, part: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointing and self.training and not isinstance(part, nn.Identity):
            return checkpoint(part, x, use_reentrant=False)
        return part(x)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> np.int64:
        """Size of the kept activations in the unit of `PlainConvUNet`, which nnU-Net turns into gigabytes.

        That unit counts the output of each convolution once, for two half-precision elements kept in training; here it
        is half the number of kept elements, see `MobileBlock`. The interpolated logits count like the output of a
        convolution. With `checkpointing` only the outputs of blocks and ASPP are kept, and the largest of these parts
        is recomputed on top.

        Args:
            input_size: spatial size of the image, without batch and channels.

        Raises:
            ValueError: the number of axes does not fit.
        """
        if len(input_size) != self.dimension:
            raise ValueError(f"input_size must have the {self.dimension} spatial axes only, got {tuple(input_size)}")
        size = tuple(n + -n % STRIDE for n in input_size)
        logits = self.num_classes * math.prod(size)
        inside, results = [], []
        for block in self.backbone:
            inside.append(block.compute_conv_feature_map_size(size))
            size = block.output_size(size)
            results.append(block.out_channels * math.prod(size))
        if isinstance(self.aspp, ASPP):
            inside.append(self.aspp.compute_conv_feature_map_size(size))
            results.append(self.aspp.out_channels * math.prod(size))
        half_size = math.prod(2 * n for n in size)
        head = half_size * sum(m.out_channels for m in self.head if isinstance(m, _ConvNd))
        encoder = sum(results) / 2 + max(inside) if self.checkpointing else sum(inside)
        return np.int64(encoder + head + logits)
