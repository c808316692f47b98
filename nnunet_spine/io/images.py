"""The reader of CT images: NIfTI, NRRD and MetaImage as arrays on their own grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.io import itk
from nnunet_spine.io.nifti import read_nifti
from nnunet_spine.io.streams import volume_info

_PIECE = 1 << 22  # voxels judged at once


@dataclass(frozen=True)
class ImageFile:
    """A CT as it lies in a file.

    Attributes:
        path: the file.
        voxels: (n0, n1, n2) in stored axis order, scaling applied; finite.
        affine: voxel index -> world RAS mm, 4x4.
        repair: what was changed, e.g. "NaN in 5 voxels set to -1024"; "" for nothing.
    """

    path: Path
    voxels: np.ndarray
    affine: np.ndarray
    repair: str = ""


def read_image(path: str | Path) -> ImageFile:
    """Read a 3-D image of real numbers.

    Voxels that are no number, or infinite, become the lowest finite value: outside the field of view, for CT.

    Args:
        path: NIfTI (.nii, .nii.gz), NRRD or MetaImage (.nrrd, .nhdr, .mha, .mhd).

    Raises:
        InputError: missing, truncated, damaged, not 3-D, without voxels or a usable affine, or no voxel is finite.
    """
    path = Path(path)
    if itk.is_itk_name(path):
        volume = itk.read_itk(path)
        voxels, affine = np.array(volume.array, order="K"), volume.affine
    else:
        affine = volume_info(path).affine
        voxels = read_nifti(path)[0]
    if voxels.size == 0:
        raise InputError(f"image of shape {voxels.shape}; expected voxels", "restore the file", path)
    if voxels.dtype.kind == "f" and voxels.dtype != np.float32:
        voxels = voxels.astype(np.float32)
    elif voxels.dtype.byteorder not in "=|":
        voxels = voxels.astype(voxels.dtype.newbyteorder("="))
    voxels, repair = _finite(voxels, path)
    return ImageFile(path, voxels, np.asarray(affine, float), repair)


def image_grid(path: str | Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of an image; NIfTI by its header alone.

    Raises:
        InputError: not readable.
    """
    if itk.is_itk_name(path):
        return itk.grid_of(path)
    info = volume_info(path)
    return info.shape, info.affine


def _finite(voxels: np.ndarray, path: Path) -> tuple[np.ndarray, str]:
    if voxels.dtype.kind != "f":
        return voxels, ""
    flat = voxels.ravel(order="K")  # a view, as it lies in memory
    pieces = [slice(start, start + _PIECE) for start in range(0, flat.size, _PIECE)]
    good = [np.isfinite(flat[piece]) for piece in pieces]
    missing = flat.size - sum(int(np.count_nonzero(g)) for g in good)
    if missing == 0:
        return voxels, ""
    if missing == flat.size:
        raise InputError("no voxel is a finite number", "convert the scan again", path)
    lowest = min(float(flat[piece][g].min()) for piece, g in zip(pieces, good, strict=True) if g.any())
    voxels = np.where(np.isfinite(voxels), voxels, np.float32(lowest))
    return voxels, f"NaN or infinite values in {missing} voxel{'s' * (missing != 1)} set to {lowest:g}"
