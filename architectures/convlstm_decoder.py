"""Decoder of the ConvLSTM U-Net."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_convtransp, maybe_convert_scalar_to_list
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn

from .convlstm import ConvLSTMFusion


class ConcatFusion(nn.Module):
    """The ordinary skip connection: concatenation of the up-sampled map and the skip map.

    Args:
        channels: channels C of each of the two.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.out_channels = 2 * channels

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        """Maps two maps of shape (B, C, ...) to (B, 2C, ...)."""
        return torch.cat((up, skip), dim=1)

    def saved_elements_per_voxel(self) -> tuple[int, int]:
        """Elements kept for the backward pass, see `ConvLSTMFusion.saved_elements_per_voxel`."""
        return self.out_channels, 0


class ConvLSTMDecoder(nn.Module):
    """Decoder in the manner of `UNetDecoder` whose deepest levels fuse by ConvLSTM and whose others concatenate.

    Unlike `UNetDecoder` it does not register the encoder a second time, so that no parameter has two names.

    Args:
        encoder: gives channels, kernels and strides of the stages.
        num_classes: channels of the logits.
        n_conv_per_stage: convolutions per level, the deepest first.
        deep_supervision: return the logits of every level.
        block_options: arguments of `StackedConvBlocks` from `conv_bias` on.
        n_convlstm_skips: number of levels fused by ConvLSTM, filled from the deepest.
        convlstm: `"bi"` or `"uni"`.
        hidden_fraction: hidden channels of a cell as a fraction of the channels of its level.
        checkpoint_cells: see `ConvLSTMFusion`.
        hard_sigmoid: see `ConvLSTMCell`.
        up_norm_op: normalisation after the transposed convolution of fused levels; `None` means that of the blocks.
        head_channels: channels of a convolution before the last one of each head, or none.
        auxiliary_heads: build the heads of the coarser levels.

    Attributes:
        deep_supervision: may be switched at any time, as nnU-Net does.

    Raises:
        ValueError: an option does not fit.
    """

    def __init__(
        self,
        encoder: PlainConvEncoder,
        num_classes: int,
        n_conv_per_stage: Sequence[int],
        deep_supervision: bool,
        block_options: dict[str, Any],
        *,
        n_convlstm_skips: int,
        convlstm: Literal["bi", "uni"],
        hidden_fraction: float,
        checkpoint_cells: bool,
        hard_sigmoid: bool,
        up_norm_op: type[nn.Module] | None,
        head_channels: int | None,
        auxiliary_heads: bool,
    ):
        super().__init__()
        n_levels = len(encoder.output_channels) - 1
        if not 0 <= n_convlstm_skips <= n_levels:
            raise ValueError(
                f"n_convlstm_skips must be 0 to {n_levels} for {n_levels + 1} stages, got {n_convlstm_skips}"
            )
        if not 0 < hidden_fraction <= 1:
            raise ValueError(f"hidden_fraction must be in (0, 1], got {hidden_fraction}")
        if deep_supervision and not auxiliary_heads:
            raise ValueError("deep supervision needs auxiliary_heads=True")
        self.deep_supervision = deep_supervision
        self.num_classes = num_classes
        self.strides = [tuple(stride) for stride in encoder.strides]
        self.level_channels = list(encoder.output_channels[-2::-1])

        transposed_conv = get_matching_convtransp(conv_op=encoder.conv_op)
        self.transpconvs, self.fusions = nn.ModuleList(), nn.ModuleList()
        self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(self.level_channels):  # the deepest first
            below, stride = encoder.output_channels[-(level + 1)], encoder.strides[-(level + 1)]
            kernel_size = maybe_convert_scalar_to_list(encoder.conv_op, encoder.kernel_sizes[-(level + 2)])
            up = transposed_conv(below, channels, stride, stride, bias=block_options["conv_bias"])
            if level < n_convlstm_skips:
                up = nn.Sequential(up, *_norm_and_nonlin(channels, up_norm_op, block_options))
                fusion = ConvLSTMFusion(
                    encoder.conv_op,
                    channels,
                    max(1, round(hidden_fraction * channels)),
                    kernel_size,
                    variant=convlstm,
                    hard_sigmoid=hard_sigmoid,
                    checkpoint_cells=checkpoint_cells,
                )
            else:
                fusion = ConcatFusion(channels)
            self.transpconvs.append(up)
            self.fusions.append(fusion)
            self.stages.append(
                StackedConvBlocks(
                    n_conv_per_stage[level],
                    encoder.conv_op,
                    fusion.out_channels,
                    channels,
                    kernel_size,
                    1,
                    **block_options,
                )
            )
            if auxiliary_heads or level == n_levels - 1:
                self.seg_layers.append(
                    _head(encoder.conv_op, channels, num_classes, kernel_size, head_channels, block_options)
                )

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Maps encoder outputs, the finest first and the bottleneck last, to logits or a list of them."""
        x = skips[-1]
        logits = []
        for level, stage in enumerate(self.stages):
            x = stage(self.fusions[level](skips[-(level + 2)], self.transpconvs[level](x)))
            if self.deep_supervision:
                logits.append(self.seg_layers[level](x))
        if self.deep_supervision:
            return logits[::-1]
        return self.seg_layers[-1](x)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> np.int64:
        """Kept activations in the unit of `ConvLSTMUNet.compute_conv_feature_map_size`, which documents it."""
        output, recomputed = np.int64(0), [0]
        size = list(input_size)
        for level in reversed(range(len(self.stages))):  # the finest first
            size = [n // s for n, s in zip(size, self.strides[len(self.stages) - 1 - level], strict=True)]
            n_voxels = np.prod(size, dtype=np.int64)
            kept, recomputed_here = self.fusions[level].saved_elements_per_voxel()
            if isinstance(self.fusions[level], ConvLSTMFusion):
                kept += 2 * self.level_channels[level]  # up-sampled map before and after the normalisation
            if self.deep_supervision or level == len(self.stages) - 1:
                kept += 2 * self.num_classes
            output += self.stages[level].compute_conv_feature_map_size(size) + kept * n_voxels // 2
            recomputed.append(recomputed_here * n_voxels // 2)
        return output + max(recomputed)  # cells are recomputed one after the other


def _norm_and_nonlin(channels: int, norm_op: type[nn.Module] | None, block_options: dict[str, Any]) -> list[nn.Module]:
    norm_op_kwargs = block_options["norm_op_kwargs"] if norm_op is None else None
    norm_op, nonlin = norm_op or block_options["norm_op"], block_options["nonlin"]
    layers = [norm_op(channels, **(norm_op_kwargs or {}))] if norm_op is not None else []
    if nonlin is not None:
        layers.append(nonlin(**(block_options["nonlin_kwargs"] or {})))
    return layers[::-1] if block_options["nonlin_first"] else layers


def _head(
    conv_op: type[nn.Module],
    channels: int,
    num_classes: int,
    kernel_size: Sequence[int],
    head_channels: int | None,
    block_options: dict[str, Any],
) -> nn.Module:
    if head_channels is None:
        return conv_op(channels, num_classes, 1)
    plain = {**block_options, "norm_op": None, "dropout_op": None}
    block = StackedConvBlocks(1, conv_op, channels, head_channels, kernel_size, 1, **plain)
    return nn.Sequential(block, conv_op(head_channels, num_classes, 1))
