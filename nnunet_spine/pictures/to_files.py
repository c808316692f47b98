"""Pictures as PNG files."""

from pathlib import Path

import numpy as np

from nnunet_spine import files
from nnunet_spine.label_files import case_name, read_labels
from nnunet_spine.pictures.figure import case_figure


def case_picture(
    image: np.ndarray,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    affine: np.ndarray,
    path: str | Path,
    **options,
) -> None:
    """Write `case_figure` (same arguments) to a PNG file, atomically.

    Raises:
        InputError: as `case_figure`, or the file cannot be written.
    """
    figure = case_figure(image, reference, prediction, affine, **options)
    with files.atomic_path(path) as temporary:
        figure.canvas.print_png(temporary)


def case_picture_from_files(
    image_path: str | Path,
    prediction_path: str | Path | None,
    path: str | Path,
    *,
    reference_path: str | Path | None = None,
    title: str | None = None,
    **options,
) -> None:
    """Read a case and write its picture.

    Args:
        image_path: CT in HU, NIfTI.
        prediction_path, reference_path: label maps of nnU-Net ids on the CT's grid, or None.
        path: PNG to write.
        title: first line; None: the case name, from the prediction, the reference, or the image.
        options: see `case_figure`.

    Raises:
        InputError: a file is unreadable, its grid is more than 0.1 mm off the CT's, or the PNG cannot be written.
    """
    image, affine = files.read_nifti(image_path)

    def labels(path: str | Path | None) -> np.ndarray | None:
        return None if path is None else read_labels(path, image.shape, affine)[0]

    if title is None:
        title = case_name(prediction_path or reference_path or image_path)
    case_picture(image, labels(reference_path), labels(prediction_path), affine, path, title=title, **options)
