"""Naming detected vertebrae: how often the names are right, and whether the stated probabilities are.

    python -m benchmarks.identification FILE                    the package's fitted parameters
    python -m benchmarks.identification FILE --out-of-fold      on the scans that these were fitted on: each scan by the
                                                                network that did not see it; and the ablation
    python -m benchmarks.identification FILE --cross-validate   the same with networks fitted anew
    python -m benchmarks.identification FILE --fit OUT.npz      fit networks anew and write those of all folds as one
                                                                ensemble; with --out-of-fold the same networks, with
                                                                only the doubt fitted anew

FILE holds scans in the format of `benchmarks.vid`. A reference body is identified if the point given its name lies
within 20 mm and nearer to no other reference body (Glocker et al. 2012). A scan is all correct if all its reference
bodies are. Intervals are 95 % percentile intervals of a bootstrap over scans. The figure of a fit is that of its
folds: no scan is left that the whole ensemble has not seen. Fitting needs torch and takes fifteen minutes on one core;
`--epochs 30` is a quick look.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.identification_fits import fit_doubts, fit_folds, folds_of, split
from benchmarks.identification_results import Result, header_by_source, judge, report, row_by_source
from benchmarks.vid import Case, read_cases, without_estimated
from nnunet_spine.labelling.admissible import admissible_states
from nnunet_spine.labelling.anatomies import Rarity
from nnunet_spine.labelling.chain import Chain, Hypotheses, best_reading
from nnunet_spine.labelling.counting import count_from_boundary
from nnunet_spine.labelling.detections import STATES, Scan
from nnunet_spine.labelling.label import (
    Labelling,
    chain_of_scores,
    counted,
    interpolate_missing,
    learned_chain,
    read_chain,
)
from nnunet_spine.labelling.network import Model, Prices, fitted_model, load_model, save_model
from nnunet_spine.labelling.rules import rules_chain

HIDDEN = {
    "without pedicles": frozenset({"pedicles"}),
    "without regions": frozenset({"regions"}),
    "positions alone": frozenset({"pedicles", "regions"}),
}
AS_OFTEN_AS_IN_VID = Rarity(l6=0.5)

Method = Callable[[Scan, np.ndarray, Prices], Labelling]
"""Scan, the network's scores for it, and prices to names."""


def learned(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """As the package names, probabilities included."""
    return read_chain(scan, *chain_of_scores(scan, scores, prices))


def exact(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """The same names without probabilities."""
    return _best(scan, *chain_of_scores(scan, scores, prices))


def without_distances(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """The chain without its term for distances."""
    return exact(scan, scores, replace(prices, spacing=0.0))


def alone(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """Each detection's best state without regard to the others; the first of equal names keeps it."""
    states = scores.argmax(1)
    states = np.where(states == len(STATES), -1, states)
    return counted(scan, np.array([-1 if s in states[:i] else s for i, s in enumerate(states)], int), "")


def greedy(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """From head to foot, each detection's best state below the last name, by the prices of the usual spine."""
    chain, hypotheses = chain_of_scores(scan, scores, prices)
    rank, states, last = hypotheses.rank[0], np.full(len(chain), -1), None
    for i in range(len(chain)):
        score = np.where(rank >= 0, chain.named[i], -np.inf)
        if last is not None:
            step = rank - rank[last]
            score = np.where(step > 0, score + chain.missed * (step - 1), -np.inf)
        rejected = chain.rejected_at_end[i] if last is None else chain.rejected[i]
        if score.max() > rejected:
            last = int(score.argmax())
            states[i] = last
    return _with_missing(scan, states, hypotheses, 0)


def counting(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """From a boundary."""
    return counted(scan, *count_from_boundary(scan))


def rules(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """The hand-tuned chain."""
    return _best(scan, *rules_chain(scan, Rarity()))


def rules_with_l6(scan: Scan, scores: np.ndarray, prices: Prices) -> Labelling:
    """The hand-tuned chain with L6 about as often as in VID."""
    return _best(scan, *rules_chain(scan, AS_OFTEN_AS_IN_VID))


def _best(scan: Scan, chain: Chain, hypotheses: Hypotheses) -> Labelling:
    best = best_reading(chain, hypotheses)
    return _with_missing(scan, best.states, hypotheses, best.hypothesis)


def _with_missing(scan: Scan, states: np.ndarray, hypotheses: Hypotheses, row: int) -> Labelling:
    missing = interpolate_missing(scan, states, hypotheses.rank[row], hypotheses.offset_mm[row])
    return replace(counted(scan, states, ""), missing=missing)


class Judge:
    """Judges methods scan by scan, in the same processes all the time.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int):
        self._pool = ProcessPoolExecutor(workers, get_context("spawn")) if workers > 1 else None

    def __call__(
        self, method: Method, cases: Sequence[Case], scores: Sequence[np.ndarray], prices: Sequence[Prices]
    ) -> list[Result]:
        """Results by scan."""
        jobs = [(method, *job) for job in zip(cases, scores, prices, strict=True)]
        return list(self._pool.map(_judged, jobs, chunksize=50) if self._pool else map(_judged, jobs))


def _judged(job: tuple[Method, Case, np.ndarray, Prices]) -> Result:
    method, case, scores, prices = job
    return judge(case, method(case.scan, scores, prices))


def out_of_fold(cases: Sequence[Case], models: Sequence[Model], hide: frozenset[str] = frozenset()) -> list[np.ndarray]:
    """Scores of every scan by networks that did not see it."""
    scores: list = [None] * len(cases)
    for model, fold in zip(models, split(len(cases)), strict=True):
        for i in fold.test:
            scores[i] = model.log_scores(cases[i].scan, hide)
    return scores


def compare(
    cases: Sequence[Case],
    models: Sequence[Model],
    scores: Sequence[np.ndarray],
    prices: Sequence[Prices],
    results: Judge,
) -> None:
    """The report of the learned score, and the table of methods."""
    full = results(learned, cases, scores, prices)
    report("Learned score, out of fold", full)
    print(
        f"\n### Methods\n\nIn the columns of a source: identified / scans all correct, %.\n\n{header_by_source(full)}"
    )
    bodies = [without_estimated(c) for c in cases]
    nothing = [np.zeros(0)] * len(cases)
    rows: list[tuple[str, Method, Sequence[Case], Sequence[np.ndarray] | None]] = [
        ("learned", exact, cases, scores),
        *((f"learned, {name}", exact, cases, None) for name in HIDDEN),
        ("learned, no distances in the chain", without_distances, cases, scores),
        ("learned, greedy from head to foot", greedy, cases, scores),
        ("learned, each detection alone", alone, cases, scores),
        ("hand-tuned chain", rules, cases, nothing),
        ("hand-tuned chain, L6 as often as in VID", rules_with_l6, cases, nothing),
        ("the same, bodies alone", rules_with_l6, bodies, nothing),
        ("counting from a boundary", counting, cases, nothing),
        ("the same, bodies alone", counting, bodies, nothing),
    ]
    for name, method, of, given in rows:
        by = out_of_fold(cases, models, HIDDEN[name.removeprefix("learned, ")]) if given is None else given
        print(row_by_source(name, results(method, of, by, prices)), flush=True)


def main(given: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="scans, .json or .json.gz")
    parser.add_argument("--out-of-fold", action="store_true", help="FILE is what the model was fitted on; no fitting")
    parser.add_argument("--cross-validate", action="store_true", help="five folds, split by scan, fitted anew")
    parser.add_argument("--fit", type=Path, metavar="OUT.npz", help="write the networks of all folds, fitted anew")
    parser.add_argument("--model", type=Path, help="parameters to judge; default: those of the package")
    parser.add_argument("--members", type=int, default=1, help="networks per fold")
    parser.add_argument("--epochs", type=int, default=100, help="of each network")
    parser.add_argument("--keep", type=Path, help="folder for finished networks, to go on after an interruption")
    parser.add_argument("--workers", type=int, default=1, help="processes that judge")
    arguments = parser.parse_args(given)
    cases = read_cases(arguments.file)
    anew = arguments.cross_validate or (arguments.fit and not arguments.out_of_fold)
    model = load_model(arguments.model) if arguments.model else fitted_model()
    if not (anew or arguments.out_of_fold):
        results = [judge(c, read_chain(c.scan, *learned_chain(c.scan, model))) for c in cases]
        report(f"Learned score on {arguments.file.name}", results)
        return
    admissible = [admissible_states(c.scan, c.reference) for c in cases]
    models = folds_of(model, len(cases))
    if anew:
        models = fit_folds(cases, admissible, arguments.members, arguments.epochs, arguments.keep)
    scores = out_of_fold(cases, models)
    by_fold, final = fit_doubts(cases, admissible, scores)
    print(f"doubt by fold {', '.join(str(p.doubt) for p in by_fold)}; of all {final}", flush=True)
    if arguments.fit:
        save_model(Model(tuple(w for m in models for w in m.members), final), arguments.fit)
        print(f"{arguments.fit}: {sum(len(m.members) for m in models)} networks")
    prices = [final] * len(cases)
    for of_fold, fold in zip(by_fold, split(len(cases)), strict=True):
        for i in fold.test:
            prices[i] = of_fold
    if arguments.fit and not (arguments.cross_validate or arguments.out_of_fold):
        report("Learned score, out of fold", Judge(arguments.workers)(learned, cases, scores, prices))
        return
    compare(cases, models, scores, prices, Judge(arguments.workers))


if __name__ == "__main__":
    main()
