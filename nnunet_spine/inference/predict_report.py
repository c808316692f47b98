"""What is said of a predicted case: its report as JSON, and its row in the table of the cohort."""

import csv
import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_spine import __version__, geometry
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.inference.measurements import Vertebra
from nnunet_spine.io.files import write_text
from nnunet_spine.naming import NamedBone, Relabelled

NO_SPINE = "no spine found"
SMALL_ML = 1.0
"""A vertebra in full view below this volume is flagged; the smallest cervical ones of adults have 5 ml."""
DOUBTFUL = 0.5
"""A name below this probability is flagged."""


@dataclass(frozen=True)
class PredictRow:
    """What became of a scan, for the table of the cohort.

    Attributes:
        case: its name.
        levels: found, from head to foot; none where no spine was found.
        probability: that all names are right; None where there was nothing to decide.
        ambiguous: why the names may be shifted as a whole; "" if they are not.
        flags: what to look at.
        files: written, relative to the folder of results.
    """

    case: str
    levels: tuple[str, ...]
    probability: float | None
    ambiguous: str
    flags: tuple[str, ...]
    files: tuple[str, ...] = field(default=())

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to print of it."""
        return self.flags

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PredictRow":
        """Inverse of `dataclasses.asdict`, also after a round trip through JSON."""
        lists = {name: tuple(content[name]) for name in ("levels", "flags", "files")}
        return cls(content["case"], probability=content["probability"], ambiguous=content["ambiguous"], **lists)


def flags_of_case(named: Relabelled, vertebrae: Sequence[Vertebra], others: Sequence[str]) -> tuple[str, ...]:
    """Everything about a case that a person should look at, in words.

    Args:
        named: its bones.
        vertebrae: measured.
        others: what was odd about its file.
    """
    flags = list(others)
    if not vertebrae:
        return (*flags, NO_SPINE)
    labelling = named.labelling
    if labelling and labelling.ambiguous:
        flags.append(f"names may be shifted as a whole: {labelling.ambiguous}")
    if named.unsure and not (labelling and labelling.ambiguous == named.unsure):
        flags.append(f"names are not sure: {named.unsure}")
    if labelling:
        flags += [f"{a.name} suspected ({a.probability:.2f}): {a.evidence}" for a in labelling.anomalies]
        flags += [f"no {m.name} between its neighbours" for m in labelling.missing]
    for bone in named.bones:
        if bone.name is None:
            flags.append(f"left out: a bone of {bone.bone.volume_mm3 / 1000:.1f} ml at {_point(bone.bone.body_mm)} "
                         "that is no vertebra, or has no level that fits")  # fmt: skip
        elif bone.probability is not None and bone.probability < DOUBTFUL:
            flags.append(f"{bone.name} is right with probability {bone.probability:.2f} only")
    flags += [
        f"{v.name} has {v.volume_ml:.1f} ml, too little for a vertebra in full view"
        for v in vertebrae
        if v.volume_ml < SMALL_ML and not v.touches_border
    ]
    return tuple(flags)


def report_of(
    row: PredictRow,
    named: Relabelled,
    vertebrae: Sequence[Vertebra],
    *,
    scan: Path,
    shape: tuple[int, ...],
    affine: np.ndarray,
    ids: str,
    model: Mapping[str, Any],
    device: str,
    seconds: Mapping[str, float],
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """The report of a case, for `reports/CASE.json`.

    Args:
        row: what the table says of it.
        named: its bones; `vertebrae` measures those that have a name.
        scan: the file that was given, of a grid with this shape and affine.
        ids: of the written label map.
        model: who the model is.
        seconds: step -> time.
        details: what else the segmenter says.
    """
    labelling = named.labelling
    bones = {bone.name: bone for bone in named.bones if bone.name is not None}
    return {
        "case": row.case,
        "program": f"nnunet-spine {__version__}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("nnunetv2", "torch", "numpy")},
        },
        "model": dict(model),
        "device": device,
        "scan": {
            "file": scan.name,
            "shape": list(map(int, shape)),
            "spacing_mm": [round(float(s), 5) for s in geometry.spacing_mm(affine)],
            "axes": geometry.axis_codes(affine),
        },
        "ids": ids,
        "spine_found": bool(vertebrae),
        "levels": list(row.levels),
        "probability_all_right": _rounded(row.probability),
        "boundaries": list(labelling.boundaries) if labelling else [],
        "ambiguous": row.ambiguous,
        "anomalies": [asdict(anomaly) for anomaly in labelling.anomalies] if labelling else [],
        "missing": [asdict(missing) for missing in labelling.missing] if labelling else [],
        "flags": list(row.flags),
        "vertebrae": [_vertebra(v, bones.get(v.name), ids) for v in vertebrae],
        "left_out": [
            {"body_mm": _list(b.bone.body_mm), "volume_ml": round(b.bone.volume_mm3 / 1000, 3)}
            for b in named.bones
            if b.name is None
        ],
        "files": list(row.files),
        **details,
        "seconds": dict(seconds),
    }  # fmt: skip


def write_table(path: Path, rows: Sequence[PredictRow]) -> None:
    """One CSV of all cases, those that need a look first.

    Raises:
        WriteError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "vertebrae", "levels", "probability", "ambiguous", "flags"])
    for row in sorted(rows, key=lambda r: (not r.flags, r.probability or 0.0, r.case)):
        probability = "" if row.probability is None else f"{row.probability:.3f}"
        writer.writerow(
            [row.case, len(row.levels), " ".join(row.levels), probability, row.ambiguous, "; ".join(row.flags)]
        )
    write_text(path, text.getvalue())


def _vertebra(v: Vertebra, bone: NamedBone | None, ids: str) -> dict[str, Any]:
    level = BY_NAME[v.name]
    heights = {name: _rounded(value, 2) for name, value in asdict(v.heights).items() if name != "reason"}
    return {
        "name": v.name,
        "value": level.verse_id if ids == "verse" else level.nnunet_id,
        "probability": _rounded(bone.probability) if bone else None,
        "runner_up": bone.runner_up if bone else None,
        "margin": _rounded(bone.margin) if bone else None,
        "carried": {name: round(share, 4) for name, share in bone.names.items()} if bone else {},
        "cut_by_the_view": bool(v.touches_border or (bone and bone.bone.cut)),
        "body_mm": _list(v.body_mm),
        "mask_mm": _list(v.mask_mm),
        "volume_ml": round(v.volume_ml, 3),
        "height": {**heights, "reason": v.heights.reason},
        "body_hu": {name: _rounded(value, 2) for name, value in asdict(v.hu).items()} if v.hu else None,
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _list(point: Sequence[float]) -> list[float]:
    return [round(float(x), 2) for x in point]


def _point(point: Sequence[float]) -> str:
    return f"({', '.join(f'{x:.0f}' for x in point)}) mm"
