"""Late fusion: a coarse map of where the spine is removes what a segmentation found elsewhere.

Source: Sekuboyina et al. (2017): the attention map is up-sampled, smoothed and thresholded, and the segmentation is
kept inside. All positions go through world space, so map and segmentation may have any grid and orientation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_spine.errors import InputError
from nnunet_spine.geometry import spacing_mm

MAP_SUFFIX = "_attention.nii.gz"
"""A map's file is named after its case, followed by this."""

SIGMAS_MM = (4.0, 8.0, 12.0)
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
MAX_REMOVED = 0.6
"""If more of the foreground than this would go, the map is more likely wrong than the segmentation."""

TRUNCATE = 4.0  # of the Gaussian, in standard deviations


@dataclass(frozen=True)
class FusionParameters:
    """Standard deviation of the Gaussian (0: none), and the spine fraction from which on voxels are kept."""

    sigma_mm: float = 8.0
    threshold: float = 0.15

    def __post_init__(self):
        if not 0 <= self.sigma_mm < np.inf:
            raise InputError(f"sigma {self.sigma_mm:g} mm; expected 0 or more")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold {self.threshold:g}; expected a share of spine from 0 to 1")


@dataclass(frozen=True)
class Fused:
    """A fused segmentation, the share of the foreground outside the map, and whether that was too much to remove."""

    segmentation: np.ndarray
    outside: float
    skipped: bool


@dataclass(frozen=True)
class Tuned:
    """The best parameters, the mean Dice with them, and the mean Dice without fusion."""

    parameters: FusionParameters
    dice: float
    dice_without: float


def fuse(
    segmentation: np.ndarray,
    affine: np.ndarray,
    attention: np.ndarray,
    attention_affine: np.ndarray,
    parameters: FusionParameters,
) -> Fused:
    """Remove the foreground outside the smoothed and thresholded map, unless that is more than `MAX_REMOVED` of it.

    Args:
        segmentation: label map (binary or not), 3-D; not changed.
        affine: of `segmentation`, 4x4, RAS mm.
        attention: spine fractions from 0 to 1, 3-D, on any grid.
        attention_affine: of `attention`, 4x4, RAS mm.
    """
    voxels = np.nonzero(segmentation)
    outside = attention_at(attention, attention_affine, voxels, affine, parameters.sigma_mm) < parameters.threshold
    share = float(outside.mean()) if outside.size else 0.0
    if share > MAX_REMOVED:
        return Fused(segmentation, share, True)
    result = segmentation.copy(order="K")
    result[tuple(index[outside] for index in voxels)] = 0
    return Fused(result, share, False)


def attention_at(
    attention: np.ndarray,
    attention_affine: np.ndarray,
    voxels: Sequence[np.ndarray],
    affine: np.ndarray,
    sigma_mm: float,
) -> np.ndarray:
    """The map after trilinear up-sampling and Gaussian smoothing, at some voxels of another grid.

    The smoothing happens on the map's own grid refined to half a standard deviation, not on the scan's: the same result
    to about 1 % of the map's range, for a small part of the memory and time. A cell beyond its outermost centres the
    map continues constantly; further out it is 0.

    Args:
        attention, attention_affine: the map and its affine.
        voxels: index array along each axis, n voxels, as `np.nonzero` returns them.
        affine: of the grid that `voxels` index.
        sigma_mm: standard deviation; 0 only up-samples.

    Returns:
        float32, (n,).
    """
    # one more cell all around: half of it belongs to the scan, up to the border of the outermost cells
    values = np.pad(np.asarray(attention, np.float32), 1, mode="edge")
    to_map = np.linalg.inv(np.asarray(attention_affine, float)) @ np.asarray(affine, float)
    offset = to_map[:3, 3] + 1  # of the padding
    if sigma_mm:
        cell_mm = spacing_mm(attention_affine)
        finest_mm = max(sigma_mm / 2, min(spacing_mm(affine)) / 2)  # finer than the scan would show nothing more
        factors = np.maximum(1, np.ceil(cell_mm / finest_mm)).astype(int)
        for axis, factor in enumerate(factors):
            values = _refined(values, axis, int(factor))
        values = ndimage.gaussian_filter(values, sigma_mm * factors / cell_mm, mode="nearest", truncate=TRUNCATE)
        # fine index = (cell index + 1/2) * factor - 1/2
        to_map, offset = to_map[:3, :3] * factors[:, None], (offset + 0.5) * factors - 0.5
    result = np.empty(len(voxels[0]), np.float32)
    for start in range(0, result.size, 1_000_000):  # coordinates take 24 bytes per voxel
        part = slice(start, start + 1_000_000)
        index = to_map[:3, :3] @ np.stack([v[part] for v in voxels]) + offset[:, None]  # (3, n)
        ndimage.map_coordinates(values, index, result[part], order=1, mode="constant", cval=0.0)
    return result


def _refined(values: np.ndarray, axis: int, factor: int) -> np.ndarray:
    """Linear interpolation to `factor` times as many cells that fill the same space along an axis."""
    n = values.shape[axis]
    position = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
    lower = np.minimum(position.astype(int), max(n - 2, 0))
    upper = np.minimum(lower + 1, n - 1)
    weight = (position - lower).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return values.take(lower, axis) * (1 - weight) + values.take(upper, axis) * weight


@dataclass(frozen=True)
class CaseScores:
    """Dice of the whole spine in one case: without fusion, and per pair of parameters with it."""

    without: float
    fused: dict[FusionParameters, float]


def score_case(
    segmentation: np.ndarray,
    affine: np.ndarray,
    attention: np.ndarray,
    attention_affine: np.ndarray,
    reference: np.ndarray,
    *,
    ignore_label: int | None = None,
    sigmas_mm: Iterable[float] = SIGMAS_MM,
    thresholds: Iterable[float] = THRESHOLDS,
) -> CaseScores:
    """Dice of foreground against background after `fuse` with each pair of parameters, guard included.

    Args:
        reference: label map on the grid of `segmentation`.
        ignore_label: of `reference`; these voxels count nowhere.

    Returns:
        Dice is 1 where both are empty.
    """
    counted = np.ones(reference.shape, bool) if ignore_label is None else reference != ignore_label
    in_reference = (reference != 0) & counted
    n_reference = int(in_reference.sum())
    voxels = np.nonzero(segmentation)
    counts, hits = counted[voxels], in_reference[voxels]

    def dice(kept: np.ndarray) -> float:
        n_kept = int((kept & counts).sum())
        return 2 * int((kept & hits).sum()) / (n_kept + n_reference) if n_kept + n_reference else 1.0

    everything = np.ones(len(voxels[0]), bool)
    fused = {}
    for sigma_mm in sigmas_mm:
        values = attention_at(attention, attention_affine, voxels, affine, sigma_mm)
        for threshold in thresholds:
            kept = values >= threshold
            if kept.size and 1 - kept.mean() > MAX_REMOVED:
                kept = everything
            fused[FusionParameters(sigma_mm, threshold)] = dice(kept)
    return CaseScores(dice(everything), fused)


def best_parameters(cases: Sequence[CaseScores]) -> Tuned:
    """Parameters with the highest mean Dice; of equals those that remove least.

    Raises:
        ValueError: no cases.
    """
    if not cases:
        raise ValueError("no cases to tune on")
    means = {parameters: float(np.mean([case.fused[parameters] for case in cases])) for parameters in cases[0].fused}
    best = max(means, key=lambda p: (means[p], -p.threshold, p.sigma_mm))
    return Tuned(best, means[best], float(np.mean([case.without for case in cases])))
