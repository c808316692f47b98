"""Names counted from a boundary between regions, as in Masuzawa et al. (2020)."""

import numpy as np

from nnunet_spine.anatomy import spine_sequence
from nnunet_spine.labelling.detections import INDEX, Scan
from nnunet_spine.labelling.rules import region_evidence

_SEQUENCE = (*spine_sequence(), "S1")


def count_from_boundary(scan: Scan) -> tuple[np.ndarray, str]:
    """States counted from the C/T or the T/L boundary, and what was counted from.

    Each detection takes its best-scoring region. The first thoracic one below the last cervical one is T1; the last
    thoracic one above the first lumbar one is T12; the others follow without gaps. The paper does not say what happens
    where both boundaries are in view and disagree: here the one with the larger margin counts, which is the smaller
    difference between best and second-best region among its two neighbours. With no boundary the paper counts from
    nothing, and so does this. Detections past either end of the sequence are rejected.

    Args:
        scan: detections in cranio-caudal order.

    Returns:
        (n,) states, -1 rejected or unknown; and "C/T", "T/L" or "".
    """
    n = len(scan)
    scores = region_evidence(scan)
    states = np.full(n, -1)
    if n < 2 or not np.isfinite(scores).any():
        return states, ""
    scores = np.nan_to_num(scores, nan=0.0)
    region = scores.argmax(1)
    ordered = np.sort(scores, axis=1)
    margin = np.where(ordered[:, -1] > 0, ordered[:, -1] - ordered[:, -2], 0.0)
    found = []  # (margin, name of the boundary, index of its thoracic detection, level of that one)
    for name, upper, lower, level in (("C/T", 0, 1, "T1"), ("T/L", 1, 2, "T12")):
        above, below = np.flatnonzero(region == upper), np.flatnonzero(region == lower)
        if not len(above) or not len(below):
            continue
        last = above.max() if name == "C/T" else below.min() - 1
        if 0 <= last < n - 1:
            at = last + 1 if name == "C/T" else last
            found.append((min(margin[last], margin[last + 1]), name, at, level))
    if not found:
        return states, ""
    _, boundary, at, level = max(found)
    place = _SEQUENCE.index(level) + np.arange(n) - at
    inside = (place >= 0) & (place < len(_SEQUENCE))
    states[inside] = [INDEX[_SEQUENCE[p]] for p in place[inside]]
    return states, boundary
