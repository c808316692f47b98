"""Exact inference against the enumeration of all readings."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import logsumexp

from nnunet_spine.labelling.anatomies import Rarity, anatomies
from nnunet_spine.labelling.chain import Chain, Hypotheses, best_reading, log_total, only_readings, posterior
from nnunet_spine.labelling.detections import INDEX, N_STATES


def random_hypotheses(rng: np.random.Generator, n_states: int) -> Hypotheses:
    """One to three spines, each of which may lack some states."""
    count = int(rng.integers(1, 4))
    rank, offset = np.full((count, n_states), -1), np.zeros((count, n_states))
    for h in range(count):
        present = np.flatnonzero(rng.random(n_states) < 0.8)
        rank[h, present] = np.arange(len(present))
        offset[h, present] = np.cumsum(rng.uniform(15, 35, len(present)))
    return Hypotheses(rng.normal(size=count), rank, offset, tuple(range(count)))


def random_chain(rng: np.random.Generator, n: int, n_states: int) -> Chain:
    named = rng.normal(scale=3, size=(n, n_states))
    named[rng.random(named.shape) < 0.05] = -np.inf
    return Chain(
        named,
        rng.normal(-2, 2, n),
        rng.normal(-2, 2, n),
        -float(rng.uniform(0, 4)),
        np.cumsum(rng.normal([0, 0, -25], 10, (n, 3)), axis=0),
        float(rng.choice([0.0, 0.5, 2.0])),
        0.1,
        12.0,
        int(rng.integers(0, 4)),
    )


def score(states: tuple[int, ...], h: int, chain: Chain, hypotheses: Hypotheses) -> float:
    """The definition of a reading's log score, in plain loops; -1 is a rejected detection."""
    total = float(hypotheses.log_prior[h])
    previous = None
    for i, s in enumerate(states):
        if s < 0:
            inside = previous is not None and any(t >= 0 for t in states[i + 1 :])
            total += chain.rejected[i] if inside else chain.rejected_at_end[i]
            continue
        if hypotheses.rank[h, s] < 0:
            return -np.inf
        total += chain.named[i, s]
        if previous is not None:
            if i - previous - 1 > chain.most_rejected:
                return -np.inf
            step = hypotheses.rank[h, s] - hypotheses.rank[h, states[previous]]
            if step < 1:
                return -np.inf
            total += chain.missed * (step - 1)
            way = hypotheses.offset_mm[h, s] - hypotheses.offset_mm[h, states[previous]]
            off = (np.linalg.norm(chain.position_mm[i] - chain.position_mm[previous]) / way - 1) / chain.spacing_sd
            total -= chain.spacing_weight * min(off**2 / 2, chain.spacing_cap)
        previous = i
    return total


def all_readings(n: int, n_states: int):
    """Every monotone reading; others score -inf by definition."""
    for count in range(min(n, n_states) + 1):
        for where in combinations(range(n), count):
            for names in combinations(range(n_states), count):
                states = [-1] * n
                for i, s in zip(where, names, strict=True):
                    states[i] = s
                yield tuple(states)


@pytest.mark.parametrize("seed", range(4))
def test_best_reading_and_probabilities_equal_those_of_all_readings(seed):
    rng = np.random.default_rng(seed)
    for _ in range(750):
        n, n_states = int(rng.integers(0, 5)), int(rng.integers(1, 5))
        hypotheses, chain = random_hypotheses(rng, n_states), random_chain(rng, n, n_states)
        readings = [(s, h) for s in all_readings(n, n_states) for h in range(len(hypotheses.key))]
        scores = np.array([score(s, h, chain, hypotheses) for s, h in readings])

        best = best_reading(chain, hypotheses)
        assert best.log_score == pytest.approx(scores.max(), abs=1e-9)
        assert score(tuple(best.states), best.hypothesis, chain, hypotheses) == pytest.approx(scores.max(), abs=1e-9)

        found = posterior(chain, hypotheses)
        weights = np.exp(scores - logsumexp(scores))
        states, by_hypothesis = np.zeros((n, n_states + 1)), np.zeros(len(hypotheses.key))
        for (reading, h), weight in zip(readings, weights, strict=True):
            by_hypothesis[h] += weight
            for i, s in enumerate(reading):
                states[i, s] += weight
        assert found.log_total == pytest.approx(logsumexp(scores), abs=1e-9)
        np.testing.assert_allclose(found.states, states, atol=1e-9)
        np.testing.assert_allclose(found.hypotheses, by_hypothesis, atol=1e-9)

        exactly = np.arange(n_states + 1)[None] == (best.states % (n_states + 1))[:, None]
        same = [i for i, (reading, _) in enumerate(readings) if reading == tuple(best.states)]
        only = log_total(only_readings(chain, exactly), hypotheses)
        assert only == pytest.approx(logsumexp(scores[same]), abs=1e-6)


def test_long_noise_keeps_probabilities_finite():
    rng = np.random.default_rng(0)
    chain = Chain(rng.normal(scale=300, size=(60, N_STATES)), np.full(60, -5.0), np.full(60, -5.0), -4.0)
    found = posterior(chain, anatomies(Rarity()))
    np.testing.assert_allclose(found.states.sum(1), 1, atol=1e-9)


def test_sequences_of_a_spine():
    usual, *others = anatomies(Rarity()).key
    assert usual == (12, 5, 1.0)
    assert len(others) == 8
    only = anatomies(None, body_scales=[0.9, 1.1])
    assert [key[:2] for key in only.key] == [(12, 5)] * 2
    assert (only.rank[:, [INDEX["T13"], INDEX["L6"]]] == -1).all()
    way = only.offset_mm[:, INDEX["L1"]] - only.offset_mm[:, INDEX["T12"]]
    np.testing.assert_allclose(way, [0.9 * 32.4, 1.1 * 32.4])
