"""Names counted from a boundary between regions, as in Masuzawa et al. (2020)."""

import numpy as np

from nnunet_spine.anatomy import spine_sequence
from nnunet_spine.labelling.detections import INDEX, Scan
from nnunet_spine.labelling.rules import region_evidence

_SEQUENCE = spine_sequence(last_lumbar=6)


def count_from_boundary(scan: Scan) -> tuple[np.ndarray, str]:
    """States counted from the C/T or the T/L boundary, and what was counted from.

    Each detection takes its best-scoring region. The first thoracic one with a cervical one above it is T1; the last
    thoracic one with a lumbar one below it is T12; the others follow without gaps, down to L6, as the paper's
    instances are never sacral. The paper does not say what happens where both boundaries are in view and disagree: here
    the one with the larger margin counts, which is the smaller difference between best and second-best region among
    its two neighbours. With no boundary the paper counts from nothing, and so does this. Detections past either end of
    the sequence are rejected. Those whose region is unknown take part in the count, but not in finding the boundary.

    Args:
        scan: detections in cranio-caudal order.

    Returns:
        (n,) states, -1 rejected or unknown; and "C/T", "T/L" or "".
    """
    scores = region_evidence(scan)
    known = np.flatnonzero(np.isfinite(scores).all(1) & (np.nan_to_num(scores).sum(1) > 0))
    states = np.full(len(scan), -1)
    scores = scores[known]
    region = scores.argmax(1)
    ordered = np.sort(scores, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    cervical, thoracic, lumbar = (np.flatnonzero(region == r) for r in range(3))
    found = []  # (margin, name of the boundary, index of its thoracic detection, level of that one)
    for name, level, at, neighbour, other in (
        ("C/T", "T1", thoracic.min(initial=len(known)), -1, cervical.min(initial=len(known))),
        ("T/L", "T12", thoracic.max(initial=-1), 1, lumbar.max(initial=-1)),
    ):
        if len(thoracic) and neighbour * (other - at) > 0:
            found.append((min(margin[at], margin[at + neighbour]), name, known[at], level))
    if not found:
        return states, ""
    _, boundary, at, level = max(found)
    place = _SEQUENCE.index(level) + np.arange(len(scan)) - at
    inside = (place >= 0) & (place < len(_SEQUENCE))
    states[inside] = [INDEX[_SEQUENCE[p]] for p in place[inside]]
    return states, boundary
