"""U-Net whose deeper skip connections are fused by convolutional LSTMs, with a dense bottleneck."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from dynamic_network_architectures.architectures.abstract_arch import AbstractDynamicNetworkArchitectures
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from .convlstm import ConvLSTMCell
from .convlstm_decoder import ConvLSTMDecoder
from .dense_bottleneck import DenseBottleneck


class ConvLSTMUNet(AbstractDynamicNetworkArchitectures):
    """Dense U-Net with (bi-directional) ConvLSTM skips for 2D and 3D, following any nnU-Net plans.

    Encoder, strides, kernels, features, convolutions per stage, normalisation and nonlinearity are those of
    `PlainConvUNet`, whose arguments this class takes by keyword. With `n_convlstm_skips=0` and `dense_blocks=1` it *is*
    that network, with the same parameter names. At a fused level the transposed convolution is followed by
    normalisation and nonlinearity, a ConvLSTM with the kernel of that level runs over skip and up-sampled map, and the
    following convolutions see its result instead of the concatenation.

    Source: Wu et al. (ConvLSTM units in the skips) and BCDU-Net (Azad et al. 2019). Wu et al. do not define the "number
    of ConvLSTM units"; here it is the number of fused levels, filled from the deepest. `BCDUNet` is the published
    topology.

    Args:
        input_channels: channels of the image.
        n_stages: resolution stages, the bottleneck included.
        features_per_stage: channels of each stage.
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        kernel_sizes: kernel per stage.
        strides: stride per stage; the first is usually 1.
        n_conv_per_stage: convolutions per encoder stage.
        num_classes: channels of the output (logits).
        n_conv_per_stage_decoder: convolutions per decoder level, the deepest first.
        conv_bias: bias in convolutions and transposed convolutions (the cells always have one).
        norm_op: normalisation layer, or none.
        norm_op_kwargs: its arguments.
        dropout_op: dropout layer of the convolution blocks, or none.
        dropout_op_kwargs: its arguments.
        nonlin: nonlinearity, or none.
        nonlin_kwargs: its arguments.
        deep_supervision: return the logits of every decoder level, the finest first.
        nonlin_first: convolution, nonlinearity, normalisation instead of normalisation before nonlinearity.
        n_convlstm_skips: number of levels fused by ConvLSTM; `None` means all but the finest.
        convlstm: `"bi"` (paper) or `"uni"` (code of BCDU-Net).
        hidden_fraction: hidden channels of each cell as a fraction of the channels of its level.
        dense_blocks: d; block 1 is the ordinary last stage, see `DenseBottleneck`.
        checkpoint_cells: recompute the cells in the backward pass: less memory, more time.
        hard_sigmoid: gates of the public BCDU-Net code.
        pool: `"conv"` (strided convolution, as nnU-Net), `"max"` or `"avg"`.
        up_norm_op: normalisation after the transposed convolution of fused levels; `None` means `norm_op`.
        bottleneck_dropout: element-wise dropout of the deepest skip and after every dense block.
        head_channels: if given, a k×k convolution to so many channels and a nonlinearity precede the last 1×1.
        auxiliary_heads: build the heads of the coarser levels; without them there is no deep supervision.

    Raises:
        ValueError: an option does not fit the number of stages, or names an unknown variant.
    """

    def __init__(
        self,
        *,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[_ConvNd],
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: int | Sequence[int | Sequence[int]],
        n_conv_per_stage: int | Sequence[int],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[_DropoutNd] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
        nonlin_first: bool = False,
        n_convlstm_skips: int | None = None,
        convlstm: Literal["bi", "uni"] = "bi",
        hidden_fraction: float = 0.5,
        dense_blocks: int = 1,
        checkpoint_cells: bool = False,
        hard_sigmoid: bool = False,
        pool: Literal["conv", "max", "avg"] = "conv",
        up_norm_op: type[nn.Module] | None = None,
        bottleneck_dropout: float = 0.0,
        head_channels: int | None = None,
        auxiliary_heads: bool = True,
    ):
        super().__init__()
        if n_stages < 2:
            raise ValueError(f"ConvLSTMUNet needs at least 2 stages, got {n_stages}; choose a larger patch")
        self.key_to_encoder = "encoder.stages"
        self.key_to_stem = "encoder.stages.0"
        self.keys_to_in_proj = ("encoder.stages.0.0.convs.0.all_modules.0", "encoder.stages.0.0.convs.0.conv")

        block_options = {
            "conv_bias": conv_bias,
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "dropout_op": dropout_op,
            "dropout_op_kwargs": dropout_op_kwargs,
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
            "nonlin_first": nonlin_first,
        }
        n_conv_per_stage = _per_stage(n_conv_per_stage, n_stages)
        self.encoder = PlainConvEncoder(
            input_channels,
            n_stages,
            _per_stage(features_per_stage, n_stages),
            conv_op,
            _per_stage(kernel_sizes, n_stages),
            _per_stage(strides, n_stages),
            n_conv_per_stage,
            return_skips=True,
            pool=pool,
            **block_options,
        )
        # plain integers: numpy in the forward pass would break the graph of torch.compile
        self.total_stride = tuple(math.prod(axis) for axis in zip(*self.encoder.strides, strict=True))
        self.skip_dropout = nn.Dropout(bottleneck_dropout) if bottleneck_dropout else nn.Identity()
        self.bottleneck = DenseBottleneck(
            dense_blocks,
            n_conv_per_stage[-1],
            conv_op,
            self.encoder.output_channels[-1],
            self.encoder.kernel_sizes[-1],
            dropout=bottleneck_dropout,
            **block_options,
        )
        self.decoder = ConvLSTMDecoder(
            self.encoder,
            num_classes,
            _per_stage(n_conv_per_stage_decoder, n_stages - 1),
            deep_supervision,
            block_options,
            n_convlstm_skips=n_stages - 2 if n_convlstm_skips is None else n_convlstm_skips,
            convlstm=convlstm,
            hidden_fraction=hidden_fraction,
            checkpoint_cells=checkpoint_cells,
            hard_sigmoid=hard_sigmoid,
            up_norm_op=up_norm_op,
            head_channels=head_channels,
            auxiliary_heads=auxiliary_heads,
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Maps images (B, input_channels, ...) to logits (B, num_classes, ...), or a list of them, the finest first.

        Raises:
            ValueError: the spatial size is not a multiple of the product of the strides.
        """
        self._check_size(x.shape[2:])
        skips = []
        for s, stage in enumerate(self.encoder.stages):
            x = stage(x)
            skips.append(self.skip_dropout(x) if s == len(self.encoder.stages) - 2 else x)
        return self.decoder([*skips[:-1], self.bottleneck(skips[-1])])

    def _check_size(self, size: torch.Size) -> None:
        if any(n % factor for n, factor in zip(size, self.total_stride, strict=True)):
            raise ValueError(
                f"ConvLSTMUNet got an image of size {tuple(size)}; its sides must be multiples of {self.total_stride}. "
                "Use the patch size of the plans or pad the image"
            )

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> np.int64:
        """Size of the kept activations in the unit of `PlainConvUNet`, which nnU-Net turns into gigabytes.

        That unit counts the output of each convolution once. In training a convolution block keeps two maps of this
        size in half precision (the output of the convolution and that of the nonlinearity), so one unit stands for two
        half-precision elements, and the cells contribute half of what they keep under autocast, an fp32 element
        counting as two. Counted so, the figure follows the tensors that autograd keeps under autocast within 6 %
        relative to `PlainConvUNet`; without autocast it is up to 15 % too high, because everything is fp32 there. With
        `checkpoint_cells` it includes the largest single cell, which is recomputed on top of what is kept.

        Args:
            input_size: spatial size of the image, without batch and channels.

        Raises:
            ValueError: `input_size` has the wrong number of axes.
        """
        dimension = convert_conv_op_to_dim(self.encoder.conv_op)
        if len(input_size) != dimension:
            raise ValueError(f"input_size must have the {dimension} spatial axes only, got {tuple(input_size)}")
        bottleneck_size = [n // factor for n, factor in zip(input_size, self.total_stride, strict=True)]
        return (
            self.encoder.compute_conv_feature_map_size(input_size)
            + self.bottleneck.compute_conv_feature_map_size(bottleneck_size)
            + self.decoder.compute_conv_feature_map_size(input_size)
        )

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """He initialisation as in `PlainConvUNet`; cells keep their own, for He would erase the forget bias.

        Meant for `network.apply(network.initialize)`, which visits a cell after the convolution inside it.
        """
        InitWeights_He(1e-2)(module)
        if isinstance(module, ConvLSTMCell):
            module.reset_parameters()


def _per_stage(value: Any, n: int) -> list[Any]:
    """Repeats a single number for each of the n stages; a sequence must have that length."""
    values = [value] * n if isinstance(value, int) else list(value)
    if len(values) != n:
        raise ValueError(f"expected one entry for each of {n} stages, got {len(values)}: {values}")
    return values
