"""A plain U-Net of 5.2 million parameters, to compare the MobileNet with."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_batchnorm
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .intensity_range import rescaling
from .padding import crop_to, pad_to_multiples


class SmallUNet(nn.Module):
    """Five levels of two 3^d convolutions with batch normalisation and ReLU: 5.22 M parameters in 3D with 29 classes.

    Hempe & Heinrich 2021 compare with a U-Net of 5.2 million parameters and do not describe it. The levels and widths
    (16, 32, 64, 128, 232), strided and transposed convolutions are ours, chosen for that number.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        input_ranges: per channel, intensities mapped to [-1, 1] by a fixed first layer; none leaves them.
        pad_with_lowest: with `input_ranges`, padding becomes the lowest intensity, see `IntensityRange`.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)
    features: ClassVar[tuple[int, ...]] = (16, 32, 64, 128, 232)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[_ConvNd],
        input_ranges: Sequence[tuple[float, float]] | None = None,
        pad_with_lowest: bool = False,
    ):
        super().__init__()
        n_stages = len(self.features)
        self.rescale = rescaling(input_ranges, input_channels, pad_with_lowest)
        self.unet = PlainConvUNet(
            input_channels=input_channels,
            n_stages=n_stages,
            features_per_stage=list(self.features),
            conv_op=conv_op,
            kernel_sizes=3,
            strides=[1] + [2] * (n_stages - 1),
            n_conv_per_stage=2,
            num_classes=num_classes,
            n_conv_per_stage_decoder=2,
            norm_op=get_matching_batchnorm(conv_op),
            norm_op_kwargs={},
            nonlin=nn.ReLU,
            nonlin_kwargs={"inplace": True},
        )
        # heads of the coarser levels, which would get no gradient
        self.unet.decoder.seg_layers = self.unet.decoder.seg_layers[-1:]
        self.total_stride = (2 ** (n_stages - 1),) * convert_conv_op_to_dim(conv_op)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, ...) of any size to logits (B, num_classes, ...) of the same size."""
        return crop_to(self.unet(self.rescale(pad_to_multiples(x, self.total_stride))), x.shape[2:])

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> np.int64:
        """Size of the convolutions' outputs, as `PlainConvUNet` states it.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        if len(input_size) != len(self.total_stride):
            raise ValueError(
                f"input_size must have the {len(self.total_stride)} spatial axes only, got {tuple(input_size)}"
            )
        return self.unet.compute_conv_feature_map_size(
            [n + -n % s for n, s in zip(input_size, self.total_stride, strict=True)]
        )

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for rectifiers."""
        InitWeights_He(0)(module)
