"""Which vertebra a mask value means: the label tables of predictions and references."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID, BY_VERSE_ID
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import bounding_box
from nnunet_spine.io.files import read_json

_LAST_OF_VERSION_1 = 104  # of TotalSegmentator, which then had L5 = 18; version 2 has 117 structures
KNOWN = ("nnunet", "verse", "totalsegmentator")


@dataclass(frozen=True)
class LabelTable:
    """What the values of a mask mean.

    Attributes:
        name: "nnunet", "verse", "totalsegmentator", or the path of the dataset.json it comes from.
        levels: value -> level name.
        others: value -> what it is, where that is known to be no vertebra.
    """

    name: str
    levels: dict[int, str]
    others: dict[int, str] = field(default_factory=dict)

    def knows(self, values: Iterable[int]) -> bool:
        """Whether each value has a meaning here; 0 is background."""
        return not set(values) - self.levels.keys() - self.others.keys() - {0}

    def to_nnunet(self, labels: np.ndarray) -> list[str]:
        """Replace the values of a mask by nnU-Net ids, in place; what is no vertebra becomes background.

        Args:
            labels: 3-D uint8.

        Returns:
            What became background, e.g. ["sacrum"].

        Raises:
            InputError: a value without meaning.
        """
        values = present_values(labels)
        if unknown := sorted(values - self.levels.keys() - self.others.keys()):
            raise InputError(
                f"label {unknown[0]} is not in the table {self.name}{_elsewhere(unknown[0])}",
                "name the right table with --{role}-labels",
            )
        lookup = np.zeros(256, np.uint8)
        for value in values & self.levels.keys():
            lookup[value] = BY_NAME[self.levels[value]].nnunet_id
        if any(lookup[value] != value for value in values):
            for k in range(labels.shape[2]):  # slice by slice, without a second volume
                labels[..., k] = lookup[labels[..., k]]
        return [self.others[value] for value in sorted(values & self.others.keys())]


def _total_segmentator() -> LabelTable:
    """The multi-label file of version 2: L5 = 27 upwards to C1 = 50, among 117 structures (map_to_binary.py there)."""
    names = (
        [f"L{i}" for i in range(5, 0, -1)] + [f"T{i}" for i in range(12, 0, -1)] + [f"C{i}" for i in range(7, 0, -1)]
    )
    levels = dict(enumerate(names, start=27))
    others = {value: f"structure {value}" for value in range(1, 118) if value not in levels}
    return LabelTable("totalsegmentator", levels, {**others, 25: "sacrum", 26: "S1"})


NNUNET = LabelTable("nnunet", {value: level.name for value, level in BY_NNUNET_ID.items()})
VERSE = LabelTable("verse", {value: level.name for value, level in BY_VERSE_ID.items()}, {26: "sacrum", 27: "coccyx"})
TOTALSEGMENTATOR = _total_segmentator()
_TABLES = {table.name: table for table in (NNUNET, VERSE, TOTALSEGMENTATOR)}


def present_values(labels: np.ndarray) -> set[int]:
    """Values in a 3-D uint8 array, 0 excluded."""
    box = bounding_box(labels)
    if box is None:
        return set()
    counts = np.zeros(256, np.int64)
    for k in range(box[2].start, box[2].stop):  # counting needs eight bytes per voxel
        counts += np.bincount(labels[box[0], box[1], k].ravel(order="K"), minlength=256)
    return set(np.flatnonzero(counts).tolist()) - {0}


def _elsewhere(value: int) -> str:
    meanings = [f"{table.levels[value]} in {table.name}" for table in _TABLES.values() if value in table.levels]
    return f" ({', '.join(meanings)})" if meanings else ""


def find_table(name: str | Path) -> LabelTable:
    """A table by its name, or from a dataset.json.

    Raises:
        InputError: neither, or a dataset.json without vertebrae.
    """
    if str(name) in _TABLES:
        return _TABLES[str(name)]
    if not str(name).endswith(".json"):
        raise InputError(f"label table '{name}'; expected {', '.join(KNOWN)}, auto, or the path of a dataset.json")
    return read_table(name)


def read_table(path: str | Path) -> LabelTable:
    """The table in nnU-Net's dataset.json. Names may read "L5", "vertebrae_L5" or "vertebra L5".

    Raises:
        InputError: unreadable, region labels, an ignore label, or no vertebra among the labels.
    """
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, int) for value in labels.values()):
        raise InputError("no label table of the form {name: integer}", "give nnU-Net's dataset.json", path)
    if "ignore" in labels:
        raise InputError("an ignore label, which evaluation does not support", "give references without it", path)
    levels, others = {}, {}
    for text, value in labels.items():
        name = text.replace(" ", "_").rsplit("_", 1)[-1].upper()
        if value != 0:
            (levels if name in BY_NAME else others)[value] = name if name in BY_NAME else text
    if not levels:
        raise InputError(f"no vertebra among the labels {', '.join(labels)}", "evaluation needs named levels", path)
    return LabelTable(str(path), levels, others)


def recognise_table(values_per_mask: Sequence[set[int]], folder: str | Path) -> LabelTable:
    """The one table that explains a whole folder of masks.

    nnU-Net and VerSe differ only in T13; 28 counts as VerSe's only beside T12 or L1. TotalSegmentator's two versions
    number vertebrae differently, so it takes a structure that only version 2 has. Nothing is guessed: if two tables fit
    and mean different vertebrae, or none fits, that is an error.

    Args:
        values_per_mask: values of each mask, without 0.
        folder: the masks' folder; a dataset.json in or above it settles the matter if it fits.

    Raises:
        InputError: no table fits, or more than one.
    """
    folder = Path(folder)
    everything = set().union(*values_per_mask)
    for path in (folder / "dataset.json", folder.parent / "dataset.json"):
        if path.is_file():
            table = read_table(path)
            if table.knows(everything):
                return table
            raise InputError(f"labels that {path} does not have", "name the table", folder)
    fitting = [table for table in _TABLES.values() if _plausible(table, values_per_mask)]
    meanings = {tuple(sorted((v, table.levels.get(v)) for v in everything)) for table in fitting}
    if len(meanings) == 1 and (fitting[0] is not TOTALSEGMENTATOR or max(everything) > _LAST_OF_VERSION_1):
        return fitting[0]
    shown = " ".join(map(str, sorted(everything)))
    what = "fit no known table"
    if len(fitting) > 1:
        what = f"fit the tables {' and '.join(table.name for table in fitting)}"
    elif fitting:
        what = "fit totalsegmentator, but do not tell its version 2 from version 1"
    raise InputError(f"the labels {shown or '(none)'} {what}", "name the table instead of auto", folder)


def _plausible(table: LabelTable, values_per_mask: Sequence[set[int]]) -> bool:
    everything = set().union(*values_per_mask)
    if not table.knows(everything) or not everything & table.levels.keys():
        return False
    if table is VERSE:
        return all(28 not in values or values & {19, 20} for values in values_per_mask)
    if table is TOTALSEGMENTATOR:
        return len(everything & table.levels.keys()) > 1 or max(everything) > max(table.levels)
    return True
