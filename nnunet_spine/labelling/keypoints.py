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
_ROOM = 1.6  # distance between two bodies that leaves room for another one between them, same units
_NEXT = 1.6  # a body derived from one pedicle must be so near to the topmost known one, same units
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
    """Assign pedicles to bodies, and see a vertebra where pedicles show one that no body claims.

    The assignment has the least sum of squared mismatches with the usual offset of a pedicle, one pedicle per side and
    body. A pair of free pedicles shows a vertebra where the bodies leave room for one. Above the topmost body a single
    pedicle does, since the view often cuts a vertebra there; below the lowest one it may be part of the sacrum. A body
    derived from pedicles sits at the scan's own median offset from them.

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
    column = _Column(bodies, along, scale, usual)
    new = _from_pairs(free_left, free_right, column)
    if not any(body[2] > bodies[:, 2].max(initial=-np.inf) for body, _, _ in new):
        new += _from_one_at_the_top(free_left, free_right, column)
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


@dataclass(frozen=True)
class _Column:
    """Detected bodies (n, 3), their directions towards the head, their distance, and where their pedicles lie."""

    bodies: np.ndarray
    along: np.ndarray
    scale: float
    usual: np.ndarray

    def body_of(self, pedicles: np.ndarray) -> np.ndarray:
        """Body centre (3,) of a point between two pedicles."""
        axis = np.array([0.0, 0.0, 1.0])
        if len(self.bodies):
            axis = self.along[np.argmin(np.linalg.norm(self.bodies - pedicles, axis=1))]
        posterior = np.array([0.0, -1.0, 0.0]) + axis[1] * axis
        posterior /= np.linalg.norm(posterior)
        return pedicles - self.scale * (self.usual[0] * posterior + self.usual[1] * axis)

    def has_room(self, body: np.ndarray) -> bool:
        """Whether another vertebra fits there: beyond either end, or in a gap."""
        if not len(self.bodies):
            return True
        if np.linalg.norm(self.bodies - body, axis=1).min() <= _CLEAR * self.scale:
            return False
        above, below = (self.bodies[side] for side in (self.bodies[:, 2] > body[2], self.bodies[:, 2] <= body[2]))
        if not len(above) or not len(below):
            return True
        gap = above[np.argmin(above[:, 2])] - below[np.argmax(below[:, 2])]
        return float(np.linalg.norm(gap)) > _ROOM * self.scale


def _from_pairs(left: np.ndarray, right: np.ndarray, column: _Column) -> list[tuple[np.ndarray, ...]]:
    """(body, left, right) of each plausible pair of free pedicles where there is room for a vertebra."""
    across = right[None] - left[:, None]  # (left, right, 3)
    width, slope, depth = across[..., 0] / column.scale, *(np.abs(across[..., i]) / column.scale for i in (2, 1))
    plausible = (width > _PAIR_WIDTH[0]) & (width < _PAIR_WIDTH[1]) & (slope < _PAIR_SLOPE) & (depth < 2 * _PAIR_SLOPE)
    rows, columns = linear_sum_assignment(np.where(plausible, slope + depth, 10.0))
    found = []
    for i, j in zip(rows, columns, strict=True):
        body = column.body_of((left[i] + right[j]) / 2)
        if plausible[i, j] and column.has_room(body):
            found.append((body, left[i], right[j]))
    return found


def _from_one_at_the_top(left: np.ndarray, right: np.ndarray, column: _Column) -> list[tuple[np.ndarray, ...]]:
    """(body, left, right) of the topmost body's upper neighbour, if a free pedicle lies where one of its own would."""
    if not len(column.bodies):
        return []
    top = column.bodies[np.argmax(column.bodies[:, 2])]
    for points, side in ((left, -1), (right, 1)):
        for point in points:
            body = column.body_of(point - np.array([side * _OFFSET[0] * column.scale, 0, 0]))
            distance = float(np.linalg.norm(body - top)) / column.scale
            if body[2] > top[2] and _CLEAR < distance < _NEXT:
                nowhere = np.full(3, np.nan)
                return [(body, point, nowhere) if side < 0 else (body, nowhere, point)]
    return []
