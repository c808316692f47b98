"""Masks in files with one name per bone: anybody's masks in, the same kind of masks out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine import __version__
from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID
from nnunet_spine.errors import InputError
from nnunet_spine.inference.scan_files import find_scans, read_scan
from nnunet_spine.io.files import link_or_copy, write_json, write_text
from nnunet_spine.io.label_ids import LabelTable, present_values
from nnunet_spine.io.masks import case_name, read_mask, voxels_in
from nnunet_spine.io.naming_report import SUFFIX
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.naming import SURE, Relabelled, relabel

TABLE_FILE = "relabel.csv"


def scans_of(masks: Sequence[Path], place: Path) -> dict[Path, Path]:
    """The scan of each mask: the one of its case, or the only one for an only mask.

    Raises:
        InputError: no scan belongs to any of the masks.
    """
    scans = find_scans(place).scans
    if len(masks) == len(scans) == 1:
        return {masks[0]: next(iter(scans.values()))}
    found = {mask: scans[case_name(mask)] for mask in masks if case_name(mask) in scans}
    if not found:
        raise InputError(
            f"no scan of a mask's case, e.g. {case_name(masks[0])}", "name scans CASE.nii.gz or CASE_0000.nii.gz", place
        )
    return found


@dataclass(frozen=True)
class RelabelCase:
    """One mask to relabel; can be pickled.

    Attributes:
        case: its name.
        mask: the file.
        out: folder for the results.
        table: what its values mean, as `LabelTable.to_dict`; None: plain instances.
        normal: only spines of 12 thoracic and 5 lumbar levels.
        sure: see `naming.relabel`.
        scan: the CT, in which ribs and the sacrum are looked for; None: there is none.
    """

    case: str
    mask: Path
    out: Path
    table: dict | None
    normal: bool = False
    sure: float = SURE
    scan: Path | None = None

    def peak_bytes(self) -> float:
        """Memory that relabelling takes, about."""
        return 8.0 * voxels_in(self.mask) + (8.0 * voxels_in(self.scan) if self.scan else 0.0)


@dataclass(frozen=True)
class RelabelRow:
    """What became of one mask, for the table of the cohort.

    Attributes:
        case: its name.
        state: "unchanged", "changed" or "unsure" (left as it was).
        bones: number of bones.
        levels: their names, from head to foot.
        probability: that all names are right; None where there was nothing to decide.
        changes: sentences.
        reason: why it is unsure.
        ambiguous: why the names may be shifted as a whole.
        anomalies: suspected, e.g. "L6 0.93".
    """

    case: str
    state: str
    bones: int
    levels: tuple[str, ...]
    probability: float | None
    changes: tuple[str, ...] = ()
    reason: str = ""
    ambiguous: str = ""
    anomalies: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to print of it."""
        if self.state == "unsure":
            return (f"left as it is, {self.reason}",)
        return (
            f"{len(self.changes)} changes: {'; '.join(self.changes[:3])}{' ...' * (len(self.changes) > 3)}",
        ) * bool(self.changes)


def relabel_file(job: RelabelCase) -> RelabelRow:
    """Write `CASE.nii.gz` (the file itself where nothing changed) and `CASE_relabel.json`.

    Values that are no vertebra (sacrum, femur) stay as they are. A new mask has the values of the old one's table; from
    plain instances, regions or a spine it has nnU-Net ids.

    Raises:
        InputError: unreadable, a value without meaning, or a scan that cannot be used.
        WriteError: the results cannot be written.
    """
    mask = read_mask(job.mask)
    table = LabelTable.from_dict(job.table) if job.table else None
    levels = np.array(mask.labels) if table is None else _only_levels(mask.labels, table, job.mask)
    scan = read_scan(job.scan) if job.scan else None
    beside = (scan.voxels, scan.affine) if scan else None
    result = relabel(levels, mask.affine, named=table is not None, scan=beside, normal=job.normal, sure=job.sure)
    row = _row(job.case, result)
    ending = job.mask.name[len(case_name(job.mask)) :]
    if row.state == "changed":
        write_nifti(job.out / f"{job.case}.nii.gz", _back(result.labels, mask.labels, table), mask.affine)
    else:
        link_or_copy(job.mask, job.out / f"{job.case}{ending}", copy=True)
    write_json(job.out / f"{job.case}{SUFFIX}", _report(job, row, result))
    return row


def write_table(path: Path, rows: Sequence[RelabelRow]) -> None:
    """One CSV of all masks, those that need a look first."""
    order = {"unsure": 0, "changed": 1, "unchanged": 2}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "state", "bones", "levels", "probability", "changes", "reason", "ambiguous", "anomalies"])
    for row in sorted(rows, key=lambda r: (order[r.state], r.probability or 0.0, r.case)):
        probability = "" if row.probability is None else f"{row.probability:.3f}"
        writer.writerow([
            row.case, row.state, row.bones, " ".join(row.levels), probability, "; ".join(row.changes), row.reason,
            row.ambiguous, " ".join(row.anomalies),
        ])  # fmt: skip
    write_text(path, text.getvalue())


def _only_levels(labels: np.ndarray, table: LabelTable, path: Path) -> np.ndarray:
    out = np.array(labels)
    try:
        table.to_ids(out)
    except InputError as error:
        raise InputError(error.found, error.cure.replace("--{role}-labels", "--labels"), path) from None
    return out


def _back(levels: np.ndarray, before: np.ndarray, table: LabelTable | None) -> np.ndarray:
    """Values of the mask's own table for nnU-Net ids; what is no vertebra keeps its value."""
    if table is None:
        return levels
    values = {name: value for value, name in table.levels.items()}
    missing = sorted({BY_NNUNET_ID[v].name for v in present_values(levels)} - values.keys())
    if missing:
        raise InputError(
            f"{missing[0]} has no value in the table {table.name}", "give --labels verse or nnunet, or relabel by hand"
        )
    lookup = np.zeros(256, np.uint8)
    for name, value in values.items():
        lookup[BY_NAME[name].nnunet_id] = value
    others = np.zeros(256, np.uint8)
    for value in table.others:
        others[value] = value
    out = np.empty_like(before)
    for k in range(before.shape[2]):
        new = lookup[levels[..., k]]
        out[..., k] = np.where(new == 0, others[before[..., k]], new)
    return out


def _row(case: str, result: Relabelled) -> RelabelRow:
    labelling = result.labelling
    state = "unsure" if result.unsure else "changed" if result.changes else "unchanged"
    return RelabelRow(
        case,
        state,
        len(result.bones),
        tuple(bone.name or "?" for bone in result.bones),
        labelling.probability if labelling else None,
        result.changes,
        result.unsure,
        labelling.ambiguous if labelling else "",
        tuple(f"{a.name} {a.probability:.2f}" for a in labelling.anomalies) if labelling else (),
    )


def _report(job: RelabelCase, row: RelabelRow, result: Relabelled) -> dict:
    labelling = result.labelling
    bones = [
        {
            "name": b.name,
            "carried": {name: round(share, 4) for name, share in b.names.items()},
            "probability": b.probability,
            "runner_up": b.runner_up,
            "margin": b.margin,
            "body_mm": [round(x, 2) for x in b.bone.body_mm],
            "volume_mm3": round(b.bone.volume_mm3, 1),
            "cut_by_the_view": b.bone.cut,
        }
        for b in result.bones
    ]
    anomalies = labelling.anomalies if labelling else ()
    return {
        "program": f"nnunet-spine {__version__}",
        "mask": job.mask.name,
        "scan": job.scan.name if job.scan else None,
        "state": row.state,
        "reason": row.reason,
        "probability_all_right": row.probability,
        "boundaries": list(labelling.boundaries) if labelling else [],
        "ambiguous": row.ambiguous,
        "anomalies": [{"name": a.name, "probability": a.probability, "evidence": a.evidence} for a in anomalies],
        "missing": [m.name for m in labelling.missing] if labelling else [],
        "changes": list(row.changes),
        "bones": bones,
    }
