"""Which class or region wins at each voxel of logits, and where that stays so whatever is interpolated around it.

A linearly interpolated value is a mean of those of the eight voxels around it. Where the same class leads at all eight,
it leads in the mean; so nothing has to be interpolated there. A lead must be larger than what rounding to the logits'
own type can take away, since nnU-Net rounds before it compares, and the first of equal classes wins.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

# A lead d over x > 0 survives rounding to float16 if d > 2^-9 |x| + 2^-23: twice the spacing of its values at |x|,
# which is larger near 0. Twice as much leaves room for the rounding of float64 in between.
_RELATIVE, _ABSOLUTE = np.float32(2.0**-8), np.float32(2.0**-22)
# A region is there where the sigmoid of its logit, in float32, is above 0.5.
_CLEAR_LOGIT = np.float32(1e-3)
# Below what torch shares out among threads of its own, which wait for each other where others use the cores.
_BLOCK_VOXELS = (1 << 15) - 1

Map = Callable[[Callable, Iterable], Iterable]


def codes_of(logits: np.ndarray, *, regions: bool, interpolated: bool, each: Map = map) -> np.ndarray | None:
    """Class with the largest logit, or number of the last region that is there, at each voxel.

    Args:
        logits: float16 or float32, (channels, n0, n1, n2); may be a memory map.
        regions: heads are regions in the order in which they are painted; a code is 1 + its number, 0 for none.
        interpolated: mark what interpolation may change.
        each: calls a function for each of some things, like `map`, perhaps in threads.

    Returns:
        (n0, n1, n2) unsigned integers, `open_code` of their type where marked; None if a logit is no finite number.
    """
    codes = np.empty(logits.shape[1:], np.uint8 if len(logits) < 255 else np.uint16)
    step = max(1, _BLOCK_VOXELS // max(1, codes.shape[2]))

    def fill(row: int) -> bool:
        for start in range(0, codes.shape[1], step):
            target, block = codes[row, start : start + step], logits[:, row, start : start + step]
            clear = (_find_regions if regions else _find_classes)(block, target)
            if clear is None:
                return False
            if interpolated or regions:
                target[~clear] = open_code(codes.dtype)
        return True

    return codes if all(each(fill, range(len(codes)))) else None


def open_code(dtype: np.dtype) -> int:
    """The code of what is not decided."""
    return int(np.iinfo(dtype).max)


def agreed(codes: np.ndarray, low: Sequence[np.ndarray], high: Sequence[np.ndarray]) -> np.ndarray:
    """The code that all voxels around each position have, or the open one.

    Args:
        codes: (n0, n1, n2).
        low, high: per axis, voxels on both sides of each output voxel.

    Returns:
        As many voxels as there are positions along each axis.
    """
    undecided = open_code(codes.dtype)
    for axis, (below, above) in enumerate(zip(low, high, strict=True)):
        first = np.take(codes, below, axis)
        if above is not below:
            first[first != np.take(codes, above, axis)] = undecided
        codes = first
    return codes


def _find_classes(logits: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
    """Write the codes of a block (channels, rows, columns); returns where the lead is clear, None if not finite."""
    top, value = (np.empty(codes.shape, np.float32) for _ in range(2))
    second, larger = np.full(codes.shape, -np.inf, np.float32), np.empty(codes.shape, bool)
    codes[...] = 0
    for number, channel in enumerate(logits):
        if not _read(channel, value):
            return None
        if number == 0:
            top[...] = value
            continue
        np.greater(value, top, out=larger)
        np.copyto(codes, number, where=larger)
        # The second largest is the larger of what it was and of the smaller of the two at hand.
        np.maximum(second, np.minimum(value, top), out=second)
        np.maximum(top, value, out=top)
    return top - second > _RELATIVE * np.abs(top) + _ABSOLUTE


def _find_regions(logits: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
    """As `_find_classes`, for regions."""
    value, clear = np.empty(codes.shape, np.float32), np.ones(codes.shape, bool)
    codes[...] = 0
    for number, channel in enumerate(logits, 1):
        if not _read(channel, value):
            return None
        np.copyto(codes, number, where=value > 0)
        # A region that is clearly there hides the ones painted before.
        clear = (clear & (value < -_CLEAR_LOGIT)) | (value > _CLEAR_LOGIT)
    return clear


def _read(channel: np.ndarray, target: np.ndarray) -> bool:
    """Copy as float32 (torch is 20 times faster at that than numpy); returns whether all is finite."""
    channel = channel if channel.flags.writeable else channel.copy()  # as torch wants it
    torch.from_numpy(target).copy_(torch.from_numpy(channel))
    return bool(np.isfinite(target.min()) and np.isfinite(target.max()))
