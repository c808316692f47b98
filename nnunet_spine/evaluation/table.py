"""A table of texts, as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "–"
"""Stands for a value that does not exist."""

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "–": "--", "≤": r"$\leq$", "²": r"\textsuperscript{2}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table whose cells are finished texts.

    Attributes:
        key: identifier, used as the LaTeX label.
        caption: what a reader needs to know, in sentences.
        header: one text per column.
        rows: as many texts each.
        n_names: the first columns hold names, aligned to the left.
    """

    key: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_names: int = 1


def to_markdown(table: Table) -> str:
    """Caption and table with aligned columns."""
    return f"{table.caption}\n\n{markdown_grid(table.header, table.rows, table.n_names)}"


def markdown_grid(header: Sequence[str], rows: Sequence[Sequence[str]], n_names: int = 1) -> str:
    """A table alone, its columns aligned: names to the left, values to the right."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(header))]
    rule = ["-" * w if k < n_names else "-" * (w - 1) + ":" for k, w in enumerate(widths)]

    def padded(line: Sequence[str]) -> list[str]:
        return [c.ljust(w) if k < n_names else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True))]

    return "\n".join(f"| {' | '.join(padded(line))} |" for line in (lines[0], rule, *lines[1:]))


def to_latex(table: Table) -> str:
    """A floating table for the package booktabs."""
    lines = [" & ".join(map(latex_text, line)) + r" \\" for line in (table.header, *table.rows)]
    body = "\n".join(lines[1:])
    return (
        "\\begin{table}\n\\centring\n"
        f"\\caption{{{latex_text(table.caption)}}}\n\\label{{tab:{table.key}}}\n"
        f"\\begin{{tabular}}{{{'l' * table.n_names}{'r' * (len(table.header) - table.n_names)}}}\n"
        f"\\toprule\n{lines[0]}\n\\midrule\n{body}\n\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def latex_text(text: str) -> str:
    """Plain text with everything escaped that LaTeX would read as a command."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values; None becomes an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return out.getvalue()
