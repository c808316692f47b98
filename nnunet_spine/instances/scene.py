"""What is known of a label map on the working grid: its pieces, the centre line, the cores and territories of bones."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from nnunet_spine.instances.centre_line import centre_line
from nnunet_spine.instances.chain import Interval, cut_into_vertebrae
from nnunet_spine.instances.fragments import Fragments
from nnunet_spine.instances.grid import WorkingGrid
from nnunet_spine.instances.profile import Profile, read_profile
from nnunet_spine.instances.territory import territories

CORE = 0.6  # share of an interval, around its middle
_CORE_RADIUS_MM = 7.0


@dataclass(frozen=True)
class Scene:
    """A label map on the working grid.

    Attributes:
        grid: the grid of the four volumes.
        ids: piece of each voxel.
        cores: core of each voxel, 1 at the top, 0 none.
        territories: core with the shortest way to each voxel.
        labels: label of each voxel.
        intervals: stretch of the line of each core.
        profile: cross-sections along the line; None without a line.
        line_mm: mean position of each piece along the line, (number of pieces + 1,).
        away_mm: mean distance of each piece from the line, (number of pieces + 1,).
    """

    grid: WorkingGrid
    ids: np.ndarray
    cores: np.ndarray
    territories: np.ndarray
    labels: np.ndarray
    intervals: tuple[Interval, ...]
    profile: Profile | None
    line_mm: np.ndarray
    away_mm: np.ndarray

    @classmethod
    def of(cls, part: np.ndarray, affine: np.ndarray, fragments: Fragments, grid: WorkingGrid) -> "Scene":
        """Look at a label map (`part`, `affine`) and its pieces on a grid."""
        labels, ids = grid.sample(part, affine), grid.sample(fragments.ids, affine)
        line = centre_line(labels > 0, grid.step_mm)
        at = np.full(len(fragments.labels), np.nan)
        if len(line) < 2:
            nothing = np.zeros(ids.shape, np.int32)
            return cls(grid, ids, nothing, nothing, labels, (), None, at, at)
        profile = read_profile(labels, line, grid.step_mm)
        intervals = tuple(_without_dens(cut_into_vertebrae(profile), profile))
        index = np.argwhere(labels > 0)
        position, distance = _nearest_on_line(index, profile, grid.step_mm)
        cores = np.zeros(ids.shape, np.int32)
        for number, interval in enumerate(intervals, start=1):
            reach = interval.length_mm * CORE / 2
            inside = (abs(position - interval.middle_mm) <= reach) & (distance <= _CORE_RADIUS_MM)
            cores[tuple(index[inside].T)] = number
        pieces = ids[tuple(index.T)]
        count = np.maximum(np.bincount(pieces, minlength=len(at)), 1)
        at, away = (np.bincount(pieces, values, minlength=len(at)) / count for values in (position, distance))
        return cls(grid, ids, cores, territories(ids, cores, grid.step_mm), labels, intervals, profile, at, away)


def _nearest_on_line(index: np.ndarray, profile: Profile, step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Position along the line (mm) of the cross-section that each voxel lies in, and its distance from the line."""
    distance, nearest = cKDTree(profile.points).query(index)
    return nearest.astype(float), distance * step_mm


def _without_dens(intervals: list[Interval], profile: Profile) -> list[Interval]:
    """Join the topmost interval to the next if it is a thin peg on it with no disc between: the dens of C2."""
    if len(intervals) < 2:
        return intervals
    top, second = intervals[:2]
    bridge = filled_between(profile, top.stop_mm - 3, top.stop_mm + 3).max()
    thick = [np.median(filled_between(profile, *middle_of(i))) for i in (top, second)]
    touching = top.stop_mm == second.start_mm
    if touching and thick[0] < 0.75 * thick[1] and bridge > 0.7 * thick[0]:
        return [Interval(top.start_mm, second.stop_mm), *intervals[2:]]
    return intervals


def middle_of(interval: Interval) -> tuple[float, float]:
    """Where the core of an interval starts and stops."""
    reach = interval.length_mm * CORE / 2
    return interval.middle_mm - reach, interval.middle_mm + reach


def filled_between(profile: Profile, start_mm: float, stop_mm: float) -> np.ndarray:
    """Filling of the cross-sections of a stretch; at least one value."""
    n = len(profile.filled)
    first = int(np.clip(round(start_mm), 0, n - 1))
    return profile.filled[first : max(first + 1, min(n, round(stop_mm)))]
