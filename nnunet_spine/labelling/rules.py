"""The hand-tuned score: region and level evidence, and distances, against a table."""

import numpy as np

from nnunet_spine.anatomy import NAMES, SPACING_MM
from nnunet_spine.labelling.anatomies import Rarity, anatomies
from nnunet_spine.labelling.chain import Chain, Hypotheses
from nnunet_spine.labelling.detections import STATES, Scan

_REGION_WEIGHT = 1.5
_FLOOR = 0.02  # of a probability, so that one wrong detection cannot outvote the rest
_SACRUM = -0.7  # log score of a sacral body beside a lumbar one
_MISSED = -4.0
_REJECTED = -11.0
_SPACING_WEIGHT, _SPACING_SD, _SPACING_CAP = 0.5, 0.10, 24.0
_SCALES = np.array([0.8, 0.9, 1.0, 1.1, 1.22])  # around the estimated one
_REGION_OF_STATE = np.array(["CTL".index(name[0].replace("S", "L")) for name in STATES])


def rules_chain(scan: Scan, rarity: Rarity | None) -> tuple[Chain, Hypotheses]:
    """Chain and hypotheses of the hand-tuned score.

    Weights come from random searches on 500 scans of VID. The size of the body is a hypothesis, around the one that
    the evidence suggests. Unlike with the learned score, pedicles are not used: they gained nothing.

    Args:
        scan: detections in cranio-caudal order.
        rarity: prices of other counts than 12 and 5; None forbids them.
    """
    regions = _REGION_WEIGHT * normalised_log(region_evidence(scan), _FLOOR)
    named = regions[:, _REGION_OF_STATE] * scan.completeness[:, None]
    named[:, -1] += _SACRUM
    named += level_scores(scan)
    rejected = np.full(len(scan), _REJECTED)
    chain = Chain(named, rejected, rejected, _MISSED, scan.position_mm, _SPACING_WEIGHT, _SPACING_SD, _SPACING_CAP)
    return chain, anatomies(rarity, _SCALES * body_scale(scan, named))


def body_scale(scan: Scan, scores: np.ndarray) -> float:
    """Size of the body against the table of distances, if the scores are right: median over neighbouring detections.

    It grows with the body, so that the names of a larger body are the same.

    Args:
        scan: detections in cranio-caudal order.
        scores: (n, 27) log scores of the states.
    """
    if len(scan) < 2:
        return 1.0
    p = np.exp(scores[:, :-1] - scores[:, :-1].max(1, keepdims=True))
    expected = p @ np.array([SPACING_MM[name] for name in NAMES]) / p.sum(1)
    distance = np.linalg.norm(np.diff(scan.position_mm, axis=0), axis=1)
    return max(float(np.median(distance / expected[:-1])), 0.01)


def region_evidence(scan: Scan) -> np.ndarray:
    """(n, 3) scores of cervical, thoracic, lumbar: as given, else summed from the levels, else NaN."""
    by_level = np.stack([scan.levels[:, r == _REGION_OF_STATE].sum(1) for r in range(3)], axis=1)
    return np.where(np.isfinite(scan.regions).all(1, keepdims=True), scan.regions, np.clip(by_level, 0, 1))


def level_scores(scan: Scan, floor: float = _FLOOR) -> np.ndarray:
    """(n, 27) log of the evidence per level, 0 for the best supported one and where nothing is known.

    Nobody trains detectors of single sacral bodies, so S1 counts as well supported as the last lumbar levels.
    """
    levels = scan.levels.copy()
    levels[:, -1] = np.maximum(levels[:, -1], levels[:, -3:-1].max(1))
    scores = normalised_log(levels, floor)
    return (scores - scores.max(1, keepdims=True, initial=-np.inf)) * scan.completeness[:, None]


def normalised_log(scores: np.ndarray, floor: float) -> np.ndarray:
    """Log of scores divided by their sum and floored; 0 in rows that are unknown or all zero."""
    total = scores.sum(1, keepdims=True)
    known = np.isfinite(total) & (total > 0)
    share = np.where(known, scores, 1.0) / np.where(known, total, 1.0)
    return np.where(known, np.log(np.maximum(share, floor)), 0.0)
