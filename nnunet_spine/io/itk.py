"""Volumes in the formats that SimpleITK reads: NRRD and MetaImage, which 3D Slicer, ITK-SNAP and MITK write."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.io.files import atomic_path

if TYPE_CHECKING:
    import SimpleITK

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
_DATA_ENTRY = re.compile(r"^(data ?file|ElementDataFile)\s*[:=]\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world is LPS


@dataclass(frozen=True)
class ItkVolume:
    """A 3-D volume that SimpleITK has read.

    Attributes:
        array: stored values, (x, y, z) as in NIfTI, first axis fastest in memory; read-only, valid while this lives.
        affine: voxel index -> world RAS mm, 4x4.
        fields: the header's further fields, e.g. the segments of a .seg.nrrd.
    """

    array: np.ndarray
    affine: np.ndarray
    fields: Mapping[str, str]
    _owner: object = field(repr=False)  # of the memory that `array` views


def is_itk_name(path: str | Path) -> bool:
    """Whether a file's name has an ending of these formats."""
    return Path(path).name.lower().endswith(ENDINGS)


def read_itk(path: str | Path) -> ItkVolume:
    """Read a 3-D volume of real numbers.

    Raises:
        InputError: missing, damaged, not 3-D, several values per voxel, or without a usable geometry.
    """
    import SimpleITK

    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", "check the path", path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        if components != 1:
            cure = "export a labelmap of one layer; segments that overlap need one file each"
            raise InputError(f"{components} values per voxel; expected one", cure, path)
        if len(size) < 3 or set(size[3:]) - {1}:
            raise InputError(f"{len(size)}-D image of shape {size}; expected 3-D", "extract one volume", path)
        reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])  # drops trailing axes of length 1
        image = reader.Execute()
    except RuntimeError as error:
        lines = [line for line in str(error).split("): ")[-1].splitlines() if line.strip()]
        raise InputError(f"damaged, or a part is missing ({lines[-1].strip()})", "fetch it again", path) from error
    _check_compression(path)
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    affine = affine_of(image)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("the affine is singular or not finite", "repair the header", path)
    return ItkVolume(SimpleITK.GetArrayViewFromImage(image).T, affine, fields, image)


def shape_of(path: str | Path) -> tuple[int, ...]:
    """Axis lengths by the header alone.

    Raises:
        InputError: missing or damaged.
    """
    return _header(path).GetSize()


def grid_of(path: str | Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine (RAS mm) of a 3-D volume by its header alone; trailing axes of length 1 are dropped.

    Raises:
        InputError: missing, damaged, or not 3-D.
    """
    reader = _header(path)
    size, axes = reader.GetSize(), reader.GetDimension()
    if axes < 3 or set(size[3:]) - {1}:
        raise InputError(f"{axes}-D image of shape {size}; expected 3-D", "extract one volume", path)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (axes, axes))[:3, :3] * reader.GetSpacing()[:3]
    affine[:3, 3] = reader.GetOrigin()[:3]
    return size[:3], _RAS @ affine


def write_itk(path: str | Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a 3-D volume atomically, compressed, in the format of the file's ending (.nrrd or .mha).

    Args:
        array: (x, y, z), of a type that SimpleITK knows.
        affine: voxel index -> world RAS mm, 4x4.

    Raises:
        WriteError: it cannot be written.
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array.T)  # SimpleITK's arrays are z, y, x
    set_affine(image, affine)
    with atomic_path(path) as temporary:
        try:
            SimpleITK.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:  # a full disk, too
            raise WriteError("cannot be written", "free some space or choose another folder", path) from error


def data_files(path: str | Path) -> tuple[Path, ...]:
    """The files beside a header (.nhdr, .mhd) that hold its voxels; none where the file itself does.

    A missing one, or a list of files, is found when the volume is read.
    """
    try:
        with Path(path).open("rb") as file:
            entry = _DATA_ENTRY.search(file.read(1 << 16).decode("latin-1"))
    except OSError:
        return ()
    data = Path(path).with_name(entry[2]) if entry and entry[2].upper() not in ("LOCAL", "LIST") else None
    return (data,) if data and data.is_file() else ()


def read_fields(path: str | Path) -> dict[str, str]:
    """The further fields of a volume's header, e.g. the segments of a .seg.nrrd; voxels unread.

    Raises:
        InputError: missing or damaged.
    """
    reader = _header(path)
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _header(path: str | Path) -> "SimpleITK.ImageFileReader":
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError("no readable header", "fetch it again", path) from error
    return reader


def affine_of(image: "SimpleITK.Image") -> np.ndarray:
    """Voxel index -> world RAS mm, 4x4, of a 3-D SimpleITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return _RAS @ affine


def set_affine(image: "SimpleITK.Image", affine: np.ndarray) -> None:
    """Give a 3-D SimpleITK image its place in the world; axes that are not at right angles stay so."""
    affine = _RAS @ np.asarray(affine, float)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((affine[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())


def _check_compression(path: Path) -> None:
    """Whether compressed voxels are those that were written; ITK passes over changed bytes.

    Raises:
        InputError: the checksum is wrong.
    """
    with path.open("rb") as file:
        start = file.read(1 << 16)
    text = start.decode("latin-1")
    nrrd = text.startswith("NRRD")
    entry = _DATA_ENTRY.search(text)
    compressed = r"^encoding:\s*(gz|gzip)\s*$" if nrrd else r"^CompressedData\s*=\s*True\s*$"
    if not re.search(compressed, text, re.MULTILINE | re.IGNORECASE):
        return
    if entry and entry[2].upper() != "LOCAL":
        data, offset = path.with_name(entry[2]), 0
        if not data.is_file():  # several files, or a pattern of names
            return
    elif nrrd:
        data, offset = path, re.search(r"\n\r?\n", text).end()
    else:
        data, offset = path, start.index(b"\n", entry.start()) + 1
    stream = zlib.decompressobj(wbits=47)  # zlib's header or gzip's
    try:
        with data.open("rb") as file:
            file.seek(offset)
            while not stream.eof and (piece := stream.unconsumed_tail or file.read(1 << 16)):
                stream.decompress(piece, 1 << 20)
    except zlib.error as error:
        raise InputError(f"damaged compression ({error})", "fetch the file again", path) from error
