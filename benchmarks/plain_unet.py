"""nnU-Net's plain U-Net, which the benchmarks compare with."""

from collections.abc import Sequence

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn


def plain_unet(features: Sequence[int], n_classes: int) -> nn.Module:
    """The 3D network that nnU-Net plans: two convolutions per stage, instance normalisation.

    Args:
        features: channels of each stage; every stage but the first halves the size.
        n_classes: channels of the output.
    """
    n_stages = len(features)
    strides = [1, *[2] * (n_stages - 1)]
    return PlainConvUNet(
        *(1, n_stages, list(features), nn.Conv3d, 3, strides, [2] * n_stages, n_classes, [2] * (n_stages - 1)),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
