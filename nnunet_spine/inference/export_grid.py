"""How nnU-Net's resampling of logits reads its input: along each axis, from which voxels a value comes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


@dataclass(frozen=True, eq=False)
class Axis:
    """Interpolation along one axis.

    Attributes:
        position: of each output voxel in the input, float64 (n_out,); outside of it at a border that is repeated, where
            the weights of the repeated voxel need not add up to exactly 1.
        low, high: input voxels that its value comes from, (n_out,); the same where one voxel is taken.
    """

    position: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def is_nearest(self) -> bool:
        """Whether each value is that of one input voxel."""
        return self.low is self.high

    def part(self, rows: slice) -> "Axis":
        """Some of the output voxels."""
        low = self.low[rows]
        return Axis(self.position[rows], low, low if self.is_nearest else self.high[rows])

    @classmethod
    def linear(cls, n_in: int, n_out: int) -> "Axis":
        """As scipy's `zoom` in grid mode with borders repeated, to the last bit of the positions.

        Example:
            >>> Axis.linear(2, 4).position.tolist()
            [-0.25, 0.25, 0.75, 1.25]
        """
        position = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
        low = np.clip(np.floor(position), 0, n_in - 1).astype(np.intp)
        return cls(position, low, np.minimum(low + 1, n_in - 1))

    @classmethod
    def nearest(cls, n_in: int, n_out: int) -> "Axis":
        """The voxel that contains the middle of each output voxel.

        Example:
            >>> Axis.nearest(2, 4).low.tolist()
            [0, 0, 1, 1]
        """
        position = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
        index = np.floor(position + 0.5).astype(np.intp)
        return cls(index.astype(float), index, index)


def axes_of(
    shape: Sequence[int],
    new_shape: Sequence[int],
    plans: PlansManager,
    configuration: ConfigurationManager,
    spacing_mm: Sequence[float],
) -> tuple[Axis, ...] | None:
    """Interpolation of logits as nnU-Net's `resample_data_or_seg_to_shape` does it with these plans.

    Args:
        shape: of the logits, without channels.
        new_shape: to resample to.
        spacing_mm: of the image as it was read, before transposing.

    Returns:
        One per axis, or None where the plans ask for something else: another function, splines, labels.
    """
    if tuple(shape) == tuple(new_shape):
        return tuple(Axis.nearest(n, n) for n in shape)
    function = configuration.resampling_fn_probabilities
    options = {
        "is_seg": False,
        "order": 3,
        "order_z": 0,
        "force_separate_z": False,
        "separate_z_anisotropy_threshold": ANISO_THRESHOLD,
        **function.keywords,
    }
    if function.func is not resample_data_or_seg_to_shape or options["is_seg"] or options["order"] not in (0, 1):
        return None
    new_spacing = [spacing_mm[i] for i in plans.transpose_forward]
    current = list(configuration.spacing)
    if len(current) < len(new_shape):
        current = [new_spacing[0], *current]
    separate, axis = determine_do_sep_z_and_axis(
        options["force_separate_z"], current, new_spacing, options["separate_z_anisotropy_threshold"]
    )
    if separate and (axis is None or options["order_z"] != 0):
        return None
    along = [Axis.linear if options["order"] else Axis.nearest] * len(shape)
    if separate:
        along[axis] = Axis.nearest
    return tuple(make(a, b) for make, a, b in zip(along, shape, new_shape, strict=True))
