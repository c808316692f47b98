"""The manifest (one line per case) and the report for the user."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnunet_spine.dataset_conversion.case import SPLITS
from nnunet_spine.dataset_conversion.prepare import Record
from nnunet_spine.errors import InputError
from nnunet_spine.io.text import read_records
from nnunet_spine.jobs import Failure


def manifest_text(records: Iterable[Record]) -> str:
    """CSV with a header line and one line per case, sorted by case."""
    records = sorted(records, key=lambda r: r.case)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0].row) if records else ["case"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.row for record in records)
    return out.getvalue()


def report_lines(records: Sequence[Record], remarks: Iterable[str] = (), unit: str = "scan") -> Iterator[str]:
    """What was found, in a few lines, then one line for each case with remarks."""
    patients = len({record.patient for record in records})
    counts = Counter(record.split for record in records)
    cohorts = Counter(f"{record.row['cohort']} {record.row['layout']}".strip() for record in records)
    yield f"{len(records)} {unit}s of {patients} patients: " + ", ".join(f"{counts[s]} {s}" for s in SPLITS)
    yield "from " + ", ".join(f"{name} {n}" for name, n in sorted(cohorts.items()))
    orientations = Counter(record.row["orientation"] or "unknown" for record in records)
    yield "orientations: " + ", ".join(f"{codes} {n}" for codes, n in orientations.most_common())
    yield from remarks
    for record in records:
        notes = [str(record.row[key]) for key in ("flags", "islands") if record.row[key]]
        if notes:
            yield f"  {record.case}: {'; '.join(notes)}"


def problem_lines(problems: Sequence[Failure]) -> Iterator[str]:
    """One line for each bad case."""
    for problem in problems:
        yield f"  {problem}"


def read_manifest(path: str | Path) -> list[dict[str, str]]:
    """Lines of a manifest, all values as text.

    Raises:
        InputError: missing or without cases.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", "convert the dataset again", path)
    # As it was written: names of files may hold any bytes. A spreadsheet may have saved it in another encoding since.
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
    except csv.Error:
        rows = []
    if not rows or "case" not in rows[0]:
        rows = read_records(path, ("case",))
    if not rows:
        raise InputError("no cases in the manifest", "convert the dataset again", path)
    return rows
