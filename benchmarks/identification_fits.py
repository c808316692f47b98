"""Networks fitted on parts of the scans, and the doubt fitted on scans that they did not see."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.vid import Case
from nnunet_spine.labelling.calibrate import DOUBTS, doubt_losses
from nnunet_spine.labelling.network import Model, Prices, load_model, save_model

ROUNDS = 40  # variants of each scan to learn from
MADE_UP = 400  # made-up spines in each round
PRICED = 300  # scans that the doubt is fitted on


@dataclass(frozen=True)
class Fold:
    """Indices of scans to learn from and of those to test on."""

    learn: np.ndarray
    test: np.ndarray


def split(n: int, k: int = 5) -> list[Fold]:
    """`k` folds of scans, the same ones each time."""
    fold = np.empty(n, int)
    fold[np.random.default_rng(0).permutation(n)] = np.arange(n) % k
    return [Fold(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


def folds_of(model: Model, n: int) -> list[Model]:
    """The ensemble of each fold of a model that `--fit` wrote, by fold."""
    k = len(split(n))
    per_fold = len(model.members) // k
    return [Model(model.members[i * per_fold : (i + 1) * per_fold], model.prices) for i in range(k)]


def fit_folds(
    cases: Sequence[Case], admissible: Sequence[np.ndarray], members: int, epochs: int, keep: Path | None
) -> list[Model]:
    """One ensemble per fold, fitted on the scans of the others and on made-up spines.

    Args:
        cases: all scans.
        admissible: per scan, see `admissible_states`.
        members: networks per fold.
        epochs: of each.
        keep: folder for finished networks, so that an interrupted run goes on where it was.
    """
    from nnunet_spine.labelling.fit import Example, Schedule, draw_variants, fit_network, made_up_examples

    folds = split(len(cases))
    names = [f"fold{k}-{m}" for k in range(len(folds)) for m in range(members)]
    files = {name: keep / f"{name}.npz" for name in names} if keep else {}
    weights = {name: load_model(file).members[0] for name, file in files.items() if file.is_file()}
    if len(weights) < len(names):
        examples = [Example(c.scan, states) for c, states in zip(cases, admissible, strict=True)]
        made_up = [draw_variants(made_up_examples(MADE_UP, 1000 + r), 1, r)[0] for r in range(ROUNDS)]
        variants = list(zip(draw_variants(examples, ROUNDS, seed=0), made_up, strict=True))
    for name in names:
        if name in weights:
            continue
        fold, seed = (int(part) for part in name.removeprefix("fold").split("-"))
        rounds = [[real[i] for i in folds[fold].learn] + made_up for real, made_up in variants]
        schedule = replace(Schedule(), epochs=epochs)
        weights[name] = fit_network(
            rounds, seed, schedule, lambda line, name=name: print(f"{name}: {line}", flush=True)
        )
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            save_model(Model((weights[name],), Prices()), files[name])
    return [Model(tuple(weights[f"fold{k}-{m}"] for m in range(members)), Prices()) for k in range(len(folds))]


def fit_doubts(
    cases: Sequence[Case], admissible: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> tuple[list[Prices], Prices]:
    """Prices of each fold, with the doubt fitted on scans of the others, and those fitted on all.

    Args:
        cases: all scans.
        admissible: per scan.
        scores: per scan, of networks that did not see it.
    """
    drawn = np.random.default_rng(0).permutation(len(cases))[:PRICED]
    scans = ([cases[i].scan for i in drawn], [scores[i] for i in drawn], [admissible[i] for i in drawn])
    losses = doubt_losses(*scans, Prices())  # (scans, doubts)

    def least(rows: np.ndarray) -> Prices:
        return replace(Prices(), doubt=DOUBTS[int(losses[rows].sum(0).argmin())])

    folds = split(len(cases))
    return [least(np.isin(drawn, fold.learn)) for fold in folds], least(np.ones(len(drawn), bool))
