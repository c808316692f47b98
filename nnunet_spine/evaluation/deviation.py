"""Predicted masks against reference surfaces in files, and the table of their deviations."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from nnunet_spine.deviation import FRAMES, NEAR_MM, choose_frame, surface_deviation, to_ras
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import bounding_box
from nnunet_spine.io.files import write_text
from nnunet_spine.io.label_ids import LabelTable, present_values
from nnunet_spine.io.masks import MaskFile, read_mask, voxels_in
from nnunet_spine.io.surfaces import read_surface
from nnunet_spine.meshes import Mesh, boundary_mesh


@dataclass(frozen=True)
class DeviationCase:
    """A vertebra of a predicted mask and its reference surface; can be pickled.

    Attributes:
        case: name of the result.
        mask: file of the prediction.
        surface: file of the reference.
        level: "C1" ... "L6"; "" for the only label of the mask.
        frame: "auto", "ras" or "lps".
        table: what the mask's values mean, as `LabelTable.to_dict`; None: numbers without names.
    """

    case: str
    mask: Path
    surface: Path
    level: str
    frame: str = "auto"
    table: dict | None = None

    def peak_bytes(self) -> float:
        """Memory that it takes, about."""
        return 4.0 * voxels_in(self.mask) + 5e8


@dataclass(frozen=True)
class DeviationRow:
    """Deviation of one vertebra from its reference surface; a row of the table. See `deviation.Deviation`."""

    case: str
    level: str
    mask: str
    surface: str
    frame: str
    points: int
    mean_mm: float
    sd_mm: float
    mean_absolute_mm: float
    max_mm: float
    hd95_mm: float
    remarks: tuple[str, ...] = ()


def measure_deviation(case: DeviationCase) -> tuple[DeviationRow, Mesh]:
    """Measure one vertebra; returns its row and its surface with the deviations.

    Raises:
        InputError: a file is unreadable, the label is not in the mask, or the surface does not lie on it.
    """
    surface, mask = read_surface(case.surface), read_mask(case.mask)
    value = _value(case, mask)
    one = mask.labels == value
    box = bounding_box(one)
    if box is None:
        raise InputError(f"no voxel of {case.level or 'a vertebra'}", "name its level with --level", case.mask)
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    one = one[box]
    points_mm = boundary_mesh(one, affine, spacing_mm=4.0).vertices_mm
    remarks = []
    try:
        frame = _frame(case.frame, points_mm, surface.vertices, surface.faces, surface.declared_frame, remarks)
    except InputError as error:
        raise InputError(error.found, error.cure, case.surface) from None
    if surface.open_edges:
        remarks.append(f"{case.surface.name} is not closed ({surface.open_edges} open edges): signs are judged locally")
    if any(side.start == 0 or side.stop == n for side, n in zip(box, mask.labels.shape, strict=True)):
        remarks.append("the vertebra reaches the border of the volume, where its surface is a cut")
    found = surface_deviation(one, affine, to_ras(surface.vertices, frame), surface.faces)
    numbers = {f.name: round(getattr(found, f.name), 4) for f in fields(found) if f.name.endswith("_mm")}
    level, n = case.level or (case.table or {}).get("levels", {}).get(value, ""), len(found.mesh.vertices_mm)
    row = DeviationRow(case.case, level, case.mask.name, case.surface.name, frame, n, **numbers, remarks=tuple(remarks))
    return row, found.mesh


def write_table(path: Path, rows: Sequence[DeviationRow]) -> None:
    """Write one CSV of all vertebrae."""
    text = io.StringIO()
    names = [f.name for f in fields(DeviationRow)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: getattr(row, name) for name in names} | {"remarks": "; ".join(row.remarks)})
    write_text(path, text.getvalue())


def _value(case: DeviationCase, mask: MaskFile) -> int:
    present = sorted(present_values(mask.labels))
    table = LabelTable.from_dict(case.table) if case.table else None
    if table is not None and case.level:
        values = [value for value, name in table.levels.items() if name == case.level]
        if not set(values) & set(present):
            names = ", ".join(table.levels[v] for v in present if v in table.levels) or "nothing"
            raise InputError(f"no {case.level} in it, but {names} by the table {table.name}", "give --level", case.mask)
        return values[0]
    if len(present) != 1:
        cure = "name the vertebra with --level" if table else "say with --labels what its values mean"
        raise InputError(f"{len(present)} labels; expected one vertebra", cure, case.mask)
    return present[0]


def _frame(
    wanted: str, points_mm: np.ndarray, vertices: np.ndarray, faces: np.ndarray, declared: str, remarks: list[str]
) -> str:
    """The surface's frame: by the user's word where the surface then meets the prediction at all, or by evidence."""
    if wanted == "auto":
        frame, _ = choose_frame(points_mm, vertices, faces, declared=declared)
    else:
        frame = wanted
        apart = {f: _gap_mm(points_mm, to_ras(vertices, f)) for f in FRAMES}
        if apart[frame] > NEAR_MM:
            other = next(f for f in FRAMES if f != frame)
            cure = "check the case, the level and the unit (mm)"
            if apart[other] <= NEAR_MM:
                cure = f"give --frame {other} or auto"
            raise InputError(f"lies {apart[frame]:.0f} mm from the prediction in {frame.upper()}", cure)
    if declared and declared != frame:
        remarks.append(f"its header says {declared.upper()}, but it was taken as {frame.upper()}")
    return frame


def _gap_mm(points_mm: np.ndarray, vertices_mm: np.ndarray) -> float:
    """Distance between the boxes around two sets of points; 0 where they meet."""
    gap = np.maximum(points_mm.min(0) - vertices_mm.max(0), vertices_mm.min(0) - points_mm.max(0))
    return float(np.linalg.norm(np.maximum(gap, 0)))
