"""Detections to names with honest probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.labelling.anatomies import Rarity, anatomies
from nnunet_spine.labelling.chain import (
    Chain,
    Hypotheses,
    Posterior,
    Reading,
    best_reading,
    log_total,
    only_readings,
    posterior,
    tempered,
)
from nnunet_spine.labelling.counting import count_from_boundary
from nnunet_spine.labelling.detections import N_STATES, STATES, Detection, Point, Scan, as_arrays
from nnunet_spine.labelling.network import Model, Prices, fitted_model
from nnunet_spine.labelling.rules import body_scale, level_scores, region_evidence, rules_chain

METHODS = ("learned", "rules", "paper")
SUSPICION = 0.2
"""Probability from which an unusual number of levels is reported."""
BODY_SCALES = np.array([0.92, 1.0, 1.08])
"""Sizes tried around the estimated one."""
SURE = 0.9
"""Below this probability names without a boundary in view are called ambiguous."""


@dataclass(frozen=True)
class Name:
    """The name of one detection.

    Attributes:
        name: "C1" ... "L6" or "S1"; None: not a vertebra.
        probability: that this is right; None where the method has no probabilities.
        runner_up: the next best name, None for "not a vertebra".
        margin: probability minus that of the runner-up; negative where another name is likelier for this detection
            alone, but does not fit its neighbours.
    """

    name: str | None
    probability: float | None
    runner_up: str | None
    margin: float | None


@dataclass(frozen=True)
class Missing:
    """A level that nobody detected between two named detections.

    Attributes:
        name: of the level.
        position_mm: RAS, interpolated between its neighbours.
    """

    name: str
    position_mm: Point


@dataclass(frozen=True)
class Anomaly:
    """An unusual number of levels.

    Attributes:
        name: "T11", "T13", "L4" or "L6": the last level of its region.
        probability: of a spine with this count.
        evidence: what speaks for it, in words.
    """

    name: str
    probability: float
    evidence: str


@dataclass(frozen=True)
class Labelling:
    """Names of all detections of a scan.

    Attributes:
        names: one per detection, in the order given.
        missing: levels passed over, cranio-caudal.
        probability: that all names are right; None where the method has no probabilities.
        boundaries: what fixes the count, of "C1", "C/T", "T/L", "L/S", cranio-caudal.
        ambiguous: why the names may be shifted as a whole; "" if they are not.
        anomalies: suspected, the likeliest first.
    """

    names: tuple[Name, ...]
    missing: tuple[Missing, ...]
    probability: float | None
    boundaries: tuple[str, ...]
    ambiguous: str
    anomalies: tuple[Anomaly, ...]


def label_vertebrae(
    detections: Sequence[Detection],
    *,
    method: str = "learned",
    normal: bool = False,
    in_order: bool = False,
    model: Model | None = None,
) -> Labelling:
    """Name detected vertebrae.

    The names are the best of all readings of the scan (see `chain`), found exactly, and the probabilities sum over all
    readings. Scaling or mirroring a body changes neither.

    >>> spine = [Detection((0, 0, -30.0 * i), regions=r) for i, r in enumerate([(0, 1, 0)] * 3 + [(0, 0, 1)] * 3)]
    >>> [n.name for n in label_vertebrae(spine).names]
    ['T10', 'T11', 'T12', 'L1', 'L2', 'L3']

    Args:
        detections: any number, also none; false ones among them are found out, missing ones inferred.
        method: "learned" (a network's scores), "rules" (hand-tuned scores) or "paper" (counting from a boundary as in
            Masuzawa et al. 2020, see `counting`; no probabilities).
        normal: only spines of 12 thoracic and 5 lumbar levels.
        in_order: the detections are given from head to foot; else their z coordinates decide.
        model: fitted parameters of the learned score; None: those of the package.

    Returns:
        One name per detection, in the order given; empty for no detections.

    Raises:
        InputError: another method; positions or scores that are not finite, or out of range.
    """
    if method not in METHODS:
        raise InputError(f"method '{method}'; expected one of {', '.join(METHODS)}")
    scan = as_arrays(detections, in_order=in_order)
    if method == "paper":
        return counted(scan, *count_from_boundary(scan))
    if method == "rules":
        chain, hypotheses = rules_chain(scan, None if normal else Rarity())
    else:
        chain, hypotheses = learned_chain(scan, model or fitted_model(), normal=normal)
    return read_chain(scan, chain, hypotheses)


def learned_chain(
    scan: Scan, model: Model, *, normal: bool = False, hide: frozenset[str] = frozenset()
) -> tuple[Chain, Hypotheses]:
    """Chain and hypotheses of the learned score.

    Evidence per level is not among what the network was trained on: it is added to the network's scores. Where there
    are no scores per region, they are summed from the levels.

    Args:
        scan: detections in cranio-caudal order.
        model: fitted parameters.
        normal: only spines of 12 thoracic and 5 lumbar levels.
        hide: groups of features to treat as unknown.
    """
    scan = replace(scan, regions=region_evidence(scan))
    return chain_of_scores(scan, model.log_scores(scan, hide), model.prices, normal=normal)


def chain_of_scores(
    scan: Scan, log_scores: np.ndarray, prices: Prices, *, normal: bool = False
) -> tuple[Chain, Hypotheses]:
    """Chain and hypotheses of scores that a network has given, see `learned_chain`.

    Args:
        scan: detections in cranio-caudal order.
        log_scores: (n, 28).
        prices: of the chain.
        normal: only spines of 12 thoracic and 5 lumbar levels.
    """
    evident = np.isfinite(region_evidence(scan)).any()
    scores = log_scores / (prices.temperature if evident else prices.temperature_of_positions)
    chain = Chain(
        scores[:, :N_STATES] + prices.levels * level_scores(scan),
        scores[:, N_STATES] + prices.rejected,
        scores[:, N_STATES] + prices.rejected_at_end,
        prices.missed,
        scan.position_mm,
        prices.spacing,
    )
    rarity = None if normal else Rarity(prices.t11, prices.t13, prices.l4, prices.l6)
    scales = BODY_SCALES * body_scale(scan, log_scores[:, :N_STATES]) if prices.spacing else None
    return tempered(chain, anatomies(rarity, scales), prices.doubt)


def read_chain(scan: Scan, chain: Chain, hypotheses: Hypotheses) -> Labelling:
    """Solve a chain and say what it means.

    Args:
        scan: detections in cranio-caudal order.
        chain, hypotheses: their scores.
    """
    best, everything = best_reading(chain, hypotheses), posterior(chain, hypotheses)
    names = _in_order_given(scan, [_name(s, p) for s, p in zip(best.states, everything.states, strict=True)])
    boundaries = _boundaries(best.states)
    named = best.states >= 0
    probability = _probability_of_reading(best, everything, chain, hypotheses)
    return Labelling(
        tuple(names),
        interpolate_missing(scan, best.states, hypotheses.rank[best.hypothesis], hypotheses.offset_mm[best.hypothesis]),
        probability,
        boundaries,
        _ambiguity(scan, boundaries, everything.states[named, best.states[named]]),
        _anomalies(chain, hypotheses, everything),
    )


def interpolate_missing(scan: Scan, states: np.ndarray, rank: np.ndarray, offset_mm: np.ndarray) -> tuple[Missing, ...]:
    """Levels of a sequence that lie between named detections, where the usual distances put them.

    Args:
        scan: detections in cranio-caudal order.
        states: (n,) states, -1 rejected.
        rank, offset_mm: (27,) place and way along the spine of each state, see `Hypotheses`.
    """
    found = []
    named = np.flatnonzero(states >= 0)
    for i, j in pairwise(named):
        a, b = states[i], states[j]
        for s in np.flatnonzero((rank > rank[a]) & (rank < rank[b])):
            share = (offset_mm[s] - offset_mm[a]) / (offset_mm[b] - offset_mm[a])
            point = scan.position_mm[i] + share * (scan.position_mm[j] - scan.position_mm[i])
            found.append(Missing(STATES[s], tuple(point.tolist())))
    return tuple(found)


def _name(state: int, probabilities: np.ndarray) -> Name:
    chosen = probabilities[state]  # -1 is the last column, rejection
    others = np.delete(probabilities, state)
    second = int(np.argmax(others))
    second += second >= (state % len(probabilities))
    name = None if state < 0 else STATES[state]
    runner_up = None if second == N_STATES else STATES[second]
    return Name(name, float(chosen), runner_up, float(chosen - others.max()))


def _in_order_given(scan: Scan, names: list[Name]) -> list[Name]:
    given = names.copy()
    for place, index in enumerate(scan.order):
        given[index] = names[place]
    return given


def _boundaries(states: np.ndarray) -> tuple[str, ...]:
    found = [STATES[s] for s in states if s >= 0]
    regions = "".join(dict.fromkeys(name[0] for name in found))
    boundaries = ["C1"] if "C1" in found else []
    return tuple(boundaries + [f"{a}/{b}" for a, b in pairwise(regions) if a + b in "CTLS"])


def _ambiguity(scan: Scan, boundaries: tuple[str, ...], probabilities: np.ndarray) -> str:
    """Why all names may be shifted: nothing in view fixes the count and no levels are known, or names are unsure."""
    if not len(probabilities):
        return "no vertebra recognised"
    typical = float(np.median(probabilities))
    levels_known = np.isfinite(scan.levels).any()
    if not boundaries and (typical < SURE or not levels_known):
        return "no boundary in view"
    if not levels_known and not np.isfinite(scan.regions).any() and typical < SURE:
        return "only positions are known"
    if typical < 0.5:
        return f"{' and '.join(boundaries) or 'count'} unclear"
    return ""


def _probability_of_reading(best: Reading, everything: Posterior, chain: Chain, hypotheses: Hypotheses) -> float:
    """Probability that exactly these names are right, summed over the hypotheses that allow them."""
    exactly = np.arange(N_STATES + 1)[None] == (best.states % (N_STATES + 1))[:, None]  # -1 is the last column
    return float(np.exp(log_total(only_readings(chain, exactly), hypotheses) - everything.log_total))


def _anomalies(chain: Chain, hypotheses: Hypotheses, everything: Posterior) -> tuple[Anomaly, ...]:
    """Unusual counts of some probability that the scan itself makes likelier than they are anyway."""
    found = []
    prior = np.exp(hypotheses.log_prior - np.logaddexp.reduce(hypotheses.log_prior))
    for column, usual, region in ((0, 12, "T"), (1, 5, "L")):
        counts = np.array([key[column] for key in hypotheses.key])
        for count in sorted(set(counts.tolist()) - {usual}):
            of_count, of_usual = counts == count, counts == usual
            probability = float(everything.hypotheses[of_count].sum())
            if probability < max(SUSPICION, 2 * float(prior[of_count].sum())):
                continue
            with_it, without = (best_reading(chain, _only(hypotheses, rows)) for rows in (of_count, of_usual))
            gain = with_it.log_score - without.log_score
            better = "fits better than" if gain >= 0 else "fits nearly as well as"
            evidence = f"{_spelt(with_it)} {better} {_spelt(without)} ({gain:+.1f} nats)"
            found.append(Anomaly(f"{region}{count}", probability, evidence))
    return tuple(sorted(found, key=lambda a: -a.probability))


def _only(hypotheses: Hypotheses, rows: np.ndarray) -> Hypotheses:
    keys = tuple(key for key, row in zip(hypotheses.key, rows, strict=True) if row)
    return Hypotheses(hypotheses.log_prior[rows], hypotheses.rank[rows], hypotheses.offset_mm[rows], keys)


def _spelt(reading: Reading) -> str:
    named = [STATES[s] for s in reading.states if s >= 0]
    return f"{named[0]}-{named[-1]}" if named else "nothing"


def counted(scan: Scan, states: np.ndarray, boundary: str) -> Labelling:
    """Names found without probabilities, as by counting from a boundary.

    Args:
        scan: detections in cranio-caudal order.
        states: (n,) states, -1 rejected.
        boundary: what was counted from; "" if there was none.
    """
    names = [Name(None if s < 0 else STATES[s], None, None, None) for s in states]
    return Labelling(
        tuple(_in_order_given(scan, names)),
        (),
        None,
        (boundary,) if boundary else (),
        "" if boundary or not len(scan) else "no boundary in view",
        (),
    )
