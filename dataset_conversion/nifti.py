"""A CT as NIfTI: checked by its header; linked, or rewritten without touching voxels where nnU-Net needs it."""

import gzip
from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, spacing_mm
from nnunet_spine.io.files import atomic_path, link_or_copy
from nnunet_spine.io.streams import VolumeInfo, check_complete, decompressed, has_nan, volume_info

_GZIP_LEVEL = 3


def read_image(path: Path) -> tuple[VolumeInfo, list[str]]:
    """Check a CT without decoding it, where that is possible.

    Integer voxels cannot be NaN; files with floating-point voxels are decoded once to look for it.

    Returns:
        Its header facts, and flags for the manifest.

    Raises:
        InputError: not 3-D, truncated, damaged, NaN, or no usable geometry.
    """
    info = volume_info(path)
    check_complete(info)
    if has_nan(info):
        raise InputError("NaN or infinite voxels in the image", "replace them, e.g. by -1024 HU", path)
    flags = []
    if info.header["sform_code"] == 0:
        flags.append("no sform, qform used" if info.header["qform_code"] > 0 else "no sform and no qform in the header")
    if reason := needs_rewriting(info):
        flags.append(f"image rewritten: {reason}")
    return info, flags


def needs_rewriting(info: VolumeInfo) -> str:
    """Why nnU-Net's reader could not take the file as it is; "" where it can."""
    if not info.compressed:
        return "not compressed"
    if len(info.header.get_data_shape()) != 3:
        return "trailing axes of length 1"
    # The reader takes the spacing of RAS images from pixdim and of all others from the affine.
    if axis_codes(info.affine) == "RAS" and not np.allclose(info.header.get_zooms()[:3], spacing_mm(info.affine)):
        return "voxel size differs from the affine"
    return ""


def place_image(info: VolumeInfo, path: Path, *, copy: bool = False) -> str:
    """Put a CT under its new name: linked, or rewritten with a repaired header and the same stored voxels.

    Returns:
        "hardlink", "symlink", "copy" or "rewritten".

    Raises:
        WriteError: nothing could be written.
    """
    if not needs_rewriting(info):
        return link_or_copy(info.path, path, copy=copy)
    header = info.header.copy()
    header.extensions = type(header.extensions)()
    header.set_data_shape(info.shape)
    header.set_data_offset(0)
    header.set_slope_inter(*(info.scaling or (1.0, 0.0)))
    header.set_sform(info.affine, code=int(info.header["sform_code"]) or 2)
    header.set_qform(info.affine, code=int(info.header["qform_code"]), strip_shears=True)
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as out,  # no name, no time: the same bytes every time
    ):
        header.write_to(out)
        position = 0
        for piece in decompressed(info.path):
            out.write(piece[max(0, info.offset_bytes - position) : max(0, info.expected_bytes - position)])
            position += len(piece)
    return "rewritten"
