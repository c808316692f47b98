"""Loose keypoints (body centres, left and right pedicles) put together to vertebrae."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

# Pedicle seen from its body: lateral, posterior, cranial, in units of the distance between neighbouring bodies; medians
# and robust spread over levels of VID (Bürgin et al. 2023).
_OFFSET = np.array([0.50, 0.72, 0.22])
_SPREAD = np.array([0.16, 0.15, 0.12])
_FARTHEST = 4.5  # a worse mismatch, in spreads, is no match
_PAIR_WIDTH = (0.4, 2.2)  # distance between the pedicles of one vertebra, same units
_PAIR_SLOPE = 0.35  # largest difference of their heights, same units
_CLEAR = 0.55  # a body derived from pedicles must be so far from every other body, same units
_FALLBACK_MM = 30.0  # distance between bodies where none can be measured


@dataclass(frozen=True)
class Vertebrae:
    """Keypoints by vertebra; NaN where unknown.

    Attributes:
        body_mm, left_mm, right_mm: (n, 3) RAS.
        estimated: (n,) whether the body was derived from the pedicles.
    """

    body_mm: np.ndarray
    left_mm: np.ndarray
    right_mm: np.ndarray
    estimated: np.ndarray


def group_keypoints(bodies_mm: np.ndarray, left_mm: np.ndarray, right_mm: np.ndarray) -> Vertebrae:
    """Assign pedicles to bodies, and see a vertebra in each pair of pedicles that no body claims.

    The assignment has the least sum of squared mismatches with the usual offset of a pedicle, one pedicle per side and
    body. A body derived from pedicles sits at the scan's own median offset from them.

    Args:
        bodies_mm, left_mm, right_mm: (n, 3), (l, 3), (r, 3) RAS, in any order; each may be empty.

    Returns:
        The n bodies as given, then those derived from pedicles.
    """
    bodies, left, right = (np.asarray(p, float).reshape(-1, 3) for p in (bodies_mm, left_mm, right_mm))
    scale, along = body_distance_mm(bodies), _directions(bodies)
    of_body = {}
    offsets = [np.zeros((0, 2))]
    for name, points, side in (("left", left, -1), ("right", right, 1)):
        seen = _local(points[None] - bodies[:, None], along[:, None], side) / scale  # (bodies, points, 3)
        mismatch = (((seen - _OFFSET) / _SPREAD) ** 2).sum(-1)
        rows, columns = linear_sum_assignment(np.minimum(mismatch, _FARTHEST**2))
        good = mismatch[rows, columns] < _FARTHEST**2
        of_body[name] = dict(zip(rows[good].tolist(), columns[good].tolist(), strict=True))
        offsets.append(seen[rows[good], columns[good], 1:])
    usual = np.median(np.concatenate(offsets), axis=0) if sum(map(len, offsets)) >= 4 else _OFFSET[1:]
    free_left = left[sorted(set(range(len(left))) - set(of_body["left"].values()))]
    free_right = right[sorted(set(range(len(right))) - set(of_body["right"].values()))]
    new = _from_pairs(free_left, free_right, bodies, along, scale, usual)
    nowhere = np.full((len(bodies), 3), np.nan)
    columns = [bodies, nowhere.copy(), nowhere.copy()]
    for column, points, name in ((1, left, "left"), (2, right, "right")):
        for body, point in of_body[name].items():
            columns[column][body] = points[point]
    stacked = [np.concatenate([known, np.array([v[i] for v in new]).reshape(-1, 3)]) for i, known in enumerate(columns)]
    return Vertebrae(*stacked, np.arange(len(stacked[0])) >= len(bodies))


def body_distance_mm(bodies_mm: np.ndarray) -> float:
    """Median distance between bodies that follow each other from head to foot; 30 mm for fewer than two."""
    if len(bodies_mm) < 2:
        return _FALLBACK_MM
    ordered = bodies_mm[np.argsort(-bodies_mm[:, 2], kind="stable")]
    return max(float(np.median(np.linalg.norm(np.diff(ordered, axis=0), axis=1))), 1.0)


def _directions(bodies: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) towards the head along the column, from the neighbours of each body."""
    along = np.tile([0.0, 0.0, 1.0], (len(bodies), 1))
    order = np.argsort(-bodies[:, 2], kind="stable")
    for place, i in enumerate(order):
        step = bodies[order[max(place - 1, 0)]] - bodies[order[min(place + 1, len(order) - 1)]]
        if step[2] > 0.5 * np.linalg.norm(step) > 0:  # duplicates and lateral false detections give no direction
            along[i] = step / np.linalg.norm(step)
    return along


def _local(vectors: np.ndarray, along: np.ndarray, side: int) -> np.ndarray:
    """Lateral (away from the midline), posterior and cranial parts of RAS vectors (..., 3)."""
    posterior = np.array([0.0, -1.0, 0.0]) + along[..., 1:2] * along
    posterior = posterior / np.linalg.norm(posterior, axis=-1, keepdims=True)
    return np.stack([side * vectors[..., 0], (vectors * posterior).sum(-1), (vectors * along).sum(-1)], -1)


def _from_pairs(left, right, bodies, along, scale, usual) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(body, left, right) of each plausible pair of free pedicles whose body is clear of all known ones."""
    across = right[None] - left[:, None]  # (left, right, 3)
    width, slope = across[..., 0] / scale, np.abs(across[..., 2]) / scale
    depth = np.abs(across[..., 1]) / scale
    plausible = (width > _PAIR_WIDTH[0]) & (width < _PAIR_WIDTH[1]) & (slope < _PAIR_SLOPE) & (depth < 2 * _PAIR_SLOPE)
    rows, columns = linear_sum_assignment(np.where(plausible, slope + depth, 10.0))
    found = []
    for i, j in zip(rows, columns, strict=True):
        if not plausible[i, j]:
            continue
        middle = (left[i] + right[j]) / 2
        axis = np.array([0.0, 0.0, 1.0])
        if len(bodies):
            axis = along[np.argmin(np.linalg.norm(bodies - middle, axis=1))]
        posterior = np.array([0.0, -1.0, 0.0]) + axis[1] * axis
        posterior /= np.linalg.norm(posterior)
        body = middle - scale * (usual[0] * posterior + usual[1] * axis)
        if not len(bodies) or np.linalg.norm(bodies - body, axis=1).min() > _CLEAR * scale:
            found.append((body, left[i], right[j]))
    return found
