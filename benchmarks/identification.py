"""Naming detected vertebrae: how often the names are right, and whether the stated probabilities are.

    python -m benchmarks.identification FILE                      the package's fitted parameters
    python -m benchmarks.identification FILE --cross-validate     parameters fitted on the other folds, and the ablation
    python -m benchmarks.identification FILE --fit OUT.npz        write the networks of all folds as one ensemble

FILE holds scans in the format of `benchmarks.vid`. A reference body is identified if the point given its name lies
within 20 mm and nearer to no other reference body (Glocker et al. 2012). A scan is all correct if all its reference
bodies are. Intervals are 95 % percentile intervals of a bootstrap over scans. Fitting needs torch and takes ten
minutes on one core; `--epochs 30` is a quick look.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.vid import Case, read_cases
from nnunet_spine.labelling.anatomies import Rarity
from nnunet_spine.labelling.calibrate import fit_doubt
from nnunet_spine.labelling.chain import Chain, Hypotheses
from nnunet_spine.labelling.counting import count_from_boundary
from nnunet_spine.labelling.detections import STATES
from nnunet_spine.labelling.label import Labelling, chain_of_scores, counted, learned_chain, read_chain
from nnunet_spine.labelling.network import Model, Prices, fitted_model, load_model, save_model
from nnunet_spine.labelling.rules import rules_chain
from nnunet_spine.scores.identification import IDENTIFICATION_RADIUS_MM, identified_levels

DRAWS = 2000
COVERAGE = 0.8
ROUNDS = 40  # variants of each scan to learn from
MADE_UP = 400  # made-up spines in each round
PRICED = 300  # scans that the doubt is fitted on
BINS = np.array([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])
HIDDEN = {
    "all evidence": frozenset(),
    "without pedicles": frozenset({"pedicles"}),
    "without regions": frozenset({"regions"}),
    "positions alone": frozenset({"pedicles", "regions"}),
}


@dataclass(frozen=True)
class Result:
    """What became of one scan.

    Attributes:
        reference, detected, identified: numbers of reference bodies, of those that some detection lies at, of those
            identified.
        identified_without_inferred: the same without points for levels that nobody detected.
        stated, right: of each named detection that lies at a reference body, the probability stated, and whether the
            name is right.
        probability: stated for all names of the scan together.
        source: of the scan.
    """

    reference: int
    detected: int
    identified: int
    identified_without_inferred: int
    stated: np.ndarray
    right: np.ndarray
    probability: float
    source: str

    @property
    def all_correct(self) -> bool:
        """Whether every reference body is identified."""
        return self.identified == self.reference


def judge(case: Case, labelling: Labelling) -> Result:
    """Compare names with the reference."""
    reference = dict(case.reference)
    points = {n.name: np.array(d.position_mm) for n, d in zip(labelling.names, case.detections, strict=True) if n.name}
    inferred = {m.name: np.array(m.position_mm) for m in labelling.missing}
    found, seen = (len(identified_levels(reference, p, nearest_among="reference")) for p in (points | inferred, points))
    stated, right, covered = [], [], set()
    centres, levels = np.array(list(reference.values())), list(reference)
    for name, detection in zip(labelling.names, case.detections, strict=True):
        distance = np.linalg.norm(centres - detection.position_mm, axis=1)
        if distance.min() <= IDENTIFICATION_RADIUS_MM:
            level = levels[int(distance.argmin())]
            covered.add(level)
            if name.name is not None and name.probability is not None:
                stated.append(name.probability)
                right.append(name.name == level)
    return Result(
        len(reference),
        len(covered),
        found,
        seen,
        np.array(stated),
        np.array(right, bool),
        labelling.probability or 0.0,
        case.source,
    )


def interval(results: Sequence[Result], value: Callable[[np.ndarray], float], columns: np.ndarray) -> str:
    """Value with its interval, in per cent.

    Args:
        results: scans, for their number.
        value: of rows of `columns`.
        columns: (scans, ...) numbers.
    """
    rng = np.random.default_rng(0)
    drawn = [value(columns[rng.integers(0, len(results), len(results))]) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{100 * value(columns):5.1f} ({100 * low:.1f}-{100 * high:.1f})"


def ratio(rows: np.ndarray) -> float:
    """Sum of the first column by that of the second."""
    return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1))


def row(name: str, results: Sequence[Result]) -> str:
    """One line of the main table."""
    count = np.array([[r.identified, r.reference] for r in results], float)
    of_detected = np.array([[min(r.identified_without_inferred, r.detected), r.detected] for r in results], float)
    correct = np.array([[r.all_correct, 1] for r in results], float)
    cells = [interval(results, ratio, columns) for columns in (count, of_detected, correct)]
    return f"| {name} | {len(results)} | " + " | ".join(cells) + " |"


HEADER = "| | scans | identified % | of the detected % | scans all correct % |\n|---|---:|---:|---:|---:|"


def calibration_error(stated: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = np.minimum((stated * 10).astype(int), 9)
    return sum(abs(stated[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / max(len(stated), 1)


def report(title: str, results: Sequence[Result]) -> None:
    """Main table by source, reliability, and all-correct scans among the surest."""
    print(f"\n### {title}\n\n{HEADER}")
    print(row("all", results))
    for source in sorted({r.source for r in results}):
        print(row(source, [r for r in results if r.source == source]))
    seen = sum(r.identified_without_inferred for r in results) / sum(r.reference for r in results)
    ceiling = sum(r.detected for r in results) / sum(r.reference for r in results)
    whole = np.mean([r.detected == r.reference for r in results])
    print(f"\nWithout points for undetected levels {100 * seen:.2f} % identified.")
    print(
        f"Some detection lies at {100 * ceiling:.2f} % of the bodies, at all of them in {100 * whole:.1f} % of scans."
    )
    stated, right = (np.concatenate([getattr(r, name) for r in results]) for name in ("stated", "right"))
    print("\n| stated probability | names | mean stated | right |\n|---|---:|---:|---:|")
    for low, high in pairwise(BINS):
        inside = (stated >= low) & ((stated < high) | (high == 1))
        if inside.any():
            print(
                f"| {low:.2f}-{high:.2f} | {inside.sum()} | {stated[inside].mean():.3f} | {right[inside].mean():.3f} |"
            )
    print(f"\nExpected calibration error {100 * calibration_error(stated, right):.2f} % over {len(stated)} names.")
    surest = sorted(results, key=lambda r: -r.probability)[: round(COVERAGE * len(results))]
    correct = np.array([[r.all_correct, 1] for r in surest], float)
    of_detected = np.array([[r.identified_without_inferred >= r.detected, 1] for r in surest], float)
    print(f"Surest {100 * COVERAGE:.0f} % of the scans: all correct {interval(surest, ratio, correct)} %,")
    print(f"all detected bodies right {interval(surest, ratio, of_detected)} %.")


@dataclass(frozen=True)
class Fold:
    """What one fold needs.

    Attributes:
        learn, test: indices of scans.
    """

    learn: np.ndarray
    test: np.ndarray


def split(n: int, k: int = 5) -> list[Fold]:
    """`k` folds of scans, the same ones each time."""
    fold = np.empty(n, int)
    fold[np.random.default_rng(0).permutation(n)] = np.arange(n) % k
    return [Fold(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


class Fits:
    """Networks fitted on parts of the scans and on made-up spines, kept in a folder if one is given.

    Args:
        cases: all scans.
        members: networks per fold.
        epochs: of each.
        keep: folder for finished networks, so that an interrupted run goes on where it was.
    """

    def __init__(self, cases: Sequence[Case], members: int, epochs: int, keep: Path | None):
        from nnunet_spine.labelling.fit import Example, Schedule, admissible_states

        self.examples = [Example(c.scan, admissible_states(c.scan, c.reference)) for c in cases]
        self.members, self.schedule, self.keep = members, replace(Schedule(), epochs=epochs), keep
        self.variants = None
        if keep:
            keep.mkdir(parents=True, exist_ok=True)

    def ensemble(self, name: str, learn: np.ndarray) -> Model:
        """An ensemble fitted on some scans, with prices yet to be fitted."""
        return Model(tuple(self._member(f"{name}-{m}", m, learn) for m in range(self.members)), Prices())

    def _member(self, name: str, seed: int, learn: np.ndarray) -> dict[str, np.ndarray]:
        from nnunet_spine.labelling.fit import draw_variants, fit_network, made_up_examples

        file = self.keep / f"{name}.npz" if self.keep else None
        if file and file.is_file():
            return dict(load_model(file).members[0])
        if self.variants is None:
            made_up = [draw_variants(made_up_examples(MADE_UP, 1000 + r), 1, r)[0] for r in range(ROUNDS)]
            self.variants = list(zip(draw_variants(self.examples, ROUNDS, seed=0), made_up, strict=True))
        rounds = [[real[i] for i in learn] + made_up for real, made_up in self.variants]
        weights = fit_network(rounds, seed, self.schedule, lambda line: print(f"{name}: {line}", flush=True))
        if file:
            save_model(Model((weights,), Prices()), file)
        return weights


def prices_for(cases: Sequence[Case], fits: Fits, scores: Sequence[np.ndarray], among: np.ndarray) -> Prices:
    """Prices with the doubt fitted on some scans, by scores of networks that did not see them."""
    drawn = np.random.default_rng(0).permutation(among)[:PRICED]
    states = [fits.examples[i].admissible for i in drawn]
    return fit_doubt([cases[i].scan for i in drawn], [scores[i] for i in drawn], states, Prices())


def cross_validate(cases: Sequence[Case], fits: Fits) -> tuple[list[Prices], dict[str, list[np.ndarray]]]:
    """Scores of every scan by networks that did not see it, by what evidence is hidden; and prices by fold."""
    folds = split(len(cases))
    scores: dict[str, list] = {name: [None] * len(cases) for name in HIDDEN}
    for k, fold in enumerate(folds):
        model = fits.ensemble(f"fold{k}", fold.learn)
        for name, hide in HIDDEN.items():
            for i in fold.test:
                scores[name][i] = model.log_scores(cases[i].scan, hide)
    prices = []
    for k, fold in enumerate(folds):
        prices.append(prices_for(cases, fits, scores["all evidence"], fold.learn))
        print(f"fold {k}: {prices[-1]}", flush=True)
    return prices, scores


def ablation(cases: Sequence[Case], prices: Sequence[Prices], scores: dict[str, list[np.ndarray]]) -> None:
    """The table of methods, and the report of the best one."""
    by_case = {int(i): prices[k] for k, fold in enumerate(split(len(cases))) for i in fold.test}
    full = [
        judge(c, read_chain(c.scan, *chain_of_scores(c.scan, s, by_case[i])))
        for i, (c, s) in enumerate(zip(cases, scores["all evidence"], strict=True))
    ]
    report("Learned score, cross-validated", full)
    print(f"\n### Ablation\n\n{HEADER}", flush=True)
    print(row("counting from a boundary", [judge(c, counted(c.scan, *count_from_boundary(c.scan))) for c in cases]))
    print(row("hand-tuned chain", [judge(c, read_chain(c.scan, *rules_chain(c.scan, Rarity()))) for c in cases]))
    for name in HIDDEN:
        chains = [
            chain_of_scores(c.scan, s, by_case[i]) for i, (c, s) in enumerate(zip(cases, scores[name], strict=True))
        ]
        results = [judge(c, read_chain(c.scan, *chain)) for c, chain in zip(cases, chains, strict=True)]
        print(row(f"learned, {name}", results), flush=True)
        if name == "all evidence":
            for label, read in (("each detection alone", alone), ("greedy, head to foot", greedy)):
                results = [judge(c, counted(c.scan, read(*chain), "")) for c, chain in zip(cases, chains, strict=True)]
                print(row(f"learned, {label}", results), flush=True)


def alone(chain: Chain, hypotheses: Hypotheses) -> np.ndarray:
    """Each detection's best state without regard to the others; the first of equal names keeps it."""
    states = np.concatenate([chain.named, chain.rejected[:, None]], axis=1).argmax(1)
    states = np.where(states == len(STATES), -1, states)
    return np.array([-1 if s in states[:i] else s for i, s in enumerate(states)])


def greedy(chain: Chain, hypotheses: Hypotheses) -> np.ndarray:
    """From head to foot, each detection's best state below the last name, by the prices of the usual spine."""
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
    return states


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="scans, .json or .json.gz")
    parser.add_argument("--cross-validate", action="store_true", help="five folds, split by scan, and the ablation")
    parser.add_argument("--fit", type=Path, metavar="OUT.npz", help="fit on all of FILE; prices are cross-validated")
    parser.add_argument("--model", type=Path, help="parameters to judge; default: those of the package")
    parser.add_argument("--members", type=int, default=1, help="networks per fold")
    parser.add_argument("--epochs", type=int, default=100, help="of each network")
    parser.add_argument("--keep", type=Path, help="folder for finished networks, to go on after an interruption")
    arguments = parser.parse_args()
    cases = read_cases(arguments.file)
    if not (arguments.cross_validate or arguments.fit):
        model = load_model(arguments.model) if arguments.model else fitted_model()
        results = [judge(c, read_chain(c.scan, *learned_chain(c.scan, model))) for c in cases]
        report(f"Learned score on {arguments.file.name}", results)
        return
    fits = Fits(cases, arguments.members, arguments.epochs, arguments.keep)
    prices, scores = cross_validate(cases, fits)
    if arguments.cross_validate:
        ablation(cases, prices, scores)
    if arguments.fit:
        everything = np.arange(len(cases))
        final = prices_for(cases, fits, scores["all evidence"], everything)
        members = [w for k, fold in enumerate(split(len(cases))) for w in fits.ensemble(f"fold{k}", fold.learn).members]
        save_model(Model(tuple(members), final), arguments.fit)
        print(f"{arguments.fit}: {len(members)} networks, {final}")


if __name__ == "__main__":
    main()
