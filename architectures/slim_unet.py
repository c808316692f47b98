"""A plain U-Net with the plans' stages and strides and few features, to train and predict on CPUs."""

from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet

FIRST_FEATURES, MOST_FEATURES = 16, 192


class SlimUNet(PlainConvUNet):
    """nnU-Net's plain U-Net with 16 features doubled at each stage to 192 at most, and one convolution in each stage
    of the decoder: 4.0 M parameters with five stages in 3D, and about a sixth of the plans' operations.

    Args:
        n_stages, plans: as in the plans; their numbers of features and convolutions are replaced.
    """

    def __init__(self, *, n_stages: int, **plans: Any):
        slim = {
            "features_per_stage": [min(FIRST_FEATURES * 2**stage, MOST_FEATURES) for stage in range(n_stages)],
            "n_conv_per_stage": [2] * n_stages,
            "n_conv_per_stage_decoder": [1] * (n_stages - 1),
        }
        super().__init__(n_stages=n_stages, **{**plans, **slim})
