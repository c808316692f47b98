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


def doubt_losses(
    scans: Sequence[Scan], log_scores: Sequence[np.ndarray], admissible: Sequence[np.ndarray], prices: Prices
) -> np.ndarray:
    """(scans, doubts) negative log probability of the reference names, each by itself, summed over a scan.

    Args:
        scans: detections.
        log_scores: (n, 28) of the network, per scan.
        admissible: (n, 28) bool, per scan, what each detection may be called; those with one choice count.
        prices: all others.
    """
    losses = np.zeros((len(scans), len(DOUBTS)))
    for i, (scan, scores, states) in enumerate(zip(scans, log_scores, admissible, strict=True)):
        certain = states.sum(1) == 1
        for j, doubt in enumerate(DOUBTS if certain.any() else ()):
            found = posterior(*chain_of_scores(scan, scores, replace(prices, doubt=doubt))).states
            losses[i, j] = -np.log(np.maximum(found[certain][states[certain]], _LEAST)).sum()
    return losses
