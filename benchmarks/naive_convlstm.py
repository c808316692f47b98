"""The ConvLSTM recurrence as its equations read: the reference for equality in the tests and for time here."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine.architectures.convlstm import ConvLSTMCell, keras_hard_sigmoid

_CONVOLUTION = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def naive_recurrence(cell: ConvLSTMCell, *sequence: Tensor, one_convolution: bool = False) -> Tensor:
    """Returns the last hidden state of a plain loop that starts at h = c = 0 and computes four gates in each step.

    Args:
        cell: gives the weights.
        *sequence: maps of shape (B, C, ...), any number of them.
        one_convolution: compute the four gates by one convolution over [x, h] instead of two convolutions per gate.
    """
    x = sequence[0]
    hidden = state = x.new_zeros(x.shape[0], cell.hidden_channels, *x.shape[2:])
    squash = keras_hard_sigmoid if cell.hard_sigmoid else torch.sigmoid
    gates_of = _gates_at_once if one_convolution else _gate_by_gate
    for x in sequence:
        f, i, o, g = gates_of(cell, x, hidden)
        state = squash(f) * state + squash(i) * torch.tanh(g)
        hidden = squash(o) * torch.tanh(state)
    return hidden


def use_naive_recurrence(network: nn.Module, *, one_convolution: bool = False) -> nn.Module:
    """Replaces the recurrence in every ConvLSTM cell of a network, in place; the parameters stay."""
    for module in network.modules():
        if isinstance(module, ConvLSTMCell):
            module.forward = partial(naive_recurrence, module, one_convolution=one_convolution)
    return network


def _gates_at_once(cell: ConvLSTMCell, x: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
    return cell.gates(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)  # (B, C+F, ...) -> 4 x (B, F, ...)


def _gate_by_gate(cell: ConvLSTMCell, x: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
    convolve, padding = _CONVOLUTION[cell.dimension], cell.gates.padding
    input_weights, hidden_weights = cell.gates.weight.split([cell.input_channels, cell.hidden_channels], dim=1)
    blocks = zip(input_weights.chunk(4), hidden_weights.chunk(4), cell.gates.bias.chunk(4), strict=True)
    return tuple(
        convolve(x, w_x, bias, padding=padding) + convolve(hidden, w_h, padding=padding) for w_x, w_h, bias in blocks
    )
