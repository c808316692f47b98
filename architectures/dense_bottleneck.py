"""Densely connected blocks on the deepest stage of a U-Net."""

from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class DenseBottleneck(nn.Module):
    """Blocks 2 to d of a dense bottleneck; block 1 is the ordinary last stage of the encoder.

    Every block sees the concatenation of all earlier outputs: b_2 = f([b_1]), b_3 = f([b_2, b_1]), ... With d = 1
    there is no further block and the input is returned, after dropout.

    Source: BCDU-Net (Azad et al. 2019, section 3.1, and the code for d = 3).

    Args:
        n_blocks: d >= 1, counting the last encoder stage.
        n_conv: convolutions per block.
        conv_op: `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`.
        channels: channels of b_1 and of every block.
        kernel_size: kernel of every convolution.
        dropout: probability of element-wise dropout after each block, b_1 included.
        **conv_options: `conv_bias`, `norm_op`, ... as in `StackedConvBlocks`.

    Raises:
        ValueError: `n_blocks` is less than 1.
    """

    def __init__(
        self,
        n_blocks: int,
        n_conv: int,
        conv_op: type[_ConvNd],
        channels: int,
        kernel_size: int | list[int] | tuple[int, ...],
        *,
        dropout: float = 0.0,
        **conv_options: Any,
    ):
        super().__init__()
        if n_blocks < 1:
            raise ValueError(f"dense_blocks must be at least 1 (the ordinary last stage), got {n_blocks}")
        self.channels = channels
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.blocks = nn.ModuleList(
            StackedConvBlocks(n_conv, conv_op, n_inputs * channels, channels, kernel_size, 1, **conv_options)
            for n_inputs in range(1, n_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps b_1 to b_d, both of shape (B, channels, ...)."""
        outputs = [self.dropout(x)]
        for block in self.blocks:
            # k x (B, C, ...) -> (B, kC, ...), the latest output first as in the code of BCDU-Net
            inputs = torch.cat(outputs[::-1], dim=1) if len(outputs) > 1 else outputs[0]
            outputs.append(self.dropout(block(inputs)))
        return outputs[-1]

    def compute_conv_feature_map_size(self, input_size: list[int]) -> np.int64:
        """Feature map elements of blocks 2 to d, concatenations included, at spatial size `input_size` of the stage."""
        output = np.int64(0)
        for n_inputs, block in enumerate(self.blocks, start=1):
            output += block.compute_conv_feature_map_size(input_size)
            if n_inputs > 1:
                # a convolution counts its output once for two kept maps (see ConvLSTMUNet); the concatenation is one
                output += np.prod([n_inputs * self.channels, *input_size], dtype=np.int64) // 2
        return output
