"""Volumes as NIfTI files: whole or in slices, written so that nibabel and ITK agree on their place in the world."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import atomic_path
from nnunet_spine.io.streams import load_nifti, not_nifti


def read_nifti(path: str | Path, slices: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of a 3-D NIfTI file in stored axis order, and its 4x4 affine (RAS mm; sform preferred).

    Voxels keep the stored type unless the header scales them.

    Args:
        slices: along the last axis, the slowest in the file; the rest is not kept in memory. The affine stays that of
            the whole volume.

    Raises:
        InputError: missing, truncated, not NIfTI, or not 3-D.
    """
    image = open_nifti(path)
    try:
        return np.asanyarray(image.dataobj[..., slices]), image.affine
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"truncated or damaged voxel data ({error})", "fetch the file again", path) from error
    except Exception as error:  # zlib.error has no common base class with the above
        raise InputError(f"damaged compression ({error})", "fetch the file again", path) from error


def open_nifti(path: str | Path) -> nib.Nifti1Image:
    """The header of a 3-D NIfTI file, voxels unread.

    Raises:
        InputError: missing, not NIfTI, or not 3-D (trailing axes of length 1 are allowed and dropped).
    """
    try:
        image = load_nifti(path)
    except FileNotFoundError:
        raise InputError("no such file", "check the path", path) from None
    except Exception as error:
        raise not_nifti(path, error) from error
    if image.ndim > 3 and set(image.shape[3:]) == {1}:
        image = nib.funcs.squeeze_image(image)
    if image.ndim != 3:
        raise InputError(f"{image.ndim}-D image of shape {image.shape}; expected 3-D", "extract one volume", path)
    return image


def complete_qform(header: nib.Nifti1Header) -> None:
    """Give a header that has an sform alone the same place as qform, in place.

    nibabel leaves the qform out. ITK takes the sform only if its axes are at right angles to 1e-4 or so, and refuses
    the file otherwise; with a qform it opens it. A qform cannot hold shear: it gets the nearest rotation.
    """
    if header["sform_code"] > 0 and header["qform_code"] == 0:
        header.set_qform(header.get_sform(), code=int(header["sform_code"]), strip_shears=True)


def write_nifti(
    path: str | Path,
    array: np.ndarray,
    affine: np.ndarray,
    *,
    extensions: Sequence[nib.nifti1.Nifti1Extension] = (),
) -> None:
    """Write a NIfTI-1 file atomically; voxels keep the array's type, affine (RAS mm) goes into sform and qform.

    Args:
        extensions: of the header.
    """
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)  # nibabel asks for an explicit type of 64-bit integers
    complete_qform(image.header)
    image.header.extensions.extend(extensions)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
