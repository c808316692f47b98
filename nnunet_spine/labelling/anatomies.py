"""Sequences of levels that a spine can have, and how far apart their bodies lie."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.anatomy import SPACING_MM, spine_sequence
from nnunet_spine.labelling.chain import Hypotheses
from nnunet_spine.labelling.detections import INDEX, N_STATES


@dataclass(frozen=True)
class Rarity:
    """Price, as positive log odds against the usual count, of a spine with another one."""

    t11: float = 3.0
    t13: float = 5.0
    l4: float = 5.0
    l6: float = 3.0


def anatomies(rarity: Rarity | None, body_scales: np.ndarray | None = None) -> Hypotheses:
    """Every spine of 11 to 13 thoracic and 4 to 6 lumbar levels, at every body scale.

    Args:
        rarity: prices; None: only the usual 12 and 5.
        body_scales: factors on the usual distances, all equally likely; None: 1.

    Returns:
        Keys are (last thoracic, last lumbar, body scale); the usual spine comes first.
    """
    thoracic = {12: 0.0} if rarity is None else {12: 0.0, 11: rarity.t11, 13: rarity.t13}
    lumbar = {5: 0.0} if rarity is None else {5: 0.0, 4: rarity.l4, 6: rarity.l6}
    scales = np.ones(1) if body_scales is None else np.asarray(body_scales, float)
    prior, ranks, offsets, keys = [], [], [], []
    for t, price_t in thoracic.items():
        for n, price_n in lumbar.items():
            sequence = (*spine_sequence(last_thoracic=t, last_lumbar=n), "S1")
            states = [INDEX[name] for name in sequence]
            rank, offset = np.full(N_STATES, -1), np.zeros(N_STATES)
            rank[states] = np.arange(len(states))
            offset[states] = np.concatenate([[0.0], np.cumsum([SPACING_MM[name] for name in sequence[:-1]])])
            for scale in scales:
                prior.append(-price_t - price_n)
                ranks.append(rank)
                offsets.append(scale * offset)
                keys.append((t, n, float(scale)))
    return Hypotheses(np.array(prior), np.array(ranks), np.array(offsets), tuple(keys))
