"""Scores as JSON and as Markdown tables."""

from collections.abc import Sequence
from dataclasses import asdict

from nnunet_spine.scores.case import CaseScore
from nnunet_spine.scores.cohort import CohortSummary, summarise_cohort
from nnunet_spine.scores.settings import CENTER_DEFINITIONS, Settings
from nnunet_spine.scores.summary import Summary


def to_json(cases: Sequence[CaseScore]) -> dict:
    """Cases and their summary as plain dicts, lists, numbers and None."""

    def case_entry(case: CaseScore) -> dict:
        derived = ("dice", "identification_rate", "localisation_error_mm", "all_labels_correct")
        return {
            "case": case.case,
            "binary_dice": case.binary_dice,
            **{name: getattr(case, name) for name in derived},
            "missed": list(case.missed),
            "surplus": list(case.surplus_names),
            "vertebrae": [_plain(asdict(v)) for v in case.vertebrae],
        }

    summary = asdict(summarise_cohort(cases))
    summary |= {name: list(summary[name]) for name in ("regions", "levels")}
    return {
        "center": CENTER_DEFINITIONS[Settings.center],
        "identification_radius_mm": Settings.identification_radius_mm,
        "summary": summary,
        "cases": [case_entry(case) for case in cases],
    }


def _plain(entry: dict) -> dict:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}


def case_table(cases: Sequence[CaseScore]) -> str:
    """One line per case, as a Markdown table with aligned columns; "-" where a value does not exist."""
    rows = [
        [
            case.case,
            _number(case.dice, 3),
            _number(case.binary_dice, 3),
            f"{case.n_identified}/{len(case.vertebrae)}",
            _number(case.localisation_error_mm, 1),
            " ".join(case.missed) or "-",
            " ".join(case.surplus_names) or "-",
            "yes" if case.all_labels_correct else "no",
        ]
        for case in cases
    ]
    return _table(
        ["case", "Dice", "binary Dice", "identified", "error mm", "missed", "surplus", "all labels correct"], rows
    )


def summary_table(summary: CohortSummary) -> str:
    """The cohort by region, as a Markdown table with aligned columns, and lines for the values per case."""
    rows = [
        [
            r.group,
            str(r.reference),
            _percent(r.identification_rate.count, r.reference),
            _mean_sd(r.dice, 3),
            _number(r.dice.median, 3),
            _mean_sd(r.localisation_error_mm, 1),
            _number(r.localisation_error_mm.median, 1),
            str(r.missed),
            str(r.surplus),
        ]
        for r in summary.regions
    ]
    header = ["region", "vertebrae", "identified", "Dice", "median", "error mm", "median", "missed", "surplus"]
    return "\n".join(
        [
            _table(header, rows),
            "",
            f"All labels correct: {summary.all_labels_correct.count} of {summary.cases} cases "
            f"({_percent(summary.all_labels_correct.count, summary.cases)})",
            f"Binary Dice per case: {_describe(summary.binary_dice)}",
            f"Vertebra Dice per case: {_describe(summary.dice_per_case)}",
            "Dice and error are mean ± SD over reference vertebrae; missed vertebrae have Dice 0 and no error.",
        ]
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _mean_sd(s: Summary, digits: int) -> str:
    return _number(s.mean, digits) + (f" ± {s.sd:.{digits}f}" if s.sd is not None else "")


def _describe(s: Summary) -> str:
    missing = f", undefined in {s.missing}" if s.missing else ""
    return f"{_mean_sd(s, 3)}, median {_number(s.median, 3)}, n = {s.count}{missing}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(3, *(len(row[k]) for row in [header, *rows])) for k in range(len(header))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]

    def padded(line: list[str]) -> list[str]:  # names to the left, values to the right
        return [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]

    return "\n".join(f"| {' | '.join(padded(line))} |" for line in (header, rule, *rows))
