"""The reader of masks: values are judged, not the type or the format that some program stored them in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine import geometry
from nnunet_spine.errors import InputError
from nnunet_spine.io import itk
from nnunet_spine.io.streams import volume_info, voxel_chunks
from nnunet_spine.label_maps import N_IDS

ENDINGS = (".nii.gz", ".nii", *itk.ENDINGS)
"""Of files that `read_mask` takes."""

HIGHEST_LEVEL = N_IDS - 1
"""The largest nnU-Net id of a vertebra; pass it as `highest` where a mask has to hold these."""

GRID_TOLERANCE_MM = 0.1
_INTEGER_TOLERANCE = 1e-3
_CHUNK = 1 << 18  # voxels judged at once


@dataclass(frozen=True)
class MaskFile:
    """A label mask as it lies in a file.

    Attributes:
        path: the file.
        labels: uint8, (n0, n1, n2) in stored axis order, first axis fastest in memory; 0 is background.
        affine: voxel index -> world RAS mm, 4x4.
        stored: how the file differs from a plain mask of bytes, e.g. "int16 with scaling"; "" where it does not.
        repair: what was changed, e.g. "NaN in 5 voxels of the mask set to 0"; "" for nothing.
    """

    path: Path
    labels: np.ndarray
    affine: np.ndarray
    stored: str = ""
    repair: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a manifest should say about the file."""
        return tuple(text for text in (f"mask stored as {self.stored}" if self.stored else "", self.repair) if text)


def is_mask_name(path: str | Path) -> bool:
    """Whether a file's name has the ending of a format that `read_mask` takes, and is not hidden."""
    name = Path(path).name.lower()
    return name.endswith(ENDINGS) and not name.startswith(".")


def case_name(path: str | Path) -> str:
    """File name without the ending of a mask or image: "a.b" for "a.b.nii.gz", "a" for 3D Slicer's "a.seg.nrrd"."""
    name = Path(path).name
    for ending in sorted((".seg.nrrd", *ENDINGS), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def with_data_files(files: Mapping[str, str | Path | None]) -> dict[str, Path]:
    """Named files that exist, each with the voxels that some formats keep beside their header, as "NAME data"."""
    given = {name: Path(path) for name, path in files.items() if path}
    headers = {name: path for name, path in given.items() if itk.is_itk_name(path)}
    return given | {f"{name} data": data for name, path in headers.items() for data in itk.data_files(path)}


def voxels_in(path: str | Path) -> int:
    """Number of voxels of a mask or image by its header; 0 where that cannot be read. For estimates of memory."""
    try:
        return int(np.prod(itk.shape_of(path) if itk.is_itk_name(path) else volume_info(path).shape, dtype=np.int64))
    except InputError:
        return 0


def mask_values(path: str | Path) -> dict[int, int]:
    """Number of voxels of each value in a mask, however large the values are; for codings that do not fit a byte.

    NaN counts as 0.

    Raises:
        InputError: unreadable, truncated, fractions, or values beyond 32 bits.
    """
    counts: dict[int, int] = {}
    tally = _Tally()
    chunks, _, _, _, scaling = _opened(Path(path))
    for chunk in chunks:
        values = _whole(chunk, scaling, tally)
        if not values.any():  # most of a scan
            counts[0] = counts.get(0, 0) + values.size
            continue
        found, number = np.unique(values, return_counts=True)
        for value, n in zip(found.tolist(), number.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + n
    _refuse_fractions(tally, path)
    if tally.outside:
        raise InputError(f"values beyond 32 bits in {_voxels(tally.outside)}", "check that this is a mask", path)
    return counts


def read_mask(path: str | Path, *, highest: int = 255, recode: Mapping[int, int] | None = None) -> MaskFile:
    """Read a mask of any voxel type, byte order and scaling.

    Whole numbers count whatever they are stored as (within 0.001, which rounding in scaled files needs). NaN becomes
    background, with a remark. Memory: one byte per voxel for NIfTI; other formats are decoded as they are stored first.

    Args:
        path: NIfTI (.nii, .nii.gz), NRRD or MetaImage (.nrrd, .nhdr, .mha, .mhd).
        highest: largest label that is allowed, up to 255.
        recode: stored value -> label, for each value that `mask_values` finds; None: stored values are the labels.

    Raises:
        InputError: unreadable, truncated, fractions, or labels outside 0 to `highest`, with the number of such voxels.
    """
    chunks, shape, affine, dtype, scaling = _opened(Path(path))
    if recode is None:
        return _judged(Path(path), chunks, shape, affine, dtype, scaling, highest)
    recoded = (_recoded(_whole(chunk, scaling, _Tally()), {0: 0, **recode}) for chunk in chunks)
    return _judged(Path(path), recoded, shape, affine, np.dtype(np.uint8), None, highest)


def _opened(path: Path) -> tuple[Iterator[np.ndarray], tuple[int, ...], np.ndarray, np.dtype, tuple | None]:
    """Stored values in pieces, first axis fastest; shape, affine, type and scaling."""
    if itk.is_itk_name(path):
        volume = itk.read_itk(path)

        def pieces(owner: itk.ItkVolume = volume) -> Iterator[np.ndarray]:
            flat = owner.array.reshape(-1, order="F")
            yield from (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))

        return pieces(), volume.array.shape, volume.affine, volume.array.dtype, None
    info = volume_info(path)
    return voxel_chunks(info), info.shape, info.affine, info.dtype, info.scaling


def _whole(values: np.ndarray, scaling: tuple[float, float] | None, tally: "_Tally") -> np.ndarray:
    """Values as integers; what is none is counted in `tally`."""
    if scaling:
        values = values * scaling[0] + scaling[1]
    if values.dtype.kind == "f":
        values = _rounded(values, tally)
        wrong = ~(np.abs(values) < 2**31)
        tally.outside += int(np.count_nonzero(wrong))
        values = np.where(wrong, 0, values)
    return values.astype(np.int64)


def _recoded(values: np.ndarray, recode: Mapping[int, int]) -> np.ndarray:
    if not values.any():
        return values.astype(np.uint8)
    found, inverse = np.unique(values, return_inverse=True)
    return np.array([recode[value] for value in found.tolist()], np.uint8)[inverse].reshape(values.shape)


def require_grid(mask: MaskFile, shape: tuple[int, ...], affine: np.ndarray) -> None:
    """Check that a mask lies on a given grid, corners within 0.1 mm.

    Raises:
        InputError: another number of voxels, or another place.
    """
    if mask.labels.shape != tuple(shape):
        raise InputError(
            f"grid {mask.labels.shape}; expected {tuple(shape)}", "resample it to the same grid", mask.path
        )
    distance = geometry.corner_distance_mm(shape, mask.affine, affine)
    if not distance < GRID_TOLERANCE_MM:
        raise InputError(
            f"position, spacing or orientation differ: corners up to {distance:.3g} mm apart; "
            f"expected less than {GRID_TOLERANCE_MM} mm",
            "resample it to the same grid",
            mask.path,
        )


@dataclass
class _Tally:
    """What was found among the values of a mask; examples are the first of their kind."""

    missing: int = 0
    fractions: int = 0
    fraction: float = 0.0
    outside: int = 0
    outlier: float = 0.0


def _judged(
    path: Path,
    chunks: Iterator[np.ndarray],
    shape: tuple[int, ...],
    affine: np.ndarray,
    dtype: np.dtype,
    scaling: tuple[float, float] | None,
    highest: int,
) -> MaskFile:
    flat = np.empty(int(np.prod(shape, dtype=np.int64)), np.uint8)
    tally, position = _Tally(), 0
    for chunk in chunks:
        flat[position : position + chunk.size] = _labels(chunk, scaling, highest, tally)
        position += chunk.size
    _refuse_fractions(tally, path)
    if tally.outside:
        cure = "check that this is a mask and not the scan"
        if highest < 255 and 0 <= tally.outlier <= 255:
            cure = "give masks with nnU-Net ids (C1 = 1 to L6 = 25, T13 = 26; VerSe's T13 is 28)"
        raise InputError(
            f"values outside 0 to {highest} in {_voxels(tally.outside)} (e.g. {tally.outlier:.6g})", cure, path
        )
    stored = "" if dtype == np.uint8 and not scaling else f"{dtype.name}{' with scaling' if scaling else ''}"
    repair = f"NaN in {_voxels(tally.missing)} of the mask set to 0" if tally.missing else ""
    return MaskFile(path, flat.reshape(shape, order="F"), affine, stored, repair)


def _refuse_fractions(tally: _Tally, path: str | Path) -> None:
    if tally.fractions:
        raise InputError(
            f"no whole numbers in {_voxels(tally.fractions)} (e.g. {tally.fraction:.6g}); expected labels",
            "resample masks with nearest neighbour, threshold probabilities, and export whole numbers",
            path,
        )


def _voxels(count: int) -> str:
    return f"{count} voxel{'s' * (count != 1)}"


def _labels(values: np.ndarray, scaling: tuple[float, float] | None, highest: int, tally: _Tally) -> np.ndarray:
    """Values as uint8; what is none is counted in `tally`."""
    if scaling:
        values = values * scaling[0] + scaling[1]
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.uint8)
    if not np.array_equal(labels, values):
        if values.dtype.kind == "f":
            values = _rounded(values, tally)
        wrong = (values < 0) | (values > 255)
        if wrong.any():
            tally.outlier = tally.outlier if tally.outside else float(values[np.argmax(wrong)])
            tally.outside += int(np.count_nonzero(wrong))
            values = np.where(wrong, 0, values)
        labels = values.astype(np.uint8)
    if labels.size and labels.max() > highest:
        wrong = labels > highest
        tally.outlier = tally.outlier if tally.outside else float(labels[np.argmax(wrong)])
        tally.outside += int(np.count_nonzero(wrong))
    return labels


def _rounded(values: np.ndarray, tally: _Tally) -> np.ndarray:
    missing = np.isnan(values)
    tally.missing += int(np.count_nonzero(missing))
    values = np.where(missing, 0, values)
    whole = np.rint(values)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which fails the test as it should
        wrong = ~(np.abs(values - whole) < _INTEGER_TOLERANCE)
    if wrong.any():
        tally.fraction = tally.fraction if tally.fractions else float(values[np.argmax(wrong)])
        tally.fractions += int(np.count_nonzero(wrong))
        whole = np.where(wrong, 0, whole)
    return whole
