"""Mean, standard deviation and median of values of which some may not exist; shares; their intervals over scans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BOOTSTRAP, EXACT = "bootstrap over scans", "Clopper-Pearson over scans"


@dataclass(frozen=True)
class Summary:
    """Distribution of a score; `missing` values are counted and otherwise left out.

    Attributes:
        count, missing: how many values exist, and how many do not.
        mean, median: None without values.
        sd: sample standard deviation (n - 1); None below two values.
        low, high: bootstrap 95 % interval of the mean over scans; None where it was not computed, without values, or
            with values of one scan only.
    """

    count: int
    missing: int
    mean: float | None
    sd: float | None
    median: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rate:
    """A share.

    Attributes:
        count, total: numerator and denominator.
        value: count / total; None for a total of 0.
        low, high: 95 % interval over scans; None where it was not computed, or for a total of 0.
        interval: how it was made, `BOOTSTRAP` or `EXACT` (where all scans are alike); None without an interval.
    """

    count: int
    total: int
    value: float | None
    low: float | None = None
    high: float | None = None
    interval: str | None = None


def summarise(values: Iterable[float | None], low: float | None = None, high: float | None = None) -> Summary:
    """Mean, sample SD and median of the values that exist; None values are counted as missing."""
    values = list(values)
    present = np.array([v for v in values if v is not None], float)
    n = len(present)
    return Summary(
        count=n,
        missing=len(values) - n,
        mean=float(present.mean()) if n else None,
        sd=float(present.std(ddof=1)) if n > 1 else None,
        median=float(np.median(present)) if n else None,
        low=low,
        high=high,
    )


@lru_cache(maxsize=64)
def draw_scans(n: int, draws: int, seed: int) -> np.ndarray:
    """How often each of n scans is drawn in each bootstrap sample, (draws, n)."""
    if n == 0:
        return np.zeros((draws, 0))
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws).astype(float)


def bootstrap_interval(sums: Sequence[float], counts: Sequence[float], draws: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of a mean or share over scans.

    Args:
        sums, counts: of each scan, numerator and denominator, (n,).
        draws: of `draw_scans`, (draws, n). Samples that drew no value at all are left out.

    Returns:
        Its ends; None unless at least two scans have values.
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    if np.count_nonzero(counts) < 2:
        return None
    drawn = draws @ counts
    means = (draws @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def interval_of_equal_scans(value: float, n: int, lowest: float = 0.0, highest: float = 1.0) -> tuple[float, float]:
    """95 % interval of a mean of values within bounds, where all n scans gave the same one.

    A bootstrap cannot tell what such scans leave open. If none of n scans differs, at most a share
    p = 1 - 0.025^(1/n) of all scans does (Clopper and Pearson 1934), by at most the way to a bound. For a share of 0 of
    n or n of n this is the interval of Clopper and Pearson: 0 of 8 is 0 % to 36.9 %.

    Args:
        value: the common value.
        n: number of scans, at least 1.
        lowest, highest: bounds of the values.
    """
    p = 1 - 0.025 ** (1 / n)
    return value - p * (value - lowest), value + p * (highest - value)


def rate(counts: Sequence[int], totals: Sequence[int], draws: np.ndarray) -> Rate:
    """A share pooled over scans, with its interval.

    Args:
        counts, totals: of each scan.
        draws: of `draw_scans`.
    """
    count, total = int(sum(counts)), int(sum(totals))
    if not total:
        return Rate(0, 0, None)
    ends = bootstrap_interval(counts, totals, draws)
    if ends is not None and ends[0] < ends[1]:
        return Rate(count, total, count / total, *ends, BOOTSTRAP)
    n_scans = int(np.count_nonzero(np.asarray(totals)))
    return Rate(count, total, count / total, *interval_of_equal_scans(count / total, n_scans), EXACT)
