"""Masks of one vertebra per file in a folder per case, as TotalSegmentator writes them by default."""

import re
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError
from nnunet_spine.io.masks import MaskFile, case_name, is_mask_name, read_mask, require_grid

_NAME = re.compile(r"vertebrae?_([CTL]\d+)", re.IGNORECASE)


def level_of_file(path: str | Path) -> str | None:
    """The level that a file of one vertebra is called after, "L1" for vertebrae_L1.nii.gz; None for other files."""
    match = _NAME.fullmatch(case_name(path))
    name = match[1].upper() if match and is_mask_name(path) else None
    return name if name in BY_NAME else None


def is_structure_folder(folder: Path) -> bool:
    """Whether a folder holds files of one vertebra each."""
    return any(level_of_file(path) for path in folder.iterdir())


def structure_case(folder: Path) -> str:
    """Name of the case whose files lie in a folder; TotalSegmentator's data set puts them into "segmentations"."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.lower() in ("segmentations", "segmentation") else folder.name


def structure_files(folder: Path) -> dict[str, Path]:
    """Level -> file, of the vertebrae in a folder."""
    return {level: path for path in sorted(folder.iterdir()) if (level := level_of_file(path))}


def read_structures(folder: Path) -> MaskFile:
    """One label map of nnU-Net ids from the files of a folder; what is above 0 in a file is its vertebra.

    Raises:
        InputError: no such file, one is unreadable, they lie on different grids, or two claim the same voxel.
    """
    files = structure_files(folder)
    if not files:
        raise InputError("no file of one vertebra, like vertebrae_L1.nii.gz", "check the folder", folder)
    labels: np.ndarray | None = None
    for level, path in files.items():
        mask = read_mask(path)
        if labels is None:
            labels, affine = np.zeros_like(mask.labels, order="F"), mask.affine
        require_grid(mask, labels.shape, affine)
        inside = mask.labels > 0
        if np.count_nonzero(labels[inside]):
            raise InputError(f"{level} overlaps another vertebra", "check the files, each voxel has one label", path)
        labels[inside] = BY_NAME[level].nnunet_id
    return MaskFile(folder, labels, affine)
