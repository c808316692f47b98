"""Grey values against Hounsfield units: air -1000, fat -100, water 0, muscle 50, bone above."""

import math
from collections.abc import Sequence

import numpy as np

from nnunet_spine.plausibility.finding import Finding
from nnunet_spine.plausibility.placement import Contrast

_OFFSETS = {1024.0: "HU + 1024", 1000.0: "HU + 1000", -1024.0: "HU - 1024", -1000.0: "HU - 1000"}
_MOST_LABELS = 64
_BONE = (-200.0, 2000.0)  # median over whole vertebrae, metal and pores included
_FROM_DICOM = "convert it again from DICOM with the rescale intercept and slope"


def sample_step(shape: Sequence[int], most: int) -> int:
    """The n of "every n-th voxel" that spreads samples all over a volume.

    It has no divisor in common with an axis length: every 100th voxel of rows of 500 would be those of five columns,
    perhaps all in air.

    Args:
        shape: of the volume, in any order of axes.
        most: number of samples, about.

    Example:
        >>> sample_step((500, 500, 80), 200_000)
        101
    """
    step = max(1, math.prod(map(int, shape)) // most)
    while any(math.gcd(step, int(n)) > 1 for n in shape if n):
        step += 1
    return step


def intensity_finding(values: np.ndarray, labelled: Contrast | None = None) -> Finding | None:
    """Whether a sample of a scan's values can be Hounsfield units: "hu", which stops where it cannot.

    Args:
        values: of voxels all over the scan, scaling applied; some ten thousand suffice.
        labelled: values in and around the labels, where there are any.
    """
    values = np.asarray(values, float)
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    figures = {"lowest": low, "highest": high, "median": float(np.median(values))}
    if labelled is not None:
        figures |= {"inside": labelled.inside, "near": labelled.near}
    seen = f"values from {low:.4g} to {high:.4g}"
    whole = bool((values == np.rint(values)).all())
    if low == high:
        return Finding("hu", f"every voxel is {low:.4g}", True, "check the file", figures)
    if low >= 0 and whole and high <= 255:
        if len(np.unique(values)) <= _MOST_LABELS and (values == 0).mean() > 0.5:
            sentence = f"{seen}, {len(np.unique(values))} different ones: a label map and no CT"
            return Finding("hu", sentence, True, "give the CT; image and mask may have changed places", figures)
        return Finding("hu", f"{seen}: an 8-bit picture of a window and no CT in HU", True, _FROM_DICOM, figures)
    if high - low <= 50:
        return Finding("hu", f"{seen}: normalised, no HU", True, _FROM_DICOM, figures)
    if (values > 40_000).mean() > 0.01 and low >= 0:
        sentence = f"{seen}, {100 * (values > 40_000).mean():.0f} % above 40000: negative HU stored without their sign"
        return Finding("hu", sentence, True, "read the voxels as signed 16-bit numbers", figures)
    tissue = labelled.near if labelled is not None else _soft_tissue(values)
    for offset, name in _OFFSETS.items():
        nothing_beyond = low >= -50 if offset > 0 else (values < -1100).mean() > 0.2
        if nothing_beyond and -250 <= tissue - offset <= 250:
            sentence = f"{seen}, soft tissue at {tissue:.0f} where 0 to 60 HU is usual: {name}"
            cure = f"{'subtract' if offset > 0 else 'add'} {abs(offset):g}, or {_FROM_DICOM}"
            return Finding("hu", sentence, True, cure, figures)
    if labelled is not None and not _BONE[0] <= labelled.inside <= _BONE[1]:
        sentence = f"{seen}, median {labelled.inside:.0f} in the labels where bone has 100 to 600 HU"
        return Finding("hu", sentence, True, _FROM_DICOM, figures)
    if low >= 0:
        return Finding("hu", f"{seen}, none below 0 as air and fat are: no HU, or clipped", False, "", figures)
    return None


def _soft_tissue(values: np.ndarray) -> float:
    """The most frequent value of what is not air: the fullest 40 wide bin above a quarter of the range."""
    low, high = np.percentile(values, (1, 99))
    body = values[values > low + 0.25 * (high - low)]
    if not body.size:
        return float(np.median(values))
    bins = np.arange(body.min(), body.max() + 80, 40.0)
    counts, edges = np.histogram(body, bins)
    return float(edges[np.argmax(counts)] + 20)
