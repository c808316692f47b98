"""Differences between two methods on the same scans."""

from collections.abc import Sequence

from nnunet_spine.scores import CaseScore, Metric, Settings, Summary, metrics, summarise
from nnunet_spine.scores.summary import bootstrap_interval, draw_scans, interval_of_equal_scans


def paired_metrics() -> list[Metric]:
    """What is compared, one number per scan."""
    return [metric for metric in metrics.METRICS if metric.paired]


def paired_differences(
    scores: Sequence[CaseScore], baseline: Sequence[CaseScore], settings: Settings, *, group: str = "All"
) -> dict[str, Summary]:
    """Difference of every metric, scan by scan; by `Metric.mean_key`.

    Of a region or a level the metrics of vertebrae, of each scan's mean over its vertebrae there.

    The interval is the 95 % percentile interval of a bootstrap over scans; for shares that differ by the same in all
    scans that of `summary.interval_of_equal_scans`. Scans in which one side has no value are counted as missing.

    Args:
        scores, baseline: of the same scans in the same order.
        settings: penalty, draws and seed are used.
        group: "All", a region or a level.

    Raises:
        ValueError: different scans.
    """
    if [s.case for s in scores] != [b.case for b in baseline]:
        raise ValueError("differences need the same scans in the same order")
    pairs = list(zip(scores, baseline, strict=True))

    def differences(metric: Metric) -> list[float | None]:
        sides = ((side.value(metric, settings, group) for side in pair) for pair in pairs)
        return [_difference(*values) for values in sides]

    shown = [m for m in paired_metrics() if group == "All" or m.level == "vertebra"]
    return {m.mean_key: _summary(m, differences(m), settings) for m in shown}


def _difference(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else float(value) - float(baseline)


def _summary(metric: Metric, differences: list[float | None], settings: Settings) -> Summary:
    present = [d for d in differences if d is not None]
    draws = draw_scans(len(present), settings.bootstrap_draws, settings.bootstrap_seed)
    ends = bootstrap_interval(present, [1] * len(present), draws)
    if metric.is_share and present and (ends is None or ends[0] == ends[1]):
        ends = interval_of_equal_scans(present[0], len(present), -1.0, 1.0)
    return summarise(differences, *(ends or (None, None)))
