"""Label corrections: levels that later work found to be named wrongly."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.anatomy import BY_NAME, BY_VERSE_ID, NAMES
from nnunet_spine.errors import InputError
from nnunet_spine.io.text import read_rows

_CURE = "write lines `case,from,to`, e.g. verse509,L1,T13, or verse559,*,C3-L4 for all levels from head to foot"


@dataclass(frozen=True)
class Correction:
    """What changes in one case.

    Attributes:
        names: level name -> right name.
        sequence: all level names from head to foot; empty where only single levels change.
        where_present: levels of `names` that a scan lacks are nothing to remark on.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    sequence: tuple[str, ...] = ()
    where_present: bool = False


def span(first: str, last: str) -> tuple[str, ...]:
    """Level names from first to last without T13."""
    return tuple(n for n in NAMES[NAMES.index(first) : NAMES.index(last) + 1] if n != "T13")


@dataclass(frozen=True)
class CorrectionList:
    """Corrections of a data set.

    Attributes:
        by_case: case or patient -> correction.
        complete: whether each of them must find its case.
    """

    by_case: Mapping[str, Correction] = field(default_factory=dict)
    complete: bool = True


def read_corrections(
    choice: str | Path | None, known: Mapping[str, Mapping[str, Correction]] | None = None
) -> CorrectionList:
    """A list of corrections: a known one by its name, a CSV file with lines `case,from,to`, or None for none.

    Levels are names or VerSe ids; `from` may be `*` with `to` a span such as `C3-L4`, or a list `T11 T12 T13 L1`.

    Raises:
        InputError: unreadable, or a line that says nothing sensible.
    """
    if choice is None:
        return CorrectionList()
    if str(choice).lower() in (known or {}):
        return CorrectionList(known[str(choice).lower()], complete=False)
    names: dict[str, dict[str, str]] = {}
    out: dict[str, Correction] = {}
    for number, row in read_rows(choice):
        if [cell.lower() for cell in row] == ["case", "from", "to"]:
            continue
        try:
            case, old, new = row
            known, key = (out, case) if old == "*" else (names.setdefault(case, {}), _level(old))
            if key in known:
                raise ValueError("said twice")
            known[key] = Correction(sequence=_sequence(new)) if old == "*" else _level(new)
        except (ValueError, KeyError, IndexError):
            raise InputError(f"line {number}: {','.join(row)}", _CURE, choice) from None
    if both := sorted(set(out) & set(names)):
        raise InputError(f"{both[0]} has single levels and a whole sequence", "keep one of them", choice)
    return CorrectionList({**out, **{case: Correction(steps) for case, steps in names.items()}})


def _level(text: str) -> str:
    return BY_VERSE_ID[int(text)].name if text.isdigit() else BY_NAME[text.upper()].name


def _sequence(text: str) -> tuple[str, ...]:
    parts = [part for part in re.split(r"[\s;]+", text) if part]
    if len(parts) == 1 and "-" in parts[0]:
        first, last = (_level(part) for part in parts[0].split("-"))
        if not (levels := span(first, last)):
            raise ValueError("empty span")
        return levels
    levels = tuple(_level(part) for part in parts)
    if len(set(levels)) != len(levels):
        raise ValueError("a level twice")
    return levels


def corrected_names(correction: Correction, height_mm: Mapping[str, float]) -> dict[str, str]:
    """Old name -> right name for the levels present.

    Args:
        correction: for this case.
        height_mm: name of each level present -> superior world coordinate of its centroid.

    Raises:
        InputError: the number of levels differs from the sequence, or two levels would get one name.
    """
    if correction.sequence:
        if len(correction.sequence) != len(height_mm):
            raise InputError(
                f"the correction names {len(correction.sequence)} levels, the mask has {len(height_mm)}",
                "correct the list",
            )
        top_down = sorted(height_mm, key=height_mm.get, reverse=True)
        return dict(zip(top_down, correction.sequence, strict=True))
    renamed = {name: correction.names.get(name, name) for name in height_mm}
    if len(set(renamed.values())) != len(renamed):
        raise InputError("the correction gives two levels one name", "correct the list")
    return renamed


def unused_levels(correction: Correction, present: Iterable[str]) -> list[str]:
    """What a correction says of levels that a scan lacks, e.g. ["L6 to L5"]."""
    if correction.where_present:
        return []
    return [f"{old} to {new}" for old, new in correction.names.items() if old not in set(present)]
