"""Label names beside masks, one set per folder, for scripts and viewers.

`labels.json` is for scripts, `labels_itksnap.txt` has label descriptions of ITK-SNAP, `labels_slicer.ctbl` is a colour
table of 3D Slicer. No name ends in .nii or .nii.gz, so nnU-Net never takes one of these for a case.
"""

import json
from pathlib import Path

from nnunet_spine.io.files import write_text
from nnunet_spine.io.label_tables import Kind, Label, kind_name, label_table

JSON_FILE, ITKSNAP_FILE, SLICER_FILE = "labels.json", "labels_itksnap.txt", "labels_slicer.ctbl"


def write_sidecars(folder: str | Path, kind: Kind) -> tuple[str, ...]:
    """Write the three tables for viewers and scripts into a folder of masks.

    Returns:
        Their names.

    Raises:
        InputError: another kind.
        WriteError: they cannot be written.
    """
    table = label_table(kind)
    texts = {JSON_FILE: _json(table, kind), ITKSNAP_FILE: _itksnap(table), SLICER_FILE: _slicer(table)}
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return tuple(texts)


def _json(table: tuple[Label, ...], kind: Kind) -> str:
    rows = [{"value": label.value, "name": label.name, "rgb": list(label.color)} for label in table]
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    return f'{{\n  "kind": "{kind_name(kind)}",\n  "labels": [\n{lines}\n  ]\n}}\n'


def _itksnap(table: tuple[Label, ...]) -> str:
    lines = ["# ITK-SnAP Label Description File", "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL"]
    lines.append(f'{0:5d} {0:5d} {0:4d} {0:4d} {0:6d} {0:4d} {0:3d}  "Clear Label"')
    for label in sorted(table, key=lambda label: label.value):
        red, green, blue = label.color
        lines.append(f'{label.value:5d} {red:5d} {green:4d} {blue:4d} {1:6d} {1:4d} {1:3d}  "{label.name}"')
    return "\n".join(lines) + "\n"


def _slicer(table: tuple[Label, ...]) -> str:
    lines = ["# Color table file", f"# {len(table) + 1} values", "0 background 0 0 0 0"]
    for label in sorted(table, key=lambda label: label.value):
        lines.append(f"{label.value} {label.name} {' '.join(map(str, label.color))} 255")
    return "\n".join(lines) + "\n"
