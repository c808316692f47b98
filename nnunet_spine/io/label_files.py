"""One label map of nnU-Net ids in a file."""

from pathlib import Path

import numpy as np

from nnunet_spine import geometry
from nnunet_spine.errors import InputError
from nnunet_spine.io import files
from nnunet_spine.label_maps import as_label_ids

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


def case_name(path: str | Path) -> str:
    """File name without .nii or .nii.gz."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")
