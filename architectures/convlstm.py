"""Convolutional LSTM over a length-two sequence: the fusion of a skip connection with the up-sampled decoder map."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, maybe_convert_scalar_to_list
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.utils.checkpoint import checkpoint

_CONVOLUTION = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def keras_hard_sigmoid(x: Tensor) -> Tensor:
    """Piecewise linear gate clip(0.2 x + 0.5, 0, 1) of the BCDU-Net code (Keras 2); torch's own has slope 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell without peepholes, unrolled over exactly two steps.

    c_t = σ(f)⊙c_{t-1} + σ(i)⊙tanh(g) and h_t = σ(o)⊙tanh(c_t), where (f, i, o, g) = W_x*x_t + W_h*h_{t-1} + b and
    h_0 = c_0 = 0. One convolution yields all gates. In the first step nothing multiplies W_h and the forget gate, so
    only three gate blocks of W_x are convolved; the second step is one convolution over [x_2, h_1]. The result equals
    the plain recurrence up to rounding. The cell state is fp32 under autocast and bounded by |c| <= 2.

    Source: Shi et al. 2015 (ConvLSTM) and the BCDU-Net code (Azad et al. 2019), which has no peephole terms either.
    Initialisation follows Keras (Glorot, forget bias 1), except that W_h is Glorot, not orthogonal.

    Args:
        conv_op: `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`.
        input_channels: channels C of each element of the sequence.
        hidden_channels: channels F of h and c.
        kernel_size: odd kernel size, one number or one per axis.
        hard_sigmoid: use `keras_hard_sigmoid` instead of the logistic function.

    Raises:
        ValueError: a kernel size is even, so that the map would change its size.
    """

    def __init__(
        self,
        conv_op: type[_ConvNd],
        input_channels: int,
        hidden_channels: int,
        kernel_size: int | Sequence[int],
        *,
        hard_sigmoid: bool = False,
    ):
        super().__init__()
        kernel_size = tuple(maybe_convert_scalar_to_list(conv_op, kernel_size))
        if any(k % 2 == 0 for k in kernel_size):
            raise ValueError(f"ConvLSTM kernel sizes must be odd, got {kernel_size}; change kernel_sizes in the plans")
        self.input_channels = input_channels
        self.hidden_channels = hidden_channels
        self.dimension = convert_conv_op_to_dim(conv_op)
        self.hard_sigmoid = hard_sigmoid
        padding = tuple(k // 2 for k in kernel_size)
        # Weights (4F, C+F, ...): gate blocks f, i, o, g on axis 0, [x, h] on axis 1. f comes first, so that the first
        # step takes one slice; the sigmoid gates are neighbours, so that one call serves them.
        self.gates = conv_op(input_channels + hidden_channels, 4 * hidden_channels, kernel_size, padding=padding)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform W_x and W_h, each with its own fan-in, zero bias, forget bias 1."""
        input_weight, hidden_weight = self.gates.weight.split([self.input_channels, self.hidden_channels], dim=1)
        n_taps = math.prod(self.gates.kernel_size)
        with torch.no_grad():
            for weight in (input_weight, hidden_weight):
                bound = math.sqrt(6 / (n_taps * (weight.shape[0] + weight.shape[1])))
                weight.uniform_(-bound, bound)
            self.gates.bias.zero_()
            self.gates.bias[: self.hidden_channels] = 1

    def first_step(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (h_1, c_1) from x_1 of shape (B, C, ...), starting at h_0 = c_0 = 0."""
        f, c = self.hidden_channels, self.input_channels
        convolve = _CONVOLUTION[self.dimension]
        # (B, C, ...) -> (B, 3F, ...): gates i, o, g
        gates = convolve(x, self.gates.weight[f:, :c], self.gates.bias[f:], padding=self.gates.padding)
        sigmoid_gates, candidate = gates.split([2 * f, f], dim=1)
        i, o = self._squash(sigmoid_gates).chunk(2, dim=1)
        cell = i * torch.tanh(_state_precision(candidate))
        return (o * torch.tanh(cell)).to(gates.dtype), cell

    def second_step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (h_2, c_2) from x_2 of shape (B, C, ...) and (h_1, c_1), each of shape (B, F, ...)."""
        f = self.hidden_channels
        gates = self.gates(torch.cat((x, hidden), dim=1))  # (B, C+F, ...) -> (B, 4F, ...): gates f, i, o, g
        sigmoid_gates, candidate = gates.split([3 * f, f], dim=1)
        forget, i, o = self._squash(sigmoid_gates).chunk(3, dim=1)
        cell = forget * cell + i * torch.tanh(_state_precision(candidate))
        return (o * torch.tanh(cell)).to(gates.dtype), cell

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns h_2 of shape (B, F, ...) for the sequence (first, second), each of shape (B, C, ...)."""
        hidden, cell = self.first_step(first)
        return self.second_step(second, hidden, cell)[0]

    def _squash(self, gates: Tensor) -> Tensor:
        return keras_hard_sigmoid(gates) if self.hard_sigmoid else torch.sigmoid(gates)


class ConvLSTMFusion(nn.Module):
    """Fuses a skip map e and an up-sampled map u of C channels each by a ConvLSTM over the two of them.

    `"uni"` is the code variant of BCDU-Net: one cell over (u, e), whose last hidden state is the output (F channels).
    `"bi"` is the variant of the paper (Azad et al. 2019, section 3.2): independent cells over (e, u) and (u, e), merged
    to C channels by Y = tanh(W_f*H_f + W_b*H_b + b). The paper does not give the kernel of W_f and W_b: here 1x1.

    Args:
        conv_op: `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`.
        channels: channels C of e and of u.
        hidden_channels: hidden channels F of each cell.
        kernel_size: kernel of the cells, odd.
        variant: `"bi"` or `"uni"`.
        hard_sigmoid: see `ConvLSTMCell`.
        checkpoint_cells: recompute the inside of each cell in the backward pass instead of keeping it.

    Attributes:
        out_channels: channels of the result.
    """

    def __init__(
        self,
        conv_op: type[_ConvNd],
        channels: int,
        hidden_channels: int,
        kernel_size: int | Sequence[int],
        *,
        variant: Literal["bi", "uni"] = "bi",
        hard_sigmoid: bool = False,
        checkpoint_cells: bool = False,
    ):
        super().__init__()
        if variant not in ("bi", "uni"):
            raise ValueError(f"ConvLSTM variant must be 'bi' or 'uni', got {variant!r}")
        self.variant = variant
        self.channels = channels
        self.checkpoint_cells = checkpoint_cells
        self.up_first = ConvLSTMCell(conv_op, channels, hidden_channels, kernel_size, hard_sigmoid=hard_sigmoid)
        if variant == "bi":
            self.skip_first = ConvLSTMCell(conv_op, channels, hidden_channels, kernel_size, hard_sigmoid=hard_sigmoid)
            self.merge = conv_op(2 * hidden_channels, channels, 1)  # W_f and W_b side by side
        self.out_channels = channels if variant == "bi" else hidden_channels

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        """Maps e and u of shape (B, C, ...) to (B, out_channels, ...)."""
        up_first = self._run(self.up_first, up, skip)
        if self.variant == "uni":
            return up_first
        hidden = torch.cat((self._run(self.skip_first, skip, up), up_first), dim=1)  # 2 x (B, F, ...) -> (B, 2F, ...)
        return torch.tanh(self.merge(hidden))

    def _run(self, cell: ConvLSTMCell, first: Tensor, second: Tensor) -> Tensor:
        if self.checkpoint_cells and torch.is_grad_enabled():
            # Not reentrant: the reentrant kind breaks under DistributedDataParallel. The cell draws no random numbers.
            return checkpoint(cell, first, second, use_reentrant=False, preserve_rng_state=False)
        return cell(first, second)

    def saved_elements_per_voxel(self) -> tuple[int, int]:
        """Activation elements kept for the backward pass under autocast, per voxel and in half-precision units.

        Returns:
            (kept, recomputed): what stays until the backward pass, and what one checkpointed cell needs while it is
            recomputed (0 without checkpointing). The inputs e and u are counted by the layers that make them. An fp32
            element counts as two.
        """
        hidden = self.up_first.hidden_channels
        # Step 1: i, o (2F) and in fp32 tanh(g), c, tanh(c) (6F). Step 2: [x, h] (C+F), f, i, o (3F), and in fp32
        # tanh(g) and tanh(c) (4F).
        cell = self.channels + 16 * hidden
        # [H_f, H_b] and the result, which the next convolution keeps
        outside = 2 * hidden + self.channels if self.variant == "bi" else hidden
        if self.checkpoint_cells:
            return outside, cell
        return outside + (2 * cell if self.variant == "bi" else cell), 0


def _state_precision(x: Tensor) -> Tensor:
    """Lifts half precision to fp32 and leaves fp32 and fp64 alone."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
