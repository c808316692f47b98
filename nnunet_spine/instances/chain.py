"""Where along the line one vertebra ends and the next begins: an exact semi-Markov chain over the profile.

Cuts are placed in the discs. Each interval between two cuts is a vertebra or empty (a level that is missing in the
mask). The cost says: a cut through bone is dear, unless the names change there; the middle of a vertebra is bone, that
of an empty interval is not; a vertebra is about as tall, disc included, as its body is deep (0.9 to 1.1 in the tables
of Panjabi et al. 1991, 1992, with the spacings of VerSe); neighbours are about equally tall.
"""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.instances.profile import Profile

SHORTEST_MM, TALLEST_MM = 9, 55
_PAD_MM = TALLEST_MM
_CUT, _NAME, _EMPTY = 6.0, 5.0, 2.5
_MIDDLE = 0.6  # share of an interval whose filling is asked for
_GROWTH, _GROWTH_SD, _GROWTH_CAP = 1.03, 0.12, 12.0
_DEPTH_SD, _DEPTH_CAP = 0.22, 16.0


@dataclass(frozen=True)
class Interval:
    """A stretch of the line, in millimetres from its first point: one vertebra, or what the mask shows of it."""

    start_mm: float
    stop_mm: float

    @property
    def middle_mm(self) -> float:
        return (self.start_mm + self.stop_mm) / 2

    @property
    def length_mm(self) -> float:
        return self.stop_mm - self.start_mm


def cut_into_vertebrae(profile: Profile) -> list[Interval]:
    """The cheapest chain of vertebrae along a line, from top to bottom; empty where there is no bone on the line.

    Exact: dynamic programming over all positions of a cut and all lengths of the interval above it.
    """
    if not (profile.filled > 0.3).any():
        return []
    filled = np.pad(np.clip(profile.filled, 0.05, 0.95), _PAD_MM, constant_values=np.nan)
    size = len(filled)
    bone, empty = (np.concatenate([[0], np.cumsum(np.nan_to_num(-np.log(p)))]) for p in (filled, 1 - filled))
    cut = _cut_costs(profile)
    depth = _depths(profile.radius_mm)
    lengths = np.arange(SHORTEST_MM, TALLEST_MM + 1)
    ratio = np.log(lengths[None] / lengths[:, None]) - np.log(_GROWTH)
    growth = np.minimum((ratio / _GROWTH_SD) ** 2 / 2, _GROWTH_CAP)  # (above, below)
    margin = np.rint(lengths * (1 - _MIDDLE) / 2).astype(int)

    best = np.full((size + 1, len(lengths)), np.inf)
    came = np.zeros((size + 1, len(lengths)), np.int32)  # -1: the chain starts with this interval
    is_empty = np.zeros((size + 1, len(lengths)), bool)
    for stop in range(SHORTEST_MM, size + 1):
        start = stop - lengths
        usable = start >= 0
        start = np.maximum(start, 0)
        first, last = start + margin, stop - margin
        fit = (np.log(lengths) - np.log(depth[(start + stop) // 2])) / _DEPTH_SD
        vertebra = bone[last] - bone[first] + np.minimum(fit**2 / 2, _DEPTH_CAP)
        gap = empty[last] - empty[first] + _EMPTY
        here = np.minimum(vertebra, gap)
        before = best[start] + growth.T  # rows: this interval; columns: the one above
        previous = before.argmin(1)
        follow = before[np.arange(len(lengths)), previous] + cut[start]
        alone = np.where(gap < vertebra, np.inf, empty[start])  # all above the chain has to be empty
        best[stop] = np.where(usable, here + np.minimum(follow, alone), np.inf)
        came[stop] = np.where(alone <= follow, -1, previous)
        is_empty[stop] = gap < vertebra
    total = best + (empty[-1] - empty)[:, None] + np.where(is_empty, np.inf, 0)
    stop, k = np.unravel_index(int(total.argmin()), total.shape)
    out = []
    while True:
        start = stop - lengths[k]
        if not is_empty[stop, k]:
            out.append(Interval(float(start - _PAD_MM), float(stop - _PAD_MM)))
        k, stop = came[stop, k], start
        if k < 0:
            break
    bone_at = np.flatnonzero(profile.filled > 0.3)
    first, last = float(bone_at[0]), float(bone_at[-1] + 1)
    inside = [Interval(max(i.start_mm, first), min(i.stop_mm, last)) for i in out[::-1]]
    return [i for i in inside if i.length_mm > 0]


def _cut_costs(profile: Profile) -> np.ndarray:
    """Cost of a cut before each position of the padded line, (size + 1,)."""
    kernel = np.ones(3) / 3
    through = np.convolve(np.pad(profile.filled, 1, mode="edge"), kernel, "valid")
    cost = _CUT * through - _NAME * profile.name_change
    return np.pad(cost, (_PAD_MM, _PAD_MM + 1))


def _depths(radius_mm: np.ndarray) -> np.ndarray:
    """Expected height of a vertebra with its disc at each position of the padded line: the depth of its body."""
    n = len(radius_mm)
    reach = 20
    local = np.array(
        [np.quantile(radius_mm[max(0, i - reach) : i + reach + 1], 0.8, method="nearest") for i in range(n)]
    )
    usable = local[local > 0]
    local = np.where(local > 0, local, np.median(usable) if usable.size else 12.0)
    return np.pad(np.clip(2 * local, 12, 45), (_PAD_MM, _PAD_MM + 1), mode="edge")
