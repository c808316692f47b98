"""The published BCDU-Net as a configuration of the ConvLSTM U-Net."""

from torch import nn

from .convlstm_unet import ConvLSTMUNet


def bcdu_net(*, input_channels: int = 1, num_classes: int = 1, dense_blocks: int = 3) -> ConvLSTMUNet:
    """Builds the 2D topology of the public BCDU-Net code (Azad et al. 2019), which Wu et al. use.

    Four stages of 64 to 512 features, max-pooling, no normalisation in the encoder, batch normalisation after the
    transposed convolutions, one ConvLSTM with hard-sigmoid gates in each of the three skips, dropout 0.5 around the
    bottleneck. With one input channel and one class: 8.86 M parameters for d = 1, 20.66 M for d = 3. It differs from
    the code in that it returns logits, and that the head has two intermediate channels per class (the code has one
    class, hence two channels).

    Args:
        input_channels: channels of the image.
        num_classes: channels of the output.
        dense_blocks: d, 1 or 3 in the publication.
    """
    return ConvLSTMUNet(
        input_channels=input_channels,
        n_stages=4,
        features_per_stage=[64, 128, 256, 512],
        conv_op=nn.Conv2d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=num_classes,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        nonlin=nn.ReLU,
        nonlin_kwargs={"inplace": True},
        n_convlstm_skips=3,
        convlstm="uni",
        dense_blocks=dense_blocks,
        hard_sigmoid=True,
        pool="max",
        up_norm_op=nn.BatchNorm2d,
        bottleneck_dropout=0.5,
        head_channels=2 * num_classes,
        auxiliary_heads=False,
    )
