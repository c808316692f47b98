"""The files of a predicted case: where they lie, and how they are written."""

import contextlib
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID
from nnunet_spine.errors import InputError
from nnunet_spine.inference.measurements import Vertebra
from nnunet_spine.io.files import write_text
from nnunet_spine.io.itk import is_itk_name, write_itk
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.masks import ENDINGS, case_name
from nnunet_spine.io.point_files import write_markups, write_verse_points

IDS = ("verse", "nnunet")
"""What the values of a written label map can be."""

RECORDS, TABLE_FILE = "cases", "predict.csv"

_ITK_ENDINGS = {".nhdr": ".nrrd", ".mhd": ".mha"}  # those of two files become one


def files_of(case: str, scan: Path, out: Path, *, picture: bool = True) -> dict[str, Path]:
    """What is written of a case: kind of file -> path.

    Args:
        case: its name.
        scan: its file, of which the label map has the format.
        out: the folder of results.
        picture: whether there is one.
    """
    ending = scan.name[len(case_name(scan)) :].lower()
    files = {
        "labels": out / f"{case}{_ITK_ENDINGS.get(ending, ending)}",
        "body_centres": out / "centroids" / "body" / f"{case}.json",
        "mask_centroids": out / "centroids" / "mask" / f"{case}.json",
        "centroids_csv": out / "centroids" / f"{case}.csv",
        "body_markups": out / "markups" / f"{case}_body.mrk.json",
        "mask_markups": out / "markups" / f"{case}_mask.mrk.json",
        "picture": out / "pictures" / f"{case}.png",
        "report": out / "reports" / f"{case}.json",
    }
    return files if picture else {kind: path for kind, path in files.items() if kind != "picture"}


def remove_files(case: str, scan: Path, out: Path) -> None:
    """Remove what an earlier run has left of a case, in whatever format its scan was then.

    Raises:
        InputError: the scan lies where its results go.
    """
    paths = [*files_of(case, scan, out).values(), *(out / f"{case}{ending}" for ending in ENDINGS)]
    for path in paths:
        if path.exists() and path.samefile(scan):
            raise InputError("lies where its results go", "choose another folder with -o", scan)
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def write_label_map(path: Path, labels: np.ndarray, affine: np.ndarray, ids: str) -> None:
    """Write nnU-Net ids as a label map of the wanted ids, in the format of the path's ending.

    Args:
        labels: 3-D uint8, nnU-Net ids.
        ids: of `IDS`.

    Raises:
        WriteError: it cannot be written.
    """
    if ids == "verse":
        lookup = np.zeros(256, np.uint8)
        for value, level in BY_NNUNET_ID.items():
            lookup[value] = level.verse_id
        labels = lookup[labels]
    if is_itk_name(path):
        write_itk(path, labels, affine)
    else:
        write_mask(path, labels, affine, ids)


def write_centres(files: Mapping[str, Path], vertebrae: Sequence[Vertebra], affine: np.ndarray, case: str) -> None:
    """Write body centres and mask centroids for VerSe's tools, for 3D Slicer and as a table.

    Raises:
        WriteError: one cannot be written.
    """
    kinds = {
        "body": ("body_centres", "body_markups", {v.name: v.body_mm for v in vertebrae}),
        "mask": ("mask_centroids", "mask_markups", {v.name: v.mask_mm for v in vertebrae}),
    }
    for kind, (verse, markups, points) in kinds.items():
        write_verse_points(files[verse], points, affine)
        write_markups(files[markups], points, f"{case} {kind} centres")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [f"{kind}_{axis}_mm" for kind in kinds for axis in "xyz"]
    writer.writerow(["level", "verse_id", "nnunet_id", *axes])
    for v in vertebrae:
        level = BY_NAME[v.name]
        numbers = [f"{x:.3f}" for x in (*v.body_mm, *v.mask_mm)]
        writer.writerow([v.name, level.verse_id, level.nnunet_id, *numbers])
    write_text(files["centroids_csv"], text.getvalue())
