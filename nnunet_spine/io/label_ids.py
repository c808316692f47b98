"""What a mask value means: the label tables of predictions and references."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID, BY_VERSE_ID, KINDS, REGION_NAMES, region_of, structures
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import bounding_box
from nnunet_spine.io.files import read_json

_BESIDE_A_VERTEBRA = re.compile(
    r"dis[ck]|ivd|endplate|rib|nerve|muscle|canal|cord|foramen|facet|ligament", re.IGNORECASE
)
_WHOLE = {"spine": "spine", "vertebrae": "spine", "vertebral_column": "spine", "vertebra": "vertebra"}


@dataclass(frozen=True)
class LabelTable:
    """What the values of a mask mean.

    Attributes:
        name: "nnunet", "verse", "totalsegmentator", "regions", "spine", "vertebra", or where it comes from.
        levels: value -> name of a structure of the table's kind: a level, a region, "spine" or "vertebra".
        others: value -> what it is, where that is known to be no vertebra.
        kind: of `anatomy.KINDS`.
    """

    name: str
    levels: Mapping[int, str]
    others: Mapping[int, str] = field(default_factory=dict)
    kind: str = "vertebrae"

    def knows(self, values: Iterable[int]) -> bool:
        """Whether each value has a meaning here; 0 is background."""
        return not set(values) - self.levels.keys() - self.others.keys() - {0}

    def meaning(self, value: int) -> str | None:
        """The structure's name, "no vertebra" for anything else that is known, None for what is not."""
        return self.levels.get(value) or ("no vertebra" if value in self.others else None)

    def to_ids(self, labels: np.ndarray, kind: str | None = None) -> list[str]:
        """Replace the values of a mask by those of a dataset of ours, in place; what is no vertebra becomes background.

        Args:
            labels: 3-D uint8.
            kind: of the dataset, the table's own or a coarser one (regions, spine); None: the table's own.

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
        ids = {s.name: s.value for s in structures(kind or self.kind)}
        lookup = np.zeros(256, np.uint8)
        for value in values & self.levels.keys():
            lookup[value] = ids[coarser(self.levels[value], kind or self.kind)]
        if any(lookup[value] != value for value in values):
            for k in range(labels.shape[2]):  # slice by slice, without a second volume
                labels[..., k] = lookup[labels[..., k]]
        return [self.others[value] for value in sorted(values & self.others.keys())]

    def to_dict(self) -> dict:
        """As plain values, for files."""
        return {"name": self.name, "kind": self.kind, "levels": dict(self.levels), "others": dict(self.others)}

    @classmethod
    def from_dict(cls, content: Mapping) -> "LabelTable":
        """Inverse of `to_dict`, also after a round trip through JSON."""
        levels, others = ({int(k): v for k, v in content[name].items()} for name in ("levels", "others"))
        return cls(content["name"], levels, others, content["kind"])


def coarser(name: str, kind: str) -> str:
    """The structure of a kind of dataset that holds a level or a region."""
    if kind == "regions" and name in BY_NAME:
        return REGION_NAMES[region_of(name)]
    return kind if kind in ("spine", "vertebra") else name


def common_kind(kinds: Iterable[str]) -> str:
    """The finest kind of dataset that all of some kinds can be brought to: regions for levels and regions.

    Raises:
        InputError: single vertebrae beside whole spines.
    """
    kinds = set(kinds)
    if "vertebra" in kinds and len(kinds) > 1:
        raise InputError("single vertebrae on one side, whole spines on the other", "paste the crops first")
    return max(kinds, key=KINDS.index)


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
COARSE = tuple(LabelTable(kind, {s.value: s.name for s in structures(kind)}, kind=kind) for kind in KINDS[1:])
TABLES = {table.name: table for table in (NNUNET, VERSE, TOTALSEGMENTATOR, *COARSE)}
KNOWN = tuple(TABLES)


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
    meanings = [f"{t.levels[value]} in {t.name}" for t in (NNUNET, VERSE, TOTALSEGMENTATOR) if value in t.levels]
    return f" ({', '.join(meanings)})" if meanings else ""


def find_table(name: str | Path) -> LabelTable:
    """A table by its name, or from a dataset.json.

    Raises:
        InputError: neither, or a dataset.json without vertebrae.
    """
    if str(name) in TABLES:
        return TABLES[str(name)]
    if not str(name).endswith(".json"):
        raise InputError(f"label table '{name}'; expected {', '.join(KNOWN)}, auto, or the path of a dataset.json")
    return read_table(name)


def read_table(path: str | Path) -> LabelTable:
    """The table in nnU-Net's dataset.json, or in our own labels.json.

    Names may read "L5", "vertebrae_L5" or "vertebra L5"; "lumbar" or "spine".

    Raises:
        InputError: unreadable, region-based labels, or no vertebra among the labels.
    """
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if isinstance(labels, list) and all(isinstance(x, dict) and {"value", "name"} <= x.keys() for x in labels):
        return table_of_names({int(x["value"]): str(x["name"]) for x in labels}, path)
    if isinstance(labels, dict) and all(str(k).isdigit() and isinstance(v, str) for k, v in labels.items()):
        return table_of_names({int(value): text for value, text in labels.items()}, path)  # as nnU-Net 1 wrote it
    if not isinstance(labels, dict) or not all(isinstance(value, int) for value in labels.values()):
        raise InputError("no label table of the form {name: integer}", "give nnU-Net's dataset.json", path)
    return table_of_names({value: text for text, value in labels.items()}, path)


def table_of_names(names: Mapping[int, str], source: str | Path) -> LabelTable:
    """The table that names of label values make.

    nnU-Net's ignore label is no part of it: a model that was trained with one never predicts it, and a mask that holds
    it is refused where its values are used.

    Args:
        names: value -> name as some program wrote it.
        source: what they come from, for the table's name.

    Raises:
        InputError: no vertebra among them, or the same one twice.
    """
    found: dict[str, dict[int, str]] = {"vertebrae": {}, "regions": {}, "spine": {}, "vertebra": {}}
    names = {value: text for value, text in names.items() if text != "ignore"}
    for value, text in names.items():
        kind, name = _structure(text)
        if value != 0 and kind:
            found[kind][value] = name
    kind = next((kind for kind, levels in found.items() if levels), None)
    if kind is None:
        shown = ", ".join(list(names.values())[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"no vertebra among the labels {shown}", "evaluation needs named levels", source)
    levels = found[kind]
    for name in levels.values():
        if len(values := [value for value, other in levels.items() if other == name]) > 1:
            raise InputError(f"labels {values[0]} and {values[1]} are both {name}", "correct the names", source)
    others = {value: text for value, text in names.items() if value != 0 and value not in levels}
    return LabelTable(str(source), levels, others, kind)


def _structure(text: str) -> tuple[str, str]:
    """Kind and name of the structure that some program's name means; ("", "") for what is no vertebra."""
    words = re.split(r"[\s_\-]+", text.strip())
    plain = "_".join(words).lower()
    levels = [word.upper() for word in words if word.upper() in BY_NAME]
    if len(levels) == 1 and not _BESIDE_A_VERTEBRA.search(text):
        return "vertebrae", levels[0]
    region = re.sub(r"_?(spine|vertebrae|vertebra|region)_?", "", plain)
    if region in REGION_NAMES.values():
        return "regions", region
    kind = _WHOLE.get(plain, "")
    return kind, kind
