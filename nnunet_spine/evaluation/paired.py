"""Differences between two methods on the same scans."""

from collections.abc import Callable, Sequence

import numpy as np

from nnunet_spine.scores import CaseScore, Settings, Summary, summarise

_Value = Callable[[CaseScore, Settings], float | None]

DIFFERENCES: dict[str, _Value] = {
    "Dice": lambda score, settings: score.dice,
    "binary Dice": lambda score, settings: score.binary_dice,
    "id VerSe": lambda score, settings: score.identification_rate,
    "all correct": lambda score, settings: float(score.all_labels_correct),
    "error mm": lambda score, settings: score.localisation_error_penalised_mm(settings.miss_penalty_mm),
}
"""What is compared, one number per scan."""


def paired_differences(
    scores: Sequence[CaseScore], baseline: Sequence[CaseScore], settings: Settings
) -> dict[str, Summary]:
    """Difference of each value of `DIFFERENCES`, scan by scan.

    The interval is the 95 % percentile interval of a bootstrap over scans. Scans in which one side has no value are
    counted as missing.

    Args:
        scores, baseline: of the same scans in the same order.
        settings: penalty, draws and seed are used.

    Raises:
        ValueError: different scans.
    """
    if [s.case for s in scores] != [b.case for b in baseline]:
        raise ValueError("differences need the same scans in the same order")
    pairs = list(zip(scores, baseline, strict=True))
    return {
        name: _summary([_difference(value(s, settings), value(b, settings)) for s, b in pairs], settings)
        for name, value in DIFFERENCES.items()
    }


def _difference(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else value - baseline


def _summary(differences: list[float | None], settings: Settings) -> Summary:
    present = np.array([d for d in differences if d is not None], float)
    if not present.size:
        return summarise(differences)
    rng = np.random.default_rng(settings.bootstrap_seed)
    draws = rng.multinomial(present.size, np.full(present.size, 1 / present.size), size=settings.bootstrap_draws)
    low, high = np.percentile(draws @ present / present.size, [2.5, 97.5])
    return summarise(differences, float(low), float(high))
