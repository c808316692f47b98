"""Which label table the masks of a folder have: by what lies beside them or in them, or, without these, by values.

Evidence beside the data wins over what a value usually means: a dataset.json, our own labels.json, and the table of
names in a mask's own header. Where two of them disagree nothing is guessed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_ids import (
    COARSE,
    NNUNET,
    TOTALSEGMENTATOR,
    VERSE,
    LabelTable,
    read_table,
    table_of_names,
)
from nnunet_spine.io.label_tables import DAMAGED_TABLE, embedded_labels
from nnunet_spine.io.viewer_tables import JSON_FILE

_SAYS_NOTHING = re.compile(r"\s*|(segment|label|structure)?[\s_]*\d+|background|clear label", re.IGNORECASE)
_LAST_OF_VERSION_1 = 104  # of TotalSegmentator, which then had L5 = 18; version 2 has 117 structures


def table_of_masks(masks: Sequence[Path], values: Callable[[], Iterable[set[int]]]) -> LabelTable:
    """The one table of some masks.

    Args:
        masks: the files, at least one.
        values: returns the values of each mask, without 0; asked for only where nothing lies beside or in the masks.

    Raises:
        InputError: two tables that disagree; without any, values that no known table explains, or more than one.
    """
    tables = [*_beside(masks), *_inside(masks)]
    if not tables:
        return recognise_table(list(values()))
    merged = tables[0]
    for table in tables[1:]:
        merged = _merge(merged, table)
    return merged


def _beside(masks: Sequence[Path]) -> Iterator[LabelTable]:
    """Tables in JSON files in the masks' folders, and above: above labelsTr, and above fold_0/validation."""
    for folder in dict.fromkeys(mask.parent for mask in masks):
        above = [folder, folder.absolute().parent]
        if above[1].name.startswith("fold_"):
            above.append(above[1].parent)
        for path in (place / "dataset.json" for place in above):
            if path.is_file() and "labels" in _content(path):
                yield _read(path)
                break
        ours = folder / JSON_FILE
        if ours.is_file() and {"kind", "labels"} <= _content(ours).keys():
            yield _read(ours)


def _content(path: Path) -> dict:
    """What a JSON file holds; empty for one of another form, which says nothing about labels."""
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def _read(path: Path) -> LabelTable:
    try:
        return read_table(path)
    except InputError as error:
        raise InputError(error.found, f"{error.cure}; or name the table with --{{role}}-labels", path) from None


def _inside(masks: Sequence[Path]) -> Iterator[LabelTable]:
    """Tables in the masks' own headers, each different one once; damaged masks are reported when they are read."""
    seen = set()
    for mask in masks:
        try:
            names = embedded_labels(mask)
        except InputError as error:
            if error.found == DAMAGED_TABLE:
                raise InputError(error.found, "name the table with --{role}-labels", mask) from None
            continue
        names = {value: text for value, text in (names or {}).items() if not _SAYS_NOTHING.fullmatch(text)}
        key = tuple(sorted(names.items()))
        if names and key not in seen:
            seen.add(key)
            yield table_of_names(names, mask)


def _merge(first: LabelTable, second: LabelTable) -> LabelTable:
    for value in sorted({*first.levels, *first.others} & {*second.levels, *second.others}):
        one, other = first.meaning(value), second.meaning(value)
        if one != other:
            raise InputError(
                f"label {value} is {one} by {first.name}, and {other} by {second.name}",
                "remove or correct the wrong one, or name the table with --{role}-labels",
            )
    if first.kind != second.kind:
        raise InputError(
            f"{first.kind} by {first.name}, {second.kind} by {second.name}",
            "remove or correct the wrong one, or name the table with --{role}-labels",
        )
    levels = {**first.levels, **second.levels}
    return LabelTable(first.name, levels, {**first.others, **second.others}, first.kind)


def recognise_table(values_per_mask: Sequence[set[int]]) -> LabelTable:
    """The one table that explains the values of a whole folder of masks.

    nnU-Net and VerSe differ only in T13; 28 counts as VerSe's only beside T12 or L1. TotalSegmentator's two versions
    number vertebrae differently, so it takes a structure that only version 2 has. A folder with nothing above 3 may
    hold regions or the spine as well as C1 to C3. Nothing is guessed: if two tables fit and mean different vertebrae,
    or none fits, that is an error. Without any value all tables are as good.

    Args:
        values_per_mask: values of each mask, without 0.

    Raises:
        InputError: no table fits, or more than one.
    """
    everything = set().union(*values_per_mask)
    if not everything:
        return NNUNET
    fitting = [t for t in (NNUNET, VERSE, TOTALSEGMENTATOR) if _plausible(t, values_per_mask)]
    meanings = {tuple(sorted((v, table.levels.get(v)) for v in everything)) for table in fitting}
    coarse = [table.name for table in COARSE if everything <= table.levels.keys()]
    if (
        len(meanings) == 1
        and not coarse
        and (fitting[0] is not TOTALSEGMENTATOR or max(everything) > _LAST_OF_VERSION_1)
    ):
        return fitting[0]
    shown = " ".join(map(str, sorted(everything)))
    names = [table.name for table in fitting]
    cure = "name the table with --{role}-labels"
    if coarse:
        raise InputError(f"the labels {shown} may be {' or '.join(['levels (nnunet)', *coarse])}", cure)
    if len(fitting) > 1:
        raise InputError(f"the labels {shown} fit the tables {' and '.join(names)}", cure)
    if fitting:
        raise InputError(f"the labels {shown} fit totalsegmentator, but do not tell its version 2 from version 1", cure)
    raise InputError(f"the labels {shown} fit no known table", cure)


def _plausible(table: LabelTable, values_per_mask: Sequence[set[int]]) -> bool:
    everything = set().union(*values_per_mask)
    if not table.knows(everything) or not everything & table.levels.keys():
        return False
    if table is VERSE:
        return all(28 not in values or values & {19, 20} for values in values_per_mask)
    if table is TOTALSEGMENTATOR:
        return len(everything & table.levels.keys()) > 1 or max(everything) > max(table.levels)
    return True
