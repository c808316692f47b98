"""Numbers as texts for tables."""

from nnunet_spine.evaluation.table import MISSING
from nnunet_spine.scores import Metric, Rate, Summary
from nnunet_spine.scores.summary import EXACT

EXACT_SIGN = "*"
EXACT_NOTE = f"{EXACT_SIGN} all scans alike, where a bootstrap cannot tell: Clopper-Pearson interval over scans."


def number(value: float | None, digits: int, factor: float = 1) -> str:
    """A number, or the sign for a missing one."""
    return MISSING if value is None else f"{factor * value:.{digits}f}"


def mean_sd(s: Summary, digits: int, factor: float = 1) -> str:
    """ "0.912 ± 0.031"; without ± for a single value."""
    sd = f" ± {factor * s.sd:.{digits}f}" if s.sd is not None else ""
    return number(s.mean, digits, factor) + sd


def rate(r: Rate) -> str:
    """In percent."""
    return number(r.value, 1, 100)


def rate_interval(r: Rate) -> str:
    """In percent, with the interval in brackets; a star after one that is no bootstrap's."""
    if r.low is None or r.high is None:
        return rate(r)
    return f"{rate(r)} [{100 * r.low:.1f}, {100 * r.high:.1f}]{EXACT_SIGN if r.interval == EXACT else ''}"


def summary_cell(metric: Metric, value: Summary | Rate, *, interval: bool = False) -> str:
    """Mean ± SD with the metric's decimals, or a share in percent, with its interval if wanted."""
    if isinstance(value, Rate):
        return rate_interval(value) if interval else rate(value)
    return mean_sd(value, metric.decimals)


def value_cell(metric: Metric, value: float | bool | None) -> str:
    """One value: a number, a share in percent, yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 1, 100) if metric.is_share else number(value, metric.decimals)
