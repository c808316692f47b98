"""Pictures as PNG files."""

from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.io import files, nifti
from nnunet_spine.io.masks import HIGHEST_LEVEL, case_name, read_mask, require_grid
from nnunet_spine.pictures.figure import case_figure


def case_picture(
    image: np.ndarray | None,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    affine: np.ndarray,
    path: str | Path,
    **options,
) -> None:
    """Write `case_figure` (same arguments) to a PNG file, atomically.

    Raises:
        InputError: as `case_figure`, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> labels = np.zeros((30, 30, 60), np.uint8)
        >>> labels[10:20, 10:20, 10:25], labels[10:20, 10:20, 30:45] = 21, 20
        >>> image = np.where(labels > 0, 300, 40).astype(np.int16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "case.png"
        ...     case_picture(image, labels, labels, np.eye(4), path)
        ...     path.stat().st_size > 1000
        True
    """
    figure = case_figure(image, reference, prediction, affine, **options)
    with files.atomic_path(path) as temporary:
        figure.canvas.print_png(temporary)


def case_picture_from_files(
    image_path: str | Path | None,
    prediction_path: str | Path | None,
    path: str | Path,
    *,
    reference_path: str | Path | None = None,
    title: str | None = None,
    **options,
) -> None:
    """Read a case and write its picture.

    Args:
        image_path: CT in HU, NIfTI; None: labels on black.
        prediction_path, reference_path: label maps of nnU-Net ids on one grid, the CT's; or None.
        path: PNG to write.
        title: first line; None: the case name, from the prediction, the reference, or the image.
        options: see `case_figure`.

    Raises:
        InputError: no file is given, one is unreadable or its grid more than 0.1 mm off the first one's, or the PNG
            cannot be written.

    Example:
        >>> import tempfile
        >>> from nnunet_spine.io.nifti import write_nifti
        >>> labels = np.zeros((30, 30, 60), np.uint8)
        >>> labels[10:20, 10:20, 10:25], labels[10:20, 10:20, 30:45] = 21, 20
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mask, picture = Path(folder) / "mask.nii.gz", Path(folder) / "case.png"
        ...     write_nifti(mask, labels, np.eye(4))
        ...     case_picture_from_files(None, mask, picture)
        ...     picture.stat().st_size > 1000
        True
    """
    given = [p for p in (prediction_path, reference_path, image_path) if p is not None]
    if not given:
        raise InputError("neither an image nor labels to draw")
    image = shape = affine = None
    if image_path is not None:
        image, affine = nifti.read_nifti(image_path)
        shape = image.shape
    maps: dict[str, np.ndarray | None] = {"reference": None, "prediction": None}
    for name, labels_path in (("reference", reference_path), ("prediction", prediction_path)):
        if labels_path is not None:
            mask = read_mask(labels_path, highest=HIGHEST_LEVEL)
            shape, affine = (mask.labels.shape, mask.affine) if shape is None else (shape, affine)
            require_grid(mask, shape, affine)
            maps[name] = mask.labels
    title = case_name(given[0]) if title is None else title
    case_picture(image, maps["reference"], maps["prediction"], affine, path, title=title, **options)
