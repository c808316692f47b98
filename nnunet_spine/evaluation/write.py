"""The files of an evaluation: evaluation.json, CSV, Markdown and LaTeX tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.cells import summary_cell, value_cell
from nnunet_spine.evaluation.comparison import write_comparison_record
from nnunet_spine.evaluation.layouts import paper_tables
from nnunet_spine.evaluation.method import Method
from nnunet_spine.evaluation.paired import paired_differences, paired_metrics
from nnunet_spine.evaluation.pairing import shorten
from nnunet_spine.evaluation.record import Evaluation, group_summaries, write_record
from nnunet_spine.evaluation.table import MISSING, Table, markdown_grid, to_csv, to_latex, to_markdown
from nnunet_spine.evaluation.tables import COUNTS, REGION_TITLES, definitions, metric_tables
from nnunet_spine.io.files import write_text
from nnunet_spine.scores import CaseScore, Metric, Rate, Settings, Summary, metrics, summarise_cohort
from nnunet_spine.scores.summary import BOOTSTRAP

_SUMMARY_COLUMNS = (
    "method",
    "cases",
    "group",
    "metric",
    "n",
    "missing",
    "mean",
    "sd",
    "median",
    "low",
    "high",
    "interval",
)


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write all files of one method; evaluation.json comes last, so that it stands for a complete folder."""
    methods, _ = comparable([evaluation])
    write_text(folder / "cases.csv", cases_csv(evaluation.scores, evaluation.settings))
    write_text(folder / "vertebrae.csv", vertebrae_csv(evaluation.scores))
    write_text(folder / "summary.csv", summary_csv(methods))
    tables = _tables(methods, evaluation)
    write_text(folder / "tables.tex", latex_file(tables, evaluation.settings))
    columns = [m for m in metrics.METRICS if m.paired]
    parts = [
        "# Evaluation",
        *_failures([evaluation]),
        *map(to_markdown, tables),
        "Cases, the most suspicious first.\n\n" + case_table(evaluation.scores, evaluation.settings, columns),
        *_notes(evaluation.scores),
        _definitions(evaluation.settings),
    ]
    write_text(folder / "summary.md", "\n\n".join(parts) + "\n")
    write_record(evaluation, folder)


def write_comparison(evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Write the tables of several methods side by side, over the cases that all of them have.

    Raises:
        InputError: one method has vertebrae, another regions.
    """
    if len({e.kind for e in evaluations}) > 1:
        kinds = ", ".join(f"{e.method}: {e.kind}" for e in evaluations)
        raise InputError(f"methods of different kinds ({kinds})", "compare those of one kind", folder)
    methods, common = comparable(evaluations)
    settings = evaluations[0].settings
    tables = [*_tables(methods, evaluations[0])]
    if len(common) > 1:
        tables.append(_difference_table(evaluations, common))
    write_text(folder / "summary.csv", summary_csv(methods))
    write_text(folder / "tables.tex", latex_file(tables, settings))
    parts = ["# Comparison", *_failures(evaluations), *map(to_markdown, tables), _definitions(settings)]
    write_text(folder / "summary.md", "\n\n".join(parts) + "\n")
    write_comparison_record(evaluations, methods, common, folder)


def _tables(methods: Sequence[Method], evaluation: Evaluation) -> tuple[Table, ...]:
    return *metric_tables(methods, evaluation.settings, evaluation.grid), *paper_tables(methods)


def _definitions(settings: Settings) -> str:
    return "\n".join(["How the numbers are made:", "", *(f"- {line}" for line in definitions(settings))])


def comparable(evaluations: Sequence[Evaluation]) -> tuple[list[Method], list[str]]:
    """Methods summarised over their common cases, and the names of these."""
    common = sorted(set.intersection(*({score.case for score in e.scores} for e in evaluations)))
    return [_method(e, _only(e, common)) for e in evaluations], common


def _method(evaluation: Evaluation, scores: Sequence[CaseScore]) -> Method:
    groups = group_summaries(evaluation, scores)
    return Method(evaluation.method, summarise_cohort(scores, evaluation.settings), groups)


def _only(evaluation: Evaluation, cases: Sequence[str]) -> list[CaseScore]:
    by_name = {score.case: score for score in evaluation.scores}
    return [by_name[case] for case in cases]


def _difference_table(evaluations: Sequence[Evaluation], common: Sequence[str]) -> Table:
    """Metrics by row: the first method's mean, and the difference of each other one to it."""
    first, *others = evaluations
    settings = first.settings
    found = [paired_differences(_only(other, common), _only(first, common), settings) for other in others]
    rows = []
    for m in paired_metrics():
        arrow = "↑" if m.better == "higher" else "↓"
        rows.append((f"{m.name} {arrow}", *(_difference_cell(m, differences[m.mean_key]) for differences in found)))
    caption = (
        f"Paired differences to {first.method}. n = {len(common)} scans. Mean over scans of the difference of each "
        "scan's value [95 % interval over scans, by bootstrap; for shares with the same difference in all scans by "
        "Clopper and Pearson]. ↑ higher is better, ↓ lower is better."
    )
    return Table("differences", caption, ("metric", *(other.method for other in others)), tuple(rows))


def _difference_cell(metric: Metric, difference: Summary) -> str:
    factor, digits = (100, 1) if metric.is_share else (1, metric.decimals)
    if difference.mean is None:
        return MISSING
    text = f"{factor * difference.mean:+.{digits}f}"
    if difference.low is not None and difference.high is not None:
        text += f" [{factor * difference.low:+.{digits}f}, {factor * difference.high:+.{digits}f}]"
    return text + (f", n = {difference.count}" if difference.missing else "")


def _failures(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    for e in evaluations:
        total = len(e.scores) + len(e.failures)
        if e.failures:
            head = f"**{len(e.failures)} of {total} cases failed and are in no table**"
            of = f" ({e.method})" if e.method else ""
            yield "\n".join([f"{head}{of}:", "", *(f"- {failure}" for failure in e.failures)])


def _notes(scores: Sequence[CaseScore]) -> Iterator[str]:
    cases: dict[str, list[str]] = {}
    for score in scores:
        for note in score.notes:
            cases.setdefault(note, []).append(score.case)
    if cases:
        yield "\n".join(["Notes:", "", *(f"- {note} ({shorten(names)})" for note, names in cases.items())])


def latex_file(tables: Sequence[Table], settings: Settings) -> str:
    """All tables, to be included in a document that loads booktabs; the metrics' definitions as comments."""
    notes = [f"% {line}" for line in definitions(settings)]
    return "\n".join(["% \\usepackage{booktabs}", *notes, "", *map(to_latex, tables)])


def case_table(
    scores: Sequence[CaseScore],
    settings: Settings = Settings(),  # noqa: B008
    columns: Sequence[Metric] | None = None,
    most: int | None = None,
) -> str:
    """One Markdown line per case, the most suspicious first, and how many are left out of `most`.

    Args:
        settings: of the scores.
        columns: metrics with one value per scan; None: the headline ones.
    """
    columns = [m for m in metrics.METRICS if m.headline and m.paired] if columns is None else columns
    rows = [
        [
            s.case,
            f"{s.suspicion:.2f}",
            *(value_cell(m, s.value(m, settings)) for m in columns),
            " ".join(s.missed) or MISSING,
            " ".join(s.surplus_names) or MISSING,
            MISSING if s.shift is None else f"{s.shift:+d}",
        ]
        for s in sorted(scores, key=lambda s: (-s.suspicion, s.case))[:most]
    ]
    header = ["case", "suspicion", *(m.name for m in columns), "missed", "surplus", "shift"]
    more = len(scores) - len(rows)
    return markdown_grid(header, rows) + (f"\n\nand {more} more" if more else "")


def overview(methods: Sequence[Method]) -> str:
    """The headline metrics by region and over scans, as Markdown."""
    several = len(methods) > 1
    columns = [m for m in metrics.vertebra_metrics() if m.headline]
    header = ["region", "n", "missed", "surplus", *(m.name for m in columns)]
    rows = [
        [
            *([method.name] if several else []),
            REGION_TITLES[g.group],
            str(g.reference),
            str(g.missed),
            str(g.surplus),
            *(summary_cell(m, g[m.mean_key]) for m in columns),
        ]
        for method in methods
        for g in method.summary.regions
        if g.reference or g.surplus
    ]
    lines = []
    for method in methods:
        shown = [m for m in (*metrics.scan_metrics(), *metrics.cohort_metrics()) if m.headline]
        values = {m: method.summary[m.key] for m in shown}
        found = [_line(m, value) for m, value in values.items() if not isinstance(value, Rate) or value.total]
        lines.append(f"{method.name + ': ' if several else ''}{'; '.join(found)}")
    return "\n".join([markdown_grid(["method"] * several + header, rows, 1 + several), "", *lines])


def _line(metric: Metric, value: Summary | Rate) -> str:
    if isinstance(value, Rate):
        count = f"{value.count} of {value.total}"
        return f"{metric.title} in {count} scans" if metric.level == "scan" else f"{metric.title} {count}"
    return f"{metric.title} {summary_cell(metric, value)}"


def cases_csv(scores: Sequence[CaseScore], settings: Settings) -> str:
    """One line per case."""
    counts = ("n_reference", "n_predicted", "n_identified", "shift", "suspicion")
    keys = [m.mean_key for m in metrics.METRICS if m.paired]
    header = ("case", *keys, *counts, *COUNTS, "notes")
    rows = []
    for s in scores:
        values = s.scan_values(settings)
        rows.append(
            (
                s.case,
                *(values[key] for key in keys),
                *(getattr(s, name) for name in counts),
                " ".join(s.missed),
                " ".join(s.misnamed),
                " ".join(s.surplus_names),
                "; ".join(s.notes),
            )
        )
    return to_csv(header, rows)


def vertebrae_csv(scores: Sequence[CaseScore]) -> str:
    """One line per reference vertebra, and one per surplus level (kind "surplus"; found_as: the level it lies on)."""
    keys = [m.key for m in metrics.vertebra_metrics()]
    points = ("reference_centre_mm", "predicted_centre_mm")
    header = ("case", "kind", "name", "reference_mm3", "predicted_mm3", *keys, "found_as", "missed", "misnamed",
              *(f"{p}_{axis}" for p in points for axis in "xyz"))  # fmt: skip
    rows = []
    for score in scores:
        for v in score.vertebrae:
            centres = [x for p in points for x in (getattr(v, p) or (None,) * 3)]
            values = (v.values.get(key) for key in keys)
            rows.append((score.case, "reference", v.name, v.reference_mm3, v.predicted_mm3, *values, v.found_as,
                         v.missed, v.misnamed, *centres))  # fmt: skip
        for s in score.surplus:
            nothing = (None,) * len(keys)
            rows.append((score.case, "surplus", s.name, None, s.predicted_mm3, *nothing, s.lies_on, None, None, None,
                         None, None, *s.predicted_centre_mm))  # fmt: skip
    return to_csv(header, rows)


def summary_csv(methods: Sequence[Method]) -> str:
    """One line per method, group of cases, group of vertebrae and metric.

    "cases" is "all" or a group that the user named; "group" is "scan" for metrics with one number per scan.
    """
    rows = []
    for method in methods:
        for cases, s in {"all": method.summary, **method.groups}.items():
            for key, value in {**s.per_scan, **s.values}.items():
                rows.append((method.name, cases, "scan", key, *_values(value)))
            for group in s.groups:
                for name in ("reference", *COUNTS):
                    rows.append((method.name, cases, group.group, name, getattr(group, name), *(None,) * 7))
                for key, value in group.values.items():
                    rows.append((method.name, cases, group.group, key, *_values(value)))
    return to_csv(_SUMMARY_COLUMNS, rows)


def _values(value: Summary | Rate) -> tuple:
    if isinstance(value, Rate):
        return value.total, 0, value.value, None, None, value.low, value.high, value.interval
    interval = BOOTSTRAP if value.low is not None else None
    return value.count, value.missing, value.mean, value.sd, value.median, value.low, value.high, interval
