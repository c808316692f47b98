"""Prices of the chain, fitted by likelihood on scans that the network did not see."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from nnunet_spine.labelling.chain import log_total, only_readings
from nnunet_spine.labelling.detections import Scan
from nnunet_spine.labelling.label import chain_of_scores
from nnunet_spine.labelling.network import Prices

_WORST = 25.0  # a scan whose reference the chain finds impossible counts so much, in nats


def fit_prices(
    scans: Sequence[Scan], log_scores: Sequence[np.ndarray], admissible: Sequence[np.ndarray], start: Prices
) -> Prices:
    """Temperature and odds of L6 that make the reference readings likeliest.

    The other prices stay: what a rejected detection costs is a policy rather than a fact (references leave out cut-off
    vertebrae), and other counts are too rare in VID to be fitted.

    Args:
        scans: detections.
        log_scores: (n, 28) of the network, per scan.
        admissible: (n, 28) bool, per scan, what each detection may be called.
        start: where to start, and the values of the other prices.
    """

    def with_prices(x: np.ndarray) -> Prices:
        return replace(start, temperature=float(np.exp(x[0])), l6=float(x[1]))

    def loss(x: np.ndarray) -> float:
        prices, total = with_prices(x), 0.0
        for scan, scores, states in zip(scans, log_scores, admissible, strict=True):
            if len(scan):
                chain, hypotheses = chain_of_scores(scan, scores, prices)
                lost = log_total(chain, hypotheses) - log_total(only_readings(chain, states), hypotheses)
                total += min(lost, _WORST)
        return total / max(len(scans), 1)

    first = np.array([np.log(start.temperature), start.l6])
    options = {
        "initial_simplex": first + np.array([[0, 0], [0.5, 0], [0, -1.0]]),
        "xatol": 0.1,
        "fatol": 1e-3,
        "maxfev": 20,
    }
    return with_prices(minimize(loss, first, method="Nelder-Mead", options=options).x)
