"""Mean, standard deviation and median of values of which some may not exist."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Distribution of a score; `missing` values are counted and otherwise left out.

    Attributes:
        count, missing: how many values exist, and how many do not.
        mean, median: None without values.
        sd: sample standard deviation (n - 1); None below two values.
        low, high: bootstrap 95 % interval of the mean over scans; None where it was not computed, or without values.
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
        low, high: bootstrap 95 % interval over scans; None where it was not computed, or for a total of 0.
    """

    count: int
    total: int
    value: float | None
    low: float | None = None
    high: float | None = None


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
