"""How much to doubt the chain, found on scans that the network did not see."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nnunet_spine.labelling.chain import posterior
from nnunet_spine.labelling.detections import Scan
from nnunet_spine.labelling.label import chain_of_scores
from nnunet_spine.labelling.network import Prices

DOUBTS = (1.0, 1.5, 2.0, 2.5, 3.0)
_LEAST = 1e-4  # probability that counts as none


def fit_doubt(
    scans: Sequence[Scan], log_scores: Sequence[np.ndarray], admissible: Sequence[np.ndarray], prices: Prices
) -> Prices:
    """The same prices with the doubt that makes the reference names likeliest, each by itself.

    Args:
        scans: detections.
        log_scores: (n, 28) of the network, per scan.
        admissible: (n, 28) bool, per scan, what each detection may be called; those with one choice count.
        prices: all others.
    """

    def loss(doubt: float) -> float:
        lost = []
        for scan, scores, states in zip(scans, log_scores, admissible, strict=True):
            certain = states.sum(1) == 1
            if certain.any():
                found = posterior(*chain_of_scores(scan, scores, replace(prices, doubt=doubt))).states
                lost.append(-np.log(np.maximum(found[certain][states[certain]], _LEAST)))
        return float(np.concatenate(lost).mean()) if lost else 0.0

    return replace(prices, doubt=min(DOUBTS, key=loss))
