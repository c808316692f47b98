"""A CT as a DICOM series: files in any order and under any names, put together by what their headers say.

What would end in a distorted volume without a word is refused with its numbers: several series, slices of another
orientation, two slices in one place, missing slices, a tilted gantry.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.dataset_conversion.images import written_image
from nnunet_spine.dataset_conversion.sources import OpenImage
from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK

_SERIES, _MODALITY, _POSITION, _ORIENTATION, _PIXELS = (
    "0020|000e", "0008|0060", "0020|0032", "0020|0037", "0028|0030",
)  # fmt: skip
_STEP_TOLERANCE = 0.01  # of the distance of slices, and in mm
_COSINE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class DicomSeries:
    """The files of one series; nnU-Net gets them as one NIfTI file in Hounsfield units."""

    paths: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return self.paths

    def open(self) -> OpenImage:
        if not self.paths:
            raise InputError("a series without files", "leave it out")
        slices = [_slice(path) for path in self.paths]
        if len(slices) == 1:
            return _single(slices[0])
        slices, affine = _stack(slices)
        return written_image(_voxels([s.path for s in slices]), affine, (), slices[0].path)


def find_series(paths: Iterable[Path]) -> tuple[DicomSeries, ...]:
    """The series among files, in order of their first file; what is no DICOM image is left out."""
    series: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            series[_header(path).GetMetaData(_SERIES).strip()].append(path)
        except (InputError, RuntimeError):
            continue
    return tuple(DicomSeries(tuple(files)) for files in series.values())


@dataclass(frozen=True)
class _Slice:
    path: Path
    series: str
    size: tuple[int, ...]
    position: "np.ndarray"  # (3,) of the first voxel, LPS mm
    orientation: "np.ndarray"  # (2, 3) along rows and columns
    spacing_mm: "np.ndarray"  # (2,) between columns and rows


def _header(path: Path) -> "SimpleITK.ImageFileReader":
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError("no DICOM image", "leave the file out, or fetch it again", path) from error
    return reader


def _slice(path: Path) -> _Slice:
    import numpy as np

    reader = _header(path)

    def numbers(tag: str, count: int) -> np.ndarray:
        try:
            values = np.array([float(text) for text in reader.GetMetaData(tag).split("\\")])
        except (RuntimeError, ValueError):
            values = np.zeros(0)
        if values.size != count or not np.isfinite(values).all():
            raise InputError(f"no usable geometry in the header ({tag})", "export the series again", path)
        return values

    modality = reader.GetMetaData(_MODALITY).strip() if reader.HasMetaDataKey(_MODALITY) else "CT"
    if modality != "CT":
        raise InputError(f"modality {modality}; expected CT", "leave the series out", path)
    if len(reader.GetSize()) > 2 and reader.GetSize()[2] > 1:  # all slices in one file
        return _Slice(path, "", reader.GetSize(), *(np.zeros(0) for _ in range(3)))
    return _Slice(
        path,
        reader.GetMetaData(_SERIES).strip() if reader.HasMetaDataKey(_SERIES) else "",
        tuple(reader.GetSize()[:2]),
        numbers(_POSITION, 3),
        numbers(_ORIENTATION, 6).reshape(2, 3),
        numbers(_PIXELS, 2)[::-1],
    )


def _single(only: _Slice) -> OpenImage:
    from nnunet_spine.io.itk import affine_of

    if len(only.size) < 3:
        raise InputError("one slice; expected a series", "give all its files", only.path)
    image = _header(only.path).Execute()
    return written_image(_narrow(image), affine_of(image), ("one DICOM file with all slices",), only.path)


def _stack(slices: list[_Slice]) -> tuple[list[_Slice], "np.ndarray"]:
    """Slices in order along their normal, and the affine (RAS mm) of the volume."""
    import numpy as np

    first = slices[0]
    if len(names := {s.series for s in slices}) > 1:
        raise InputError(f"{len(slices)} files of {len(names)} series", "take them apart", first.path.parent)
    for other in slices:
        same_plane = np.allclose(other.orientation, first.orientation, atol=_COSINE_TOLERANCE)
        if other.size != first.size or not same_plane or not np.allclose(other.spacing_mm, first.spacing_mm, rtol=1e-4):
            raise InputError(
                f"size, spacing or orientation differ from those of {first.path.name}",
                "leave localisers and reformations out",
                other.path,
            )
    normal = np.cross(*first.orientation)
    slices = sorted(slices, key=lambda s: float(s.position @ normal))
    steps = np.diff([s.position for s in slices], axis=0)
    along = steps @ normal
    usual = float(np.median(along))
    tolerance = max(_STEP_TOLERANCE, _STEP_TOLERANCE * usual)
    if (twice := int(np.count_nonzero(along < tolerance))) > 0:
        k = int(np.argmin(along))
        raise InputError(
            f"{twice} slices lie where another one lies, e.g. {slices[k + 1].path.name} at {slices[k].path.name}",
            "take repeated acquisitions apart",
            first.path.parent,
        )
    if (wrong := np.abs(along - usual) > tolerance).any():
        k = int(np.argmax(np.abs(along - usual)))
        raise InputError(
            f"{int(wrong.sum())} of {len(along)} distances of slices differ from {usual:.3g} mm, e.g. {along[k]:.3g} "
            f"mm after {slices[k].path.name}: slices are missing, or their distance changes",
            "fetch the series again, or resample it",
            first.path.parent,
        )
    step = (slices[-1].position - slices[0].position) / len(along)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(step - usual * normal), usual)))
    if np.linalg.norm(step - (step @ normal) * normal) * len(along) > max(1.0, min(first.spacing_mm)):
        raise InputError(
            f"slices are shifted against each other as by a gantry tilted by {tilt:.1f} degrees",
            "straighten the volume first, e.g. with dcm2niix",
            first.path.parent,
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.orientation * first.spacing_mm[:, None]
    affine[:3, 2], affine[:3, 3] = (step @ normal) * normal, slices[0].position
    return slices, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _voxels(paths: list[Path]) -> "np.ndarray":
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(path) for path in paths])
    try:
        return _narrow(reader.Execute())
    except RuntimeError as error:
        raise InputError("damaged, or voxels in an unknown compression", "fetch it again", paths[0].parent) from error


def _narrow(image: "SimpleITK.Image") -> "np.ndarray":
    """Voxels, (x, y, z), 16 bits where they fit."""
    import numpy as np
    import SimpleITK

    voxels = SimpleITK.GetArrayFromImage(image).T
    fits = voxels.dtype.kind in "iu" and voxels.min() >= -(2**15) and voxels.max() < 2**15
    return voxels.astype(np.int16) if fits else voxels
