"""The published BCDU-Net as a configuration of the ConvLSTM U-Net."""

from functools import partial
from typing import ClassVar, Literal

from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .convlstm import ConvLSTMCell
from .convlstm_unet import ConvLSTMUNet
from .padding import crop_to, pad_to_multiples


class BCDUNet(ConvLSTMUNet):
    """The 2D topology of the public BCDU-Net code (Azad et al. 2019), which Wu et al. use, whatever the plans.

    Four stages of 64, 128, 256 and 512 features with two 3 x 3 convolutions and ReLU, max-pooling, no normalisation in
    the encoder, a dense bottleneck; batch normalisation after the transposed convolutions, one ConvLSTM with
    hard-sigmoid gates in each of the three skips; dropout 0.5 of the third skip (not of what is pooled) and after each
    dense block; two channels and ReLU before the last 1 x 1 convolution. With one input channel and one class: 8.86 M
    parameters for d = 1; for d = 3 20,659,717 with the statistics of batch normalisation.

    It differs from the code in that it returns logits, that images whose sides are no multiples of 8 are padded with
    zeros and the logits cropped, and that the head has two intermediate channels for each class but the background
    (the code has a single class). For d = 1 the code for lungs has no dropout in the bottleneck, that for skin and
    retina has it; here there is. The defaults are the code's; the other options are for ablations.

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output (logits).
        conv_op: `nn.Conv2d`; there is no published network in 3D.
        dense_blocks: d, 1 or 3 in the publication.
        n_convlstm_skips, convlstm, hidden_fraction, checkpoint_cells: see `ConvLSTMUNet`.

    Raises:
        ValueError: another `conv_op`, or an option does not fit.
    """

    plans_arguments: ClassVar[tuple[str, ...]] = ("conv_op",)
    dimensions: ClassVar[tuple[int, ...]] = (2,)

    def __init__(
        self,
        *,
        input_channels: int = 1,
        num_classes: int = 1,
        conv_op: type[_ConvNd] = nn.Conv2d,
        dense_blocks: int = 3,
        n_convlstm_skips: int = 3,
        convlstm: Literal["bi", "uni"] = "uni",
        hidden_fraction: float = 0.5,
        checkpoint_cells: bool = False,
    ):
        if conv_op is not nn.Conv2d:
            raise ValueError(
                f"BCDUNet got {conv_op.__name__}; the published network is two-dimensional: train the 2d configuration"
            )
        super().__init__(
            input_channels=input_channels,
            n_stages=4,
            features_per_stage=[64, 128, 256, 512],
            conv_op=conv_op,
            kernel_sizes=3,
            strides=[1, 2, 2, 2],
            n_conv_per_stage=2,
            num_classes=num_classes,
            n_conv_per_stage_decoder=2,
            conv_bias=True,
            nonlin=nn.ReLU,
            nonlin_kwargs={"inplace": True},
            n_convlstm_skips=n_convlstm_skips,
            convlstm=convlstm,
            hidden_fraction=hidden_fraction,
            dense_blocks=dense_blocks,
            checkpoint_cells=checkpoint_cells,
            hard_sigmoid=True,
            pool="max",
            up_norm_op=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01),  # Keras' defaults
            bottleneck_dropout=0.5,
            head_channels=2 * max(1, num_classes - 1),
            auxiliary_heads=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, input_channels, h, w) of any size to logits (B, num_classes, h, w)."""
        return crop_to(super().forward(pad_to_multiples(x, self.total_stride)), x.shape[2:])

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation for rectifiers; the cells keep their own, see `ConvLSTMUNet.initialize`."""
        InitWeights_He(0)(module)
        if isinstance(module, ConvLSTMCell):
            module.reset_parameters()
