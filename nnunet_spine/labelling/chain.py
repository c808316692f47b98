"""Exact inference over chains: which detection is which level, given a score for each name and each step.

A reading of a scan names some detections, in strictly descending order of level, and rejects the others. Its log score
is the sum of a score per named detection, a price per rejected one, a price per level passed over between two named
detections, and optionally a term for the distance between them. The spine's own sequence (11 to 13 thoracic, 4 to 6
lumbar levels) and the size of the body are hypotheses common to the whole scan: each has its own chain, all are
solved, and the best reading is the best of all; probabilities sum over all of them. Nothing is pruned or approximated.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

_BARRED = -1e6  # as good as -inf, and sums of it can be subtracted from each other


@dataclass(frozen=True)
class Hypotheses:
    """What holds for a whole scan, one row per hypothesis.

    Attributes:
        log_prior: (h,) log weight.
        rank: (h, 27) place of each state in the sequence of levels; -1: this spine lacks it.
        offset_mm: (h, 27) expected way along the spine to each state, size of the body included.
        key: (h,) what the caller calls each hypothesis.
    """

    log_prior: np.ndarray
    rank: np.ndarray
    offset_mm: np.ndarray
    key: tuple


@dataclass(frozen=True)
class Chain:
    """Log scores of the parts of a reading; more is better.

    Attributes:
        named: (n, 27) of detection i being state s.
        rejected: (n,) of rejecting detection i between two named ones.
        rejected_at_end: (n,) of rejecting detection i before the first or after the last named one.
        missed: of each level passed over between two named detections, negative.
        position_mm: (n, 3) of the detections; used only with the next two.
        spacing_weight: of half the squared deviation of a distance from expectation, in standard deviations; 0: none.
        spacing_sd, spacing_cap: relative standard deviation of a distance, and where half the square is cut off.
        most_rejected: no reading rejects more detections than this in a row between two named ones.
    """

    named: np.ndarray
    rejected: np.ndarray
    rejected_at_end: np.ndarray
    missed: float
    position_mm: np.ndarray | None = None
    spacing_weight: float = 0.0
    spacing_sd: float = 0.1
    spacing_cap: float = 12.0
    most_rejected: int = 6

    def __len__(self) -> int:
        return len(self.named)


@dataclass(frozen=True)
class Posterior:
    """Probabilities of all readings together.

    Attributes:
        states: (n, 28) of each state, and in the last column of rejection, for each detection; rows sum to 1.
        hypotheses: (h,) sums to 1.
        log_total: log of the sum of exp(score) over all readings and hypotheses.
    """

    states: np.ndarray
    hypotheses: np.ndarray
    log_total: float


@dataclass(frozen=True)
class Reading:
    """The best reading.

    Attributes:
        states: (n,) state of each detection, -1 rejected.
        hypothesis: index of the hypothesis it belongs to.
        log_score: of the reading, prior of the hypothesis included.
    """

    states: np.ndarray
    hypothesis: int
    log_score: float


def best_reading(chain: Chain, hypotheses: Hypotheses) -> Reading:
    """The reading of highest score (Viterbi); it may reject all detections."""
    parts = _Parts(chain, hypotheses)
    reached = _forward(parts, np.max)
    total = hypotheses.log_prior[:, None, None] + reached + parts.after[:, None]
    states = np.full(len(chain), -1)
    nothing = parts.nothing + float(hypotheses.log_prior.max())
    if not len(chain) or total.max() <= nothing:
        return Reading(states, int(np.argmax(hypotheses.log_prior)), nothing)
    h, i, s = np.unravel_index(np.argmax(total), total.shape)
    hypothesis, score = int(h), float(total[h, i, s])
    while True:
        states[i] = s
        if i == 0:
            break
        rows = parts.above(i)
        came = reached[hypothesis, rows] + parts.between(rows, i)[:, None] + parts.steps(i, rows)[hypothesis, :, :, s]
        if parts.before[i] >= came.max():
            break
        k, s = np.unravel_index(np.argmax(came), came.shape)
        i = rows[k]
    return Reading(states, hypothesis, score)


def posterior(chain: Chain, hypotheses: Hypotheses) -> Posterior:
    """Probabilities over all readings (sum-product)."""
    parts = _Parts(chain, hypotheses)
    reached = _forward(parts, _log_sum)
    by_hypothesis = _totals(parts, reached)
    total = float(logsumexp(by_hypothesis))
    named = hypotheses.log_prior[:, None, None] + reached + _backward(parts)  # (h, n, 27)
    states = np.exp(logsumexp(named, axis=0) - total) if len(chain) else np.zeros((0, chain.named.shape[1]))
    rejected = np.clip(1 - states.sum(1, keepdims=True), 0, 1)
    return Posterior(np.concatenate([states, rejected], axis=1), np.exp(by_hypothesis - total), total)


def log_total(chain: Chain, hypotheses: Hypotheses) -> float:
    """`Posterior.log_total` alone, in half the time."""
    parts = _Parts(chain, hypotheses)
    return float(logsumexp(_totals(parts, _forward(parts, _log_sum))))


def tempered(chain: Chain, hypotheses: Hypotheses, temperature: float) -> tuple[Chain, Hypotheses]:
    """All log scores divided by a temperature: the best reading stays, probabilities come nearer to each other."""
    cooled = replace(
        chain,
        named=chain.named / temperature,
        rejected=chain.rejected / temperature,
        rejected_at_end=chain.rejected_at_end / temperature,
        missed=chain.missed / temperature,
        spacing_weight=chain.spacing_weight / temperature,
    )
    return cooled, replace(hypotheses, log_prior=hypotheses.log_prior / temperature)


def only_readings(chain: Chain, admissible: np.ndarray) -> Chain:
    """The same chain with all readings impossible but those whose states are admissible.

    Args:
        chain: n detections.
        admissible: (n, 28) bool, over the states and, last, rejection.
    """
    barred = np.where(admissible[:, -1], 0.0, _BARRED)
    return replace(
        chain,
        named=np.where(admissible[:, :-1], chain.named, -np.inf),
        rejected=chain.rejected + barred,
        rejected_at_end=chain.rejected_at_end + barred,
    )


class _Parts:
    """Prices of rejections, and scores of steps, as arrays."""

    def __init__(self, chain: Chain, hypotheses: Hypotheses):
        self.chain, self.hypotheses = chain, hypotheses
        ends = np.concatenate([[0.0], np.cumsum(chain.rejected_at_end)])
        self.before = ends[:-1]  # all detections above i rejected
        self.after = ends[-1] - ends[1:]  # all below
        self.nothing = float(ends[-1])
        self.inside = np.concatenate([[0.0], np.cumsum(chain.rejected)])
        rank = hypotheses.rank
        step = rank[:, None, :] - rank[:, :, None]  # (h, from, to)
        possible = (step > 0) & (rank[:, :, None] >= 0) & (rank[:, None, :] >= 0)
        self.step = np.where(possible, chain.missed * (step - 1.0), -np.inf)
        self.exists = np.where(rank >= 0, 0.0, -np.inf)  # (h, 27)
        way = hypotheses.offset_mm[:, None, :] - hypotheses.offset_mm[:, :, None]
        self.way_mm = np.where(possible, way, 1.0)

    def between(self, k: np.ndarray | int, i: np.ndarray | int) -> np.ndarray:
        """Price of rejecting all detections strictly between k and i."""
        return self.inside[i] - self.inside[np.asarray(k) + 1]

    def spacing(self, distance_mm: np.ndarray, way_mm: np.ndarray) -> np.ndarray:
        """Term of the distance between two named detections."""
        off = ((distance_mm / way_mm - 1) / self.chain.spacing_sd) ** 2
        return -self.chain.spacing_weight * np.minimum(off / 2, self.chain.spacing_cap)

    def steps(self, i: int, others: np.ndarray) -> np.ndarray:
        """Scores (h, others or 1, 27 from, 27 to) of stepping between detection i and others, in either direction."""
        if not self.chain.spacing_weight:
            return self.step[:, None]
        distance = np.linalg.norm(self.chain.position_mm[others] - self.chain.position_mm[i], axis=1)
        return self.step[:, None] + self.spacing(distance[:, None, None], self.way_mm[:, None])

    def above(self, i: int) -> np.ndarray:
        """Detections from which a reading may step to detection i."""
        return np.arange(max(i - 1 - self.chain.most_rejected, 0), i)

    def below(self, i: int) -> np.ndarray:
        """Detections to which a reading may step from detection i."""
        return np.arange(i + 1, min(i + 2 + self.chain.most_rejected, len(self.chain)))


def _totals(parts: _Parts, reached: np.ndarray) -> np.ndarray:
    """(h,) log sum over all readings of each hypothesis."""
    prior = parts.hypotheses.log_prior
    ended = (reached + parts.after[:, None]).reshape(len(prior), -1)
    named = logsumexp(ended, axis=1) if ended.size else np.full(len(prior), -np.inf)
    return prior + np.logaddexp(parts.nothing, named)


def _forward(parts: _Parts, reduce) -> np.ndarray:
    """(h, n, 27): `reduce` over all readings of the detections up to i that name i as s, its own score included."""
    chain = parts.chain
    reached = np.full((len(parts.exists), *chain.named.shape), -np.inf)
    for i in range(len(chain)):
        came = parts.exists + parts.before[i]  # (h, 27)
        if i:
            came = reduce(np.stack([came, _arrivals(parts, reached, i, reduce)]), axis=0)
        reached[:, i] = came + chain.named[i]
    return reached


def _arrivals(parts: _Parts, reached: np.ndarray, i: int, reduce) -> np.ndarray:
    """(h, 27): `reduce` over all ways to come to detection i from a named one above."""
    rows = parts.above(i)
    earlier = reached[:, rows] + parts.between(rows, i)[:, None]  # (h, k, 27)
    if not parts.chain.spacing_weight:  # the step does not depend on k: reduce over k first
        earlier = reduce(earlier, axis=1)[:, None]
    return reduce(earlier[..., None] + parts.steps(i, rows), axis=(1, 2))


def _backward(parts: _Parts) -> np.ndarray:
    """(h, n, 27): log sum over all continuations below detection i named s, its own score excluded."""
    chain, n = parts.chain, len(parts.chain)
    left = np.full((len(parts.exists), *chain.named.shape), -np.inf)
    for i in reversed(range(n)):
        left[:, i] = parts.exists + parts.after[i]
        if i < n - 1:
            rows = parts.below(i)
            later = left[:, rows] + chain.named[rows] + parts.between(i, rows)[:, None]  # (h, j, 27)
            if not chain.spacing_weight:
                later = _log_sum(later, axis=1)[:, None]
            via = _log_sum(later[:, :, None, :] + parts.steps(i, rows), axis=(1, 3))
            left[:, i] = np.logaddexp(left[:, i], via)
    return left


def _log_sum(x: np.ndarray, axis) -> np.ndarray:
    """log(sum(exp(x))), faster than scipy's; -inf where all of x is."""
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.exp(x - top).sum(axis=axis)
    with np.errstate(divide="ignore"):
        return np.log(total) + top.reshape(total.shape)
