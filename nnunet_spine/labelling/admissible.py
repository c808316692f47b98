"""What each detection may be called, by the reference levels of its scan: what networks learn from.

A detection near a reference body has its level. One beyond the ends of the reference, which leaves out cut-off
vertebrae and the sacrum, has the level it would have there, or none; other unmatched detections are no vertebra.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from nnunet_spine.labelling.detections import INDEX, N_STATES, STATES, Scan

MATCH_MM = 20.0
_DUPLICATE_MM = 12.0
_NONE = N_STATES


def admissible_states(scan: Scan, reference: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """What each detection may be called, (n, 28) bool.

    Args:
        scan: detections in cranio-caudal order.
        reference: (level, body centre) in cranio-caudal order.
    """
    admissible = np.zeros((len(scan), N_STATES + 1), bool)
    if not len(scan):
        return admissible
    levels = np.array([INDEX[name] for name, _ in reference])
    distance = np.linalg.norm(scan.position_mm[:, None] - np.array([p for _, p in reference])[None], axis=2)
    rows, columns = linear_sum_assignment(np.minimum(distance, MATCH_MM))
    near = distance[rows, columns] < MATCH_MM
    level_of = dict(zip(rows[near].tolist(), levels[columns[near]].tolist(), strict=True))
    admissible[:, _NONE] = True
    for i, level in level_of.items():
        admissible[i] = False
        admissible[i, level] = True
    if not level_of:
        return admissible
    first, last = min(level_of), max(level_of)
    for i in set(range(len(scan))) - level_of.keys():
        if distance[i].min() < _DUPLICATE_MM:
            continue
        if i < first:
            admissible[i] |= _beyond(level_of[first], first - i, _above, ended=level_of[first] == levels[0])
        elif i > last:
            admissible[i] |= _beyond(level_of[last], i - last, _below, ended=level_of[last] == levels[-1])
        elif _around_t13(scan, level_of, i):
            admissible[i, INDEX["T13"]] = True
    return admissible


def _beyond(level: int, steps: int, neighbour: Callable[[int], int], *, ended: bool) -> np.ndarray:
    """States that many levels past the last matched one; all of them if the reference goes on there."""
    states = np.zeros(N_STATES + 1, bool)
    if not ended:
        return ~states
    for _ in range(steps):
        level = neighbour(level)
    if 0 <= level < N_STATES:
        states[level] = True
    return states


def _above(level: int) -> int:
    return INDEX["T12"] if level == INDEX["L1"] else level - 1


def _below(level: int) -> int:
    return {INDEX["T12"]: INDEX["L1"], INDEX["L5"]: INDEX["S1"]}.get(level, level + 1)


def _around_t13(scan: Scan, level_of: dict[int, int], i: int) -> bool:
    """Whether an unmatched detection sits in a gap between T12 and L1 that is wide enough for another level."""
    above, below = max(k for k in level_of if k < i), min(k for k in level_of if k > i)
    gap = np.linalg.norm(scan.position_mm[above] - scan.position_mm[below])
    return (STATES[level_of[above]], STATES[level_of[below]]) == ("T12", "L1") and gap > 50
