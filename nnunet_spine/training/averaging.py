"""A running average of the weights: single checkpoints of a short training vary more than their mean."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def _values(network: nn.Module) -> list[Tensor]:
    """Parameters and floating-point buffers; the same order with and without wrappers of DDP and torch.compile."""
    return [t.data for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]


class WeightAverage:
    """Exponential moving average of a network's weights (Polyak & Juditsky, SIAM J. Control Optim. 1992).

    Args:
        network: whose weights are averaged, starting from what they are now.
        decay: share that the average keeps at each update; less in the first updates, so that the start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.updates, self.in_use = decay, 0, False
        self.values = [value.clone() for value in _values(network)]

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights after a training step into the average."""
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(self.values, _values(network), 1 - keep)

    @torch.no_grad()
    def _exchange(self, network: nn.Module) -> None:
        for mine, theirs in zip(self.values, _values(network), strict=True):
            kept = theirs.clone()
            theirs.copy_(mine)
            mine.copy_(kept)

    @contextmanager
    def used_by(self, network: nn.Module) -> Iterator[None]:
        """The network has the averaged weights inside the block, and its own again behind it; blocks may be nested."""
        if self.in_use:
            yield
            return
        self._exchange(network)
        self.in_use = True
        try:
            yield
        finally:
            self._exchange(network)
            self.in_use = False

    def own_weights(self) -> list[Tensor]:
        """The network's own weights while the averaged ones are in use, on the CPU, for a checkpoint."""
        return [value.cpu() for value in self.values]

    @torch.no_grad()
    def resume(self, network: nn.Module, own_weights: list[Tensor], updates: int) -> None:
        """Go on from a checkpoint: `network` has just got the averaged weights and gets its own back."""
        self.updates = updates
        for mine, theirs, own in zip(self.values, _values(network), own_weights, strict=True):
            mine.copy_(theirs)
            theirs.copy_(own)
