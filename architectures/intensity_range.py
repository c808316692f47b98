"""Rescaling of intensities to [-1, 1] as a fixed first layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def rescaling(
    ranges: Sequence[tuple[float, float] | None] | None, input_channels: int, pad_with_lowest: bool = False
) -> nn.Module:
    """`IntensityRange`, or nothing without `ranges`.

    Raises:
        ValueError: there is not one range for each channel, or a range is empty.
    """
    if ranges is None:
        return nn.Identity()
    if len(ranges) != input_channels:
        raise ValueError(f"got {len(ranges)} input_ranges for {input_channels} channels; give one for each")
    return IntensityRange(ranges, pad_with_lowest)


class IntensityRange(nn.Module):
    """Maps a fixed range of intensities per channel linearly to [-1, 1]; values outside go outside.

    Nothing is learnt or stored with the weights: as a layer, training and inference agree without a preprocessor.

    Args:
        ranges: lowest and highest intensity of each channel, as the network receives it; None for a channel that stays
            as it is (a mask).
        pad_with_lowest: turn padding, which nnU-Net fills with exact zeros in training and prediction alike, into the
            lowest intensity: air. Voxels count as padding where every channel is exactly 0. Normalised by mean and
            deviation, an image has next to none of these (it is the foreground's mean); where 0 is a common intensity,
            this is not for use.

    Raises:
        ValueError: a range is empty.
    """

    def __init__(self, ranges: Sequence[tuple[float, float] | None], pad_with_lowest: bool = False):
        super().__init__()
        if not ranges or any(r is not None and not r[0] < r[1] for r in ranges):
            raise ValueError(f"IntensityRange got {ranges}; expected a lower and a higher intensity for each channel")
        self.ranges = tuple(None if r is None else tuple(r) for r in ranges)
        self.pad_with_lowest = pad_with_lowest
        low, high = torch.tensor([(-1.0, 1.0) if r is None else r for r in self.ranges]).T
        self.register_buffer("centre", (low + high) / 2, persistent=False)
        self.register_buffer("half_width", (high - low) / 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, *spatial) to the same shape."""
        shape = (-1, *[1] * (x.dim() - 2))
        rescaled = (x - self.centre.view(shape)) / self.half_width.view(shape)
        if not self.pad_with_lowest:
            return rescaled
        return torch.where((x == 0).all(1, keepdim=True), -1.0, rescaled)

    def extra_repr(self) -> str:
        return f"ranges={self.ranges}, pad_with_lowest={self.pad_with_lowest}"
