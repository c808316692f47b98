"""Scores of label maps in files and folders."""

from pathlib import Path

import numpy as np

from nnunet_spine import files, geometry
from nnunet_spine.errors import InputError
from nnunet_spine.scores.case import CaseScore
from nnunet_spine.scores.compare import score_case
from nnunet_spine.scores.labels import as_label_ids

GRID_TOLERANCE_MM = 0.1


def read_labels(
    path: str | Path, shape: tuple[int, ...] | None = None, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Label map of nnU-Net ids (uint8, stored axis order) and its affine.

    Args:
        path: NIfTI file.
        shape, affine: the grid that it must share, corners within 0.1 mm; None: any.

    Raises:
        InputError: unreadable, not nnU-Net ids, or on another grid.
    """
    array, own_affine = files.read_nifti(path)
    if shape is not None and array.shape != tuple(shape):
        raise InputError(f"grid {array.shape}; expected {tuple(shape)}", "resample it to the same grid", path)
    if affine is not None:
        distance = geometry.corner_distance_mm(array.shape, own_affine, affine)
        if not distance < GRID_TOLERANCE_MM:
            raise InputError(
                f"position, spacing or orientation differ: corners up to {distance:.3g} mm apart; "
                f"expected less than {GRID_TOLERANCE_MM} mm",
                "resample it to the same grid",
                path,
            )
    try:
        return as_label_ids(array), own_affine
    except InputError as error:
        raise InputError(error.found, error.cure, path) from None


def score_files(prediction: str | Path, reference: str | Path) -> CaseScore:
    """`score_case` for two NIfTI files; the case is named after the prediction.

    Raises:
        InputError: as `read_labels`; the grids must agree within 0.1 mm.
    """
    reference_labels, affine = read_labels(reference)
    labels, _ = read_labels(prediction, reference_labels.shape, affine)
    return score_case(labels, reference_labels, affine, case=case_name(prediction))


def score_folders(
    prediction_dir: str | Path, reference_dir: str | Path, *, only_common: bool = False
) -> tuple[CaseScore, ...]:
    """Score all cases of two folders, paired by case name, in the order of their names.

    Args:
        prediction_dir, reference_dir: folders with one NIfTI file per case.
        only_common: score the cases found in both folders instead of refusing unpaired ones (nnU-Net's `--chill`).

    Raises:
        InputError: no such folder, unpaired cases, no cases at all, or as `score_files`.
    """
    predictions, references = list_cases(prediction_dir), list_cases(reference_dir)
    for found, missing, folder in (
        (references, references.keys() - predictions.keys(), prediction_dir),
        (predictions, predictions.keys() - references.keys(), reference_dir),
    ):
        if missing and not only_common:
            some = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
            raise InputError(
                f"{len(missing)} of {len(found)} cases have no counterpart here: {some}",
                "add them, or score only the common cases",
                folder,
            )
    common = sorted(predictions.keys() & references.keys())
    if not common:
        raise InputError(f"no case in common with {reference_dir}", "check both folders", prediction_dir)
    return tuple(score_files(predictions[c], references[c]) for c in common)


def case_name(path: str | Path) -> str:
    """File name without .nii or .nii.gz."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")


def list_cases(folder: str | Path) -> dict[str, Path]:
    """Case name -> NIfTI file, for the visible .nii and .nii.gz files of a folder.

    Raises:
        InputError: no such folder, or a case stored twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder", "check the path", folder)
    cases: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.endswith((".nii", ".nii.gz")):
            continue
        if (name := case_name(path)) in cases:
            raise InputError(f"case {name} is there twice, as .nii and .nii.gz", "remove one", folder)
        cases[name] = path
    return cases
