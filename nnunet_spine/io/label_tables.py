"""Label names that travel inside masks: which name and colour a value has, in the header of the file.

A header extension of code 30 holds the XML label table of Connectome Workbench (TotalSegmentator writes the same XML
under code 0). Programs that do not know it skip it; voxels and geometry stay as they are. 3D Slicer's .seg.nrrd files
have names of their own.
"""

import gzip
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine.anatomy import KINDS as STRUCTURE_KINDS
from nnunet_spine.anatomy import LEVELS, dataset_labels, structures
from nnunet_spine.errors import InputError
from nnunet_spine.io import itk
from nnunet_spine.io.files import atomic_path
from nnunet_spine.io.masks import read_mask
from nnunet_spine.io.nifti import complete_qform, write_nifti
from nnunet_spine.io.streams import VolumeInfo, decompressed, volume_info

KINDS = ("nnunet", "verse", "regions", "spine", "vertebra")
DAMAGED_TABLE = "the label table in its header is damaged"
_CARET = 30  # code of header extensions of Caret and Connectome Workbench
_GZIP_LEVEL = 3


@dataclass(frozen=True)
class Label:
    """One label value: its name, and its colour as red, green, blue, 0-255."""

    value: int
    name: str
    color: tuple[int, int, int]


Kind = str | Mapping[str, int]
"""One of `KINDS`, or the labels of a dataset.json (name -> value) where they are none of these."""


def label_table(kind: Kind) -> tuple[Label, ...]:
    """The labels of a kind of mask, cranio-caudal; the background is not listed.

    Args:
        kind: "nnunet" or "verse" (levels by these ids), "regions", "spine", "vertebra" (a single one), or any names
            and values.

    Raises:
        InputError: another kind.
    """
    if not isinstance(kind, str):
        return tuple(Label(value, name, _color(name)) for name, value in kind.items() if value)
    if kind not in KINDS:
        raise InputError(f"label table '{kind}'; expected {', '.join(KINDS)}")
    if kind == "verse":
        return tuple(Label(level.verse_id, level.name, level.color) for level in LEVELS)
    found = structures("vertebrae" if kind == "nnunet" else kind)
    return tuple(Label(s.value, s.name, s.color) for s in found)


def _color(name: str) -> tuple[int, int, int]:
    ours = {s.name: s.color for kind in STRUCTURE_KINDS for s in structures(kind)}
    return ours.get(name, (128, 128, 128))


def kind_of_dataset(dataset_json: Mapping[str, object]) -> Kind:
    """The kind of mask that a dataset.json describes.

    Raises:
        InputError: its labels are none of ours.
    """
    kinds = {"vertebrae": "nnunet", "regions": "regions", "spine": "spine", "vertebra": "vertebra"}
    for label_set, kind in kinds.items():
        if dataset_json.get("labels") == dataset_labels(label_set):
            return kind
    labels = dataset_json.get("labels")
    known = (
        {level.name for level in LEVELS} | {s.name for s in structures("regions")} | {"background", "spine", "ignore"}
    )
    if isinstance(labels, dict) and set(labels) <= known and all(type(value) is int for value in labels.values()):
        return labels
    raise InputError("labels that are not those of a dataset of ours", f"name them with --kind ({', '.join(KINDS)})")


def write_mask(path: str | Path, array: np.ndarray, affine: np.ndarray, kind: Kind) -> None:
    """Write a mask as NIfTI with its label table inside; otherwise as `nifti.write_nifti`."""
    write_nifti(path, array, affine, extensions=(_extension(kind),))


def embed(path: str | Path, kind: Kind) -> bool:
    """Put the label table into a mask that is there already, atomically; voxels stay as they are stored.

    A label table that it has is replaced; other header extensions stay. A missing qform is added (`complete_qform`).

    Returns:
        Whether the file was written: not if it has this table already.

    Raises:
        InputError: not readable as a 3-D NIfTI file, or with a value above those of the table.
        WriteError: it cannot be written.
    """
    info = volume_info(path)
    extension = _extension(kind)
    tables = [_content(e) for e in info.header.extensions if _is_table(e)]
    if tables == [_content(extension)]:
        return False
    _require_values(info, kind)
    header = info.header.copy()
    kept = [e for e in header.extensions if not _is_table(e)]
    header.extensions = type(header.extensions)([extension, *kept])
    complete_qform(header)
    header.set_data_offset(0)  # nibabel then finds the place behind the extensions
    header.set_slope_inter(*(info.scaling or (1.0, 0.0)))
    with atomic_path(info.path) as temporary, temporary.open("wb") as raw:
        # no name and no time in the gzip header: the same bytes every time
        out = gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) if info.compressed else raw
        header.write_to(out)
        position = 0
        for piece in decompressed(info.path):
            out.write(piece[max(0, info.offset_bytes - position) : max(0, info.expected_bytes - position)])
            position += len(piece)
        if out is not raw:
            out.close()
    return True


def embedded_labels(path: str | Path) -> dict[int, str] | None:
    """Label value -> name, from the table inside a NIfTI file or a .seg.nrrd of 3D Slicer; None without one.

    Raises:
        InputError: not readable as a 3-D mask, or its table is damaged.
    """
    if itk.is_itk_name(path):
        return _segments(itk.read_fields(path)) or None
    for extension in volume_info(path).header.extensions:
        if _is_table(extension):
            try:
                root = ET.fromstring(_content(extension))
                return {int(label.get("Key")): label.text or "" for label in root.iter("Label")}
            except (ET.ParseError, TypeError, ValueError) as error:
                raise InputError(DAMAGED_TABLE, "write it again with nnunet-spine labels --kind", path) from error
    return None


def _segments(fields: Mapping[str, str]) -> dict[int, str]:
    """The segments of a .seg.nrrd: "Segment0_LabelValue" beside "Segment0_Name"."""
    ends = {"_LabelValue": {}, "_Name": {}}
    for key, text in fields.items():
        for end, found in ends.items():
            if key.startswith("Segment") and key.endswith(end):
                found[key.removesuffix(end)] = text
    values, names = ends.values()
    return {int(value): names[segment] for segment, value in values.items() if segment in names}


def _extension(kind: Kind) -> nib.nifti1.Nifti1Extension:
    root = ET.Element("CaretExtension")
    volume = ET.SubElement(root, "VolumeInformation", Index="0")
    table = ET.SubElement(volume, "LabelTable")
    for label in label_table(kind):
        red, green, blue = (f"{c / 255:.4f}" for c in label.color)
        key = {"Key": str(label.value), "Red": red, "Green": green, "Blue": blue, "Alpha": "1"}
        ET.SubElement(table, "Label", key).text = label.name
    ET.SubElement(volume, "VolumeType").text = "Label"
    text = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return nib.nifti1.Nifti1Extension(_CARET, text + b" " * (-(len(text) + 8) % 16))  # sizes are multiples of 16 bytes


def _is_table(extension: nib.nifti1.Nifti1Extension) -> bool:
    return b"<LabelTable" in _content(extension)


def _content(extension: nib.nifti1.Nifti1Extension) -> bytes:
    content = extension.content if hasattr(extension, "content") else extension.get_content()  # nibabel before 5.3
    return content.rstrip(b"\0 ") if isinstance(content, bytes) else b""


def _require_values(info: VolumeInfo, kind: Kind) -> None:
    largest = int(read_mask(info.path).labels.max(initial=0))
    most = max(label.value for label in label_table(kind))
    if largest > most:
        other = "verse" if kind == "nnunet" else "nnunet"
        raise InputError(
            f"value {largest}; the table '{kind_name(kind)}' ends at {most}",
            f"choose another table, e.g. --kind {other}",
            info.path,
        )


def kind_name(kind: Kind) -> str:
    return kind if isinstance(kind, str) else "dataset.json"
