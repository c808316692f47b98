"""Masks that are there already get the names of their labels: in their headers, and beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.label_evidence import table_of_masks
from nnunet_spine.io.label_ids import TABLES, LabelTable, present_values
from nnunet_spine.io.label_tables import KINDS, Kind, embed
from nnunet_spine.io.masks import read_mask
from nnunet_spine.io.viewer_tables import write_sidecars


@dataclass(frozen=True)
class Tagged:
    """What `write_label_tables` did: the kind of table, the masks that have it, and how many were written for it."""

    kind: Kind
    masks: tuple[Path, ...]
    written: int


def write_label_tables(place: str | Path, kind: Kind | None = None) -> Tagged:
    """Give a mask, or each mask directly in a folder, its label table; write the tables beside them.

    Args:
        place: NIfTI file, or a folder with such.
        kind: see `label_tables.label_table`; None: see `label_evidence.table_of_masks`.

    Raises:
        InputError: no mask, one is unreadable or has other values; or nothing, or too much, says what they mean.
        WriteError: a file cannot be written.
    """
    place = Path(place)
    masks = [place]
    if place.is_dir():
        masks = sorted(p for p in place.iterdir() if p.name.endswith((".nii", ".nii.gz")) and p.name[0] != ".")
        if not masks:
            raise InputError("no .nii or .nii.gz file", "give the folder with the masks", place)
    if kind is None:
        try:
            kind = _kind(table_of_masks(masks, lambda: _values(masks)))
        except InputError as error:
            cure = error.cure.replace("--{role}-labels", f"--kind ({', '.join(KINDS)})")
            raise InputError(error.found, cure, error.path or place) from None
    written = sum([embed(mask, kind) for mask in masks])
    write_sidecars(place if place.is_dir() else place.parent, kind)
    return Tagged(kind, tuple(masks), written)


def _kind(table: LabelTable) -> Kind:
    for name in KINDS:
        known = TABLES[name]
        if table is known or (dict(table.levels) == dict(known.levels) and not table.others):
            return name
    return {name: value for value, name in sorted({**table.levels, **table.others}.items())}


def _values(masks: Sequence[Path]) -> Iterator[set[int]]:
    return (present_values(read_mask(path).labels) for path in masks)
