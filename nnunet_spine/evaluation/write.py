"""The files of an evaluation: evaluation.json, CSV, Markdown and LaTeX tables."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from nnunet_spine.evaluation.layouts import Method, mean_sd, number, paper_tables, rate
from nnunet_spine.evaluation.paired import DIFFERENCES, paired_differences
from nnunet_spine.evaluation.pairing import shorten
from nnunet_spine.evaluation.record import Evaluation, write_record
from nnunet_spine.evaluation.table import MISSING, Table, markdown_grid, to_csv, to_latex, to_markdown
from nnunet_spine.io.files import write_text
from nnunet_spine.scores import CaseScore, Rate, Settings, Summary, VertebraScore, summarise_cohort

_CASE_COLUMNS = (
    "binary_dice", "dice", "iou", "nsd", "assd_mm", "hd_mm", "hd95_mm", "localisation_error_mm", "n_reference",
    "n_predicted", "n_identified", "n_identified_glocker", "identification_rate", "identification_rate_glocker",
    "all_labels_correct", "shift", "suspicion",
)  # fmt: skip
_SUMMARY_COLUMNS = ("method", "group", "metric", "n", "missing", "mean", "sd", "median", "low", "high")


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write all files of one method; evaluation.json comes last, so that it stands for a complete folder."""
    methods, _ = comparable([evaluation])
    write_text(folder / "cases.csv", cases_csv(evaluation.scores, evaluation.settings))
    write_text(folder / "vertebrae.csv", vertebrae_csv(evaluation.scores))
    write_text(folder / "summary.csv", summary_csv(methods))
    tables = paper_tables(methods, evaluation.settings, evaluation.grid)
    write_text(folder / "tables.tex", latex_file(tables))
    parts = [
        "# Evaluation",
        *_failures([evaluation]),
        *map(to_markdown, tables),
        "Cases, the most suspicious first.\n\n" + case_table(evaluation.scores),
        *_notes(evaluation.scores),
    ]
    write_text(folder / "summary.md", "\n\n".join(parts) + "\n")
    write_record(evaluation, folder)


def write_comparison(evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Write the tables of several methods side by side, over the cases that all of them have."""
    methods, common = comparable(evaluations)
    tables = [*paper_tables(methods, evaluations[0].settings, evaluations[0].grid)]
    if len(common) > 1:
        tables.append(_difference_table(evaluations, common))
    write_text(folder / "summary.csv", summary_csv(methods))
    write_text(folder / "tables.tex", latex_file(tables))
    parts = ["# Comparison", *_failures(evaluations), *map(to_markdown, tables)]
    write_text(folder / "summary.md", "\n\n".join(parts) + "\n")


def comparable(evaluations: Sequence[Evaluation]) -> tuple[list[Method], list[str]]:
    """Methods summarised over their common cases, and the names of these."""
    common = sorted(set.intersection(*({score.case for score in e.scores} for e in evaluations)))
    return [_method(e, _only(e, common)) for e in evaluations], common


def _method(evaluation: Evaluation, scores: Sequence[CaseScore]) -> Method:
    members: dict[str, list[CaseScore]] = {}
    for score in scores:
        if group := evaluation.groups.get(score.case):
            members.setdefault(group, []).append(score)
    settings = evaluation.settings
    groups = {group: summarise_cohort(found, settings) for group, found in sorted(members.items())}
    return Method(evaluation.method, summarise_cohort(scores, settings), groups)


def _only(evaluation: Evaluation, cases: Sequence[str]) -> list[CaseScore]:
    by_name = {score.case: score for score in evaluation.scores}
    return [by_name[case] for case in cases]


def _difference_table(evaluations: Sequence[Evaluation], common: Sequence[str]) -> Table:
    first, *others = evaluations
    settings = first.settings
    rows = []
    for other in others:
        found = paired_differences(_only(other, common), _only(first, common), settings)
        cells = (MISSING if d.mean is None else f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" for d in found.values())
        rows.append((f"{other.method} - {first.method}", *cells))
    caption = (
        f"Paired differences to {first.method}. n = {len(common)} scans. Mean over scans of the difference of each "
        "scan's mean [95 % bootstrap interval over scans]; error: localisation error over all reference vertebrae, "
        f"missed ones at {settings.miss_penalty_mm:g} mm."
    )
    return Table("differences", caption, ("methods", *DIFFERENCES), tuple(rows))


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


def latex_file(tables: Sequence[Table]) -> str:
    """All tables, to be included in a document that loads booktabs."""
    return "% \\usepackage{booktabs}\n\n" + "\n".join(map(to_latex, tables))


def case_table(scores: Sequence[CaseScore], most: int | None = None) -> str:
    """One Markdown line per case, the most suspicious first, and how many are left out of `most`."""
    rows = [
        [
            s.case,
            f"{s.suspicion:.2f}",
            number(s.dice, 3),
            number(s.binary_dice, 3),
            number(s.assd_mm, 2),
            f"{s.n_identified}/{s.n_reference}",
            number(s.localisation_error_mm, 1),
            " ".join(s.missed) or MISSING,
            " ".join(s.surplus_names) or MISSING,
            MISSING if s.shift is None else f"{s.shift:+d}",
            "yes" if s.all_labels_correct else "no",
        ]
        for s in sorted(scores, key=lambda s: (-s.suspicion, s.case))[:most]
    ]
    header = [
        "case", "suspicion", "Dice", "binary Dice", "ASSD mm", "identified", "error mm", "missed", "surplus", "shift",
        "all labels correct",
    ]  # fmt: skip
    more = len(scores) - len(rows)
    return markdown_grid(header, rows) + (f"\n\nand {more} more" if more else "")


def overview(methods: Sequence[Method]) -> str:
    """The main numbers by region, and the scans with all labels right, as Markdown."""
    several = len(methods) > 1
    header = ["region", "n", "missed", "surplus", "Dice", "ASSD mm", "id VerSe %", "error mm"]
    rows = [
        [
            *([method.name] if several else []),
            g.group,
            str(g.reference),
            str(g.missed),
            str(g.surplus),
            mean_sd(g.dice, 3),
            mean_sd(g.assd_mm, 2),
            rate(g.identification_rate),
            mean_sd(g.localisation_error_mm, 1),
        ]
        for method in methods
        for g in method.summary.regions
        if g.reference or g.surplus
    ]
    lines = [
        f"{method.name + ': ' if several else ''}all labels correct in {method.summary.all_labels_correct.count} of "
        f"{method.summary.cases} cases; binary Dice {mean_sd(method.summary.binary_dice, 3)}"
        for method in methods
    ]
    return "\n".join([markdown_grid(["method"] * several + header, rows, 1 + several), "", *lines])


def cases_csv(scores: Sequence[CaseScore], settings: Settings) -> str:
    """One line per case."""
    header = ("case", *_CASE_COLUMNS, "localisation_error_penalised_mm", "missed", "misnamed", "surplus", "notes")
    rows = [
        (
            s.case,
            *(getattr(s, name) for name in _CASE_COLUMNS),
            s.localisation_error_penalised_mm(settings.miss_penalty_mm),
            " ".join(s.missed),
            " ".join(s.misnamed),
            " ".join(s.surplus_names),
            "; ".join(s.notes),
        )
        for s in scores
    ]
    return to_csv(header, rows)


def vertebrae_csv(scores: Sequence[CaseScore]) -> str:
    """One line per reference vertebra, and one per surplus level (kind "surplus"; found_as: the level it lies on)."""
    names = [f.name for f in fields(VertebraScore) if not f.name.endswith("center_mm")]
    points = ("reference_center_mm", "predicted_center_mm")
    header = ("case", "kind", *names, "missed", "misnamed", *(f"{p}_{axis}" for p in points for axis in "xyz"))
    rows = []
    for score in scores:
        for v in score.vertebrae:
            centers = [x for p in points for x in (getattr(v, p) or (None,) * 3)]
            rows.append((score.case, "reference", *(getattr(v, n) for n in names), v.missed, v.misnamed, *centers))
        for s in score.surplus:
            known = {"name": s.name, "predicted_mm3": s.predicted_mm3, "found_as": s.lies_on}
            centers = (None, None, None, *s.predicted_center_mm)
            rows.append((score.case, "surplus", *(known.get(n) for n in names), None, None, *centers))
    return to_csv(header, rows)


def summary_csv(methods: Sequence[Method]) -> str:
    """One line per method, group and metric; "scan" is the group of values with one number per scan."""
    rows = []
    for method in methods:
        s = method.summary
        for metric in ("binary_dice", "dice_per_case", "all_labels_correct"):
            rows.append((method.name, "scan", metric, *_values(getattr(s, metric))))
        for group in s.groups:
            for f in fields(group):
                value = getattr(group, f.name)
                if isinstance(value, Summary | Rate):
                    rows.append((method.name, group.group, f.name, *_values(value)))
                elif isinstance(value, int):
                    rows.append((method.name, group.group, f.name, value, *(None,) * 6))
    return to_csv(_SUMMARY_COLUMNS, rows)


def _values(value: Summary | Rate) -> tuple:
    if isinstance(value, Rate):
        return value.total, 0, value.value, None, None, value.low, value.high
    return value.count, value.missing, value.mean, value.sd, value.median, value.low, value.high
