"""Grey values that a scanner's 12-bit reconstruction left without their offset, and how their histogram shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_spine.dataset_conversion.images import ChangedImage
from nnunet_spine.dataset_conversion.sources import ImageSource
from nnunet_spine.errors import InputError
from nnunet_spine.plausibility import sample_step

if TYPE_CHECKING:
    import argparse

    import numpy as np

_SAMPLE = 400_000
_BIN = 8.0
_AIR_RANGE = 120.0  # above the lowest value that is not padding
_SOFT_TISSUE = (-150.0, 150.0)  # HU: fat to muscle and contrast


@dataclass(frozen=True)
class Offset:
    """What has to be subtracted to have Hounsfield units, and why.

    Attributes:
        value: 0 where the values are HU already, or where nothing shows what they are.
        evidence: in words, for the manifest; "" for 0.
    """

    value: float
    evidence: str = ""


def add_offset_option(parser: "argparse._ActionsContainer", default: str = "auto") -> None:
    """`--hu-offset`."""
    parser.add_argument(
        "--hu-offset", default=default, metavar="V",
        help="what to subtract from the stored values to have HU: auto finds 0, 1000 or 1024 by the histogram",
    )  # fmt: skip


def hu_image(source: ImageSource, hu_offset: str) -> ImageSource:
    """An image whose values become Hounsfield units; itself where nothing is to be subtracted.

    Raises:
        InputError: neither "auto" nor a number.
    """
    try:
        offset = None if hu_offset == "auto" else float(hu_offset)
    except ValueError:
        raise InputError(f"--hu-offset {hu_offset}", "give auto, or a number such as 1024") from None
    return source if offset == 0 else ChangedImage(source, ToHU(offset))


@dataclass(frozen=True)
class ToHU:
    """Stored values to Hounsfield units.

    Attributes:
        offset: to subtract; None lets the histogram of each scan decide.
    """

    offset: float | None = None

    def __call__(self, voxels: "np.ndarray") -> "tuple[np.ndarray, str]":
        """Voxels in HU, and the evidence for what was subtracted; "" where nothing was."""
        if self.offset is None:
            return _shifted(voxels, find_offset(voxels))
        return _shifted(voxels, Offset(self.offset, f"{self.offset:g} subtracted as the user said"))


def _shifted(voxels: "np.ndarray", found: Offset) -> "tuple[np.ndarray, str]":
    import numpy as np

    if not found.value:
        return voxels, ""
    shifted = voxels.astype(np.float32 if voxels.dtype.kind == "f" or found.value % 1 else np.int32) - found.value
    fits = shifted.dtype.kind == "i" and shifted.min() >= -(2**15) and shifted.max() < 2**15
    return shifted.astype(np.int16 if fits else np.float32), found.evidence


def find_offset(voxels: "np.ndarray") -> Offset:
    """What was added to the Hounsfield units of a CT, by its histogram: air at -1000 or at 0, soft tissue at 0 or 1000.

    Values below -500 are air in HU, and nothing is subtracted. Otherwise soft tissue, the fullest part of the histogram
    beside air and padding, tells whether there is an offset, and air which: it has its peak at 0 where 1000 was added,
    and at 24 for 1024. Without air in view it is 1024, the range of a 12-bit CT.

    Args:
        voxels: as stored, 3-D.
    """
    flat = voxels.reshape(-1, order="A")
    sample = flat[:: sample_step(voxels.shape, _SAMPLE)].astype(float)
    low = float(sample.min())
    if low < -500:
        return Offset(0.0)
    padding = sample == low
    rest = sample[~padding] if padding.mean() > 0.01 else sample
    tissue = _peak(rest[(rest > low + 500)])
    if tissue is None or not _SOFT_TISSUE[0] <= tissue - 1012 <= _SOFT_TISSUE[1]:
        return Offset(0.0)
    air_values = rest[rest < low + _AIR_RANGE]
    air = _peak(air_values) if air_values.size > 0.001 * sample.size else None
    value = 1000.0 if air is not None and abs(air) < abs(air - 24) else 1024.0
    seen = f"air at {air:.0f}" if air is not None else "no air in view"
    return Offset(value, f"HU = value - {value:g}: lowest value {low:g}, {seen}, soft tissue at {tissue:.0f}")


def _peak(values: "np.ndarray") -> float | None:
    """The most frequent value, smoothed over a few units; None without values."""
    import numpy as np

    if not values.size:
        return None
    start = float(np.floor(values.min()))
    counts = np.bincount((values - start).astype(np.int64))
    width = int(_BIN)
    smooth = np.convolve(counts, np.ones(2 * width + 1), "same")
    return start + float(np.argmax(smooth))
