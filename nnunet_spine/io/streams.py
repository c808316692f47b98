"""Large NIfTI files in constant memory: header facts, completeness, and voxels as a stream."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine.errors import InputError

_READ_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18  # pieces that stay in the processor's cache: three times faster on masks than unlimited ones
_DAMAGED = "fetch the file again"


@dataclass(frozen=True)
class VolumeInfo:
    """What the header of a 3-D NIfTI file says; voxels unread.

    Attributes:
        path: the file.
        header: nibabel header, as stored.
        shape: three axis lengths (trailing axes of length 1 dropped).
        affine: 4x4, RAS mm; the sform where there is one.
        dtype: stored voxel type, with its byte order.
        scaling: slope and intercept, or None where stored values are the values.
        offset_bytes: start of the voxels in the uncompressed file.
    """

    path: Path
    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype
    scaling: tuple[float, float] | None
    offset_bytes: int

    @property
    def compressed(self) -> bool:
        return self.path.name.lower().endswith(".gz")

    @property
    def voxel_count(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def expected_bytes(self) -> int:
        """Length of the uncompressed file, extensions included."""
        return self.offset_bytes + self.voxel_count * self.dtype.itemsize


def load_nifti(path: str | Path) -> nib.filebasedimages.FileBasedImage:
    """`nibabel.load`, which takes ".nii.gz" and ".NII.GZ" for different things, for either."""
    if Path(path).name.lower().endswith((".nii", ".nii.gz")) and not str(path).endswith((".nii", ".nii.gz")):
        return nib.Nifti1Image.from_file_map({"image": nib.fileholders.FileHolder(str(path))})
    return nib.load(path)


def not_nifti(path: str | Path, error: Exception) -> InputError:
    """What to raise where nibabel cannot read a file: says what it is instead, where its first bytes tell."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(352)
    except OSError:
        start = b"?"
    compressed, called_gz = start.startswith(b"\x1f\x8b"), Path(path).name.lower().endswith(".gz")
    what, cure = f"not readable as NIfTI ({error})", _DAMAGED
    if not start:
        what = "not readable as NIfTI: the file is empty"
    elif start.startswith(b"version https://git-lfs"):
        what, cure = "not readable as NIfTI: a pointer of Git LFS", "fetch what it points to with `git lfs pull`"
    elif start.lstrip().lower().startswith((b"<html", b"<!doctype")):
        what = "not readable as NIfTI: a web page, perhaps a server's message"
    elif called_gz and start[344:348] in (b"n+1\0", b"ni1\0"):
        what, cure = "not readable as NIfTI: not compressed, though called .gz", "rename it to .nii, or compress it"
    elif compressed and not called_gz:
        what, cure = "not readable as NIfTI: compressed, though not called .gz", "rename it to .nii.gz"
    return InputError(what, cure, path)


def volume_info(path: str | Path) -> VolumeInfo:
    """Read and check the header of a 3-D NIfTI file.

    Raises:
        InputError: missing, not NIfTI, not 3-D, not of a real number type, or without a usable affine.
    """
    path = Path(path)
    try:
        image = load_nifti(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError("link to a file that is not there", "fetch it, e.g. `datalad get`", path) from None
        raise InputError("no such file", "check the path", path) from None
    except Exception as error:  # nibabel, gzip and zlib share no base class
        raise not_nifti(path, error) from error
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{type(image).__name__}; expected NIfTI in one file", "convert it to .nii.gz", path)
    stored = tuple(image.header.get_data_shape())
    if len(stored) < 3 or set(stored[3:]) - {1} or 0 in stored:
        raise InputError(f"{len(stored)}-D image of shape {stored}; expected 3-D", "extract one volume", path)
    dtype = image.header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"voxels of type {dtype}; expected real numbers", "convert to a grey-value image", path)
    affine = np.asarray(image.affine, float)
    # A column of zeros or NaN has no spacing; a determinant near 0 has no inverse.
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("the affine is singular or not finite", "repair the header", path)
    # nibabel moves scaling and offset from the header to the array proxy when it loads a file.
    scaling = float(image.dataobj.slope), float(image.dataobj.inter)
    offset = int(image.dataobj.offset)
    return VolumeInfo(path, image.header, stored[:3], affine, dtype, None if scaling == (1, 0) else scaling, offset)


def decompressed(path: str | Path) -> Iterator[bytes]:
    """The content of a plain or gzip file (by ending `.gz`) in pieces; the checksum is verified at the end.

    Raises:
        InputError: truncated or damaged.
    """
    path = Path(path)
    with path.open("rb") as file:
        if not path.name.lower().endswith(".gz"):
            while piece := file.read(_READ_BYTES * 16):
                yield piece
            return
        member = zlib.decompressobj(wbits=31)
        try:
            while data := file.read(_READ_BYTES):
                while data:
                    if member.eof:  # files of several gzip members, or padded with zeros
                        if not (data := data.lstrip(b"\0")):
                            break
                        member = zlib.decompressobj(wbits=31)
                    if piece := member.decompress(data, _PIECE_BYTES):
                        yield piece
                    data = member.unused_data if member.eof else member.unconsumed_tail
            if not member.eof and (piece := member.flush()):
                yield piece
        except zlib.error as error:
            raise InputError(f"damaged compression ({error})", _DAMAGED, path) from error
        except OSError as error:
            raise InputError(f"not readable ({error.strerror or error})", "check the disk", path) from error
        if not member.eof:
            raise InputError("truncated gzip file", _DAMAGED, path)


def check_complete(info: VolumeInfo, *, thorough: bool = False) -> None:
    """Whether all voxels are there.

    The last four bytes of a gzip file hold the uncompressed length; comparing them with the header costs nothing and
    finds truncated files. Where they disagree (or with `thorough`) the file is decompressed and its checksum verified.

    Raises:
        InputError: truncated or damaged.
    """
    if not thorough and _trailer_length(info) == info.expected_bytes % 2**32:
        return
    found = sum(len(piece) for piece in decompressed(info.path))
    if found < info.expected_bytes:
        raise InputError(f"truncated: {found} bytes, the header needs {info.expected_bytes}", _DAMAGED, info.path)


def _trailer_length(info: VolumeInfo) -> int:
    size = info.path.stat().st_size
    if not info.compressed:
        return min(size, info.expected_bytes) % 2**32
    if size < 18:  # shorter than an empty gzip file
        raise InputError(f"truncated gzip file of {size} bytes", _DAMAGED, info.path)
    with info.path.open("rb") as file:
        file.seek(-4, 2)
        return struct.unpack("<I", file.read(4))[0]


def voxel_chunks(info: VolumeInfo) -> Iterator[np.ndarray]:
    """Stored voxel values, flat, in file order (first axis fastest), unscaled; reads to the end of the file.

    Raises:
        InputError: truncated or damaged.
    """
    skip, left = info.offset_bytes, info.voxel_count * info.dtype.itemsize
    pending = b""
    for piece in decompressed(info.path):
        dropped = min(skip, len(piece))
        skip -= dropped
        piece = pending + piece[dropped : dropped + left - len(pending)] if pending else piece[dropped : dropped + left]
        whole = len(piece) // info.dtype.itemsize * info.dtype.itemsize
        if whole:
            yield np.frombuffer(piece, info.dtype, count=whole // info.dtype.itemsize)
        left -= whole
        pending = piece[whole:]
    if left:
        raise InputError(f"truncated: {left} bytes of voxels are missing", _DAMAGED, info.path)


def voxels_at(info: VolumeInfo, indices: np.ndarray) -> np.ndarray:
    """Values of some voxels, scaling applied, without holding the volume.

    Args:
        indices: flat, in file order (first axis fastest), sorted.

    Returns:
        float64, one for each index.

    Raises:
        InputError: truncated or damaged.
    """
    indices, out = np.asarray(indices, np.int64), np.empty(len(indices))
    position = done = 0
    for chunk in voxel_chunks(info):
        until = int(np.searchsorted(indices, position + chunk.size))
        out[done:until] = chunk[indices[done:until] - position]
        position, done = position + chunk.size, until
    return out if info.scaling is None else out * info.scaling[0] + info.scaling[1]


def has_nan(info: VolumeInfo) -> bool:
    """Whether a voxel is not a number or infinite. Only floating-point files are read; integers cannot be."""
    return info.dtype.kind == "f" and not all(np.isfinite(chunk).all() for chunk in voxel_chunks(info))
