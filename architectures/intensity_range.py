"""Rescaling of intensities to [-1, 1] as a fixed first layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def rescaling(ranges: Sequence[tuple[float, float]] | None, input_channels: int) -> nn.Module:
    """`IntensityRange`, or nothing without `ranges`.

    Raises:
        ValueError: there is not one range for each channel, or a range is empty.
    """
    if ranges is None:
        return nn.Identity()
    if len(ranges) != input_channels:
        raise ValueError(f"got {len(ranges)} input_ranges for {input_channels} channels; give one for each")
    return IntensityRange(ranges)


class IntensityRange(nn.Module):
    """Maps a fixed range of intensities per channel linearly to [-1, 1]; values outside go outside.

    Nothing is learnt or stored with the weights: as a layer, training and inference agree without a preprocessor.

    Args:
        ranges: lowest and highest intensity of each channel, as the network receives it.

    Raises:
        ValueError: a range is empty.
    """

    def __init__(self, ranges: Sequence[tuple[float, float]]):
        super().__init__()
        if not ranges or any(not low < high for low, high in ranges):
            raise ValueError(f"IntensityRange got {ranges}; expected a lower and a higher intensity for each channel")
        self.ranges = tuple(map(tuple, ranges))
        low, high = torch.tensor(self.ranges).T
        self.register_buffer("centre", (low + high) / 2, persistent=False)
        self.register_buffer("half_width", (high - low) / 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, *spatial) to the same shape."""
        shape = (-1, *[1] * (x.dim() - 2))
        return (x - self.centre.view(shape)) / self.half_width.view(shape)

    def extra_repr(self) -> str:
        return f"ranges={self.ranges}"
