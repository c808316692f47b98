"""What the network sees of each detection: numbers that neither mirroring nor scaling a body changes.

Lengths are divided by the scan's median distance between neighbouring detections, and the sign of x is dropped.
"""

import numpy as np

from nnunet_spine.labelling.detections import Scan
from nnunet_spine.labelling.keypoints import body_distance_mm

HIDEABLE = ("regions", "pedicles")
"""Groups of features that may be unknown; positions always are known."""

_STEPS = (-2, -1, 1, 2)
N_FEATURES = 5 * len(_STEPS) + 6 + 4 + 11


def features(scan: Scan, hide: frozenset[str] = frozenset()) -> np.ndarray:
    """Features (n, N_FEATURES) float32 of the detections of one scan, about -3 to 3 each; what is unknown is 0.

    Args:
        scan: detections in cranio-caudal order.
        hide: groups to blank, as if nothing were known.
    """
    if not len(scan):
        return np.zeros((0, N_FEATURES), np.float32)
    unit_mm = body_distance_mm(scan.position_mm)
    blocks = {
        "positions": _positions(scan.position_mm / unit_mm, scan.estimated),
        "regions": _regions(scan),
        "pedicles": _pedicles(scan, unit_mm),
    }
    for group in hide:
        blocks[group] = np.zeros_like(blocks[group])
    return np.concatenate(list(blocks.values()), axis=1).astype(np.float32)


def _positions(points: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """Steps to the neighbours, way and number of detections to either end, slope."""
    n = len(points)
    index = np.arange(n)
    out = []
    for step in _STEPS:
        other = index + step
        there = (other >= 0) & (other < n)
        vector = (points[np.clip(other, 0, n - 1)] - points) / abs(step)
        vector[:, 0] = np.abs(vector[:, 0])
        length = np.linalg.norm(vector, axis=1, keepdims=True)
        vector[:, 2] -= -np.sign(step)
        out.append(np.clip(np.concatenate([vector, length - 1], 1), -3, 3) * there[:, None])
        out.append(there[:, None].astype(float))
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    slope = points[np.clip(index + 1, 0, n - 1)] - points[np.clip(index - 1, 0, n - 1)]
    angle = np.arctan2(slope[:, 1], -slope[:, 2] + 1e-9)
    ends = [way / 10, (way[-1] - way) / 10, index / 10, (n - 1 - index) / 10, np.clip(angle, -1.5, 1.5), estimated]
    return np.concatenate([*out, np.stack(ends, 1)], axis=1)


def _regions(scan: Scan) -> np.ndarray:
    """Logits of the three scores, shrunk where a vertebra is cut off, and whether they are known."""
    known = np.isfinite(scan.regions).all(1, keepdims=True)
    p = np.clip(np.nan_to_num(scan.regions, nan=0.5), 0.01, 0.99)
    logits = np.log(p / (1 - p)) * scan.completeness[:, None]
    return np.concatenate([logits / 3, np.ones_like(p[:, :1])], axis=1) * known


def _pedicles(scan: Scan, unit_mm: float) -> np.ndarray:
    """Offset of the pedicles from the body (mean of the sides known), their distance, their skewness."""
    sides = np.stack([scan.left_mm, scan.right_mm]) - scan.position_mm  # (2, n, 3)
    known = np.isfinite(sides).all(-1)
    sides = np.nan_to_num(sides / unit_mm)
    lateral = np.abs(sides[..., 0])
    count = np.maximum(known.sum(0), 1)
    mean = [(lateral * known).sum(0) / count, sides[..., 1].sum(0) / count, sides[..., 2].sum(0) / count]
    both = known.all(0)
    across = sides[1] - sides[0]
    width = np.linalg.norm(across, axis=1)
    skew = [np.abs(lateral[0] - lateral[1]), np.abs(across[:, 1]), np.abs(across[:, 2])]
    change = np.zeros(len(scan))  # of the width from the detection above
    if len(scan) > 1:
        change[1:] = (width[1:] - width[:-1]) * (both[1:] & both[:-1])
    some = known.any(0)
    known_any = [3 * (mean[0] - 0.5) * some, 3 * (mean[1] + 0.72) * some, 3 * (mean[2] - 0.2) * some]
    known_both = [3 * (width - 1) * both, *(3 * s * both for s in skew), 5 * change]
    return np.clip(np.stack([*known_any, *known_both, some, both, known[0] ^ known[1]], 1), -3, 3)
