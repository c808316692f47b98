"""The scans that a command is given: found by name, read onto their own grid, judged by their grey values."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.io import itk
from nnunet_spine.io.images import read_image
from nnunet_spine.io.masks import case_name, is_mask_name
from nnunet_spine.io.streams import volume_info
from nnunet_spine.plausibility import header_findings, intensity_finding, sample_step, settle, shear_finding

KEYS = ("header-spacing", "hu")
"""Of `plausibility.KEYS`, those that stop a scan unless they are accepted."""

_CHANNEL = re.compile(r"_(\d{4})$")
_MASK_WORDS = re.compile(r"[_-](seg|msk|mask|label|labels)$", re.IGNORECASE)
_SAMPLE = 200_000  # voxels by which grey values are judged
_FORMATS = "NIfTI (.nii.gz, .nii), NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd)"


@dataclass(frozen=True)
class Found:
    """The scans of a place.

    Attributes:
        scans: case -> file, by name.
        left_out: files of which the names say that they are masks.
    """

    scans: dict[str, Path]
    left_out: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Scan:
    """A CT in memory.

    Attributes:
        voxels: HU, (n0, n1, n2) in stored axis order; finite.
        affine: voxel index -> world RAS mm, 4x4.
        flags: what is odd about the file.
    """

    voxels: np.ndarray
    affine: np.ndarray
    flags: tuple[str, ...] = ()


def find_scans(place: str | Path) -> Found:
    """A CT, or those directly in a folder, by case: "a" for a_0000.nii.gz, as nnU-Net has it, and for a.nii.gz.

    Raises:
        InputError: nothing there, DICOM files, a second channel, or two files of one case.
    """
    place = Path(place)
    if place.is_file():
        if not is_mask_name(place):
            raise _no_scan(place, [place])
        return Found({_case(place): place})
    if not place.is_dir():
        raise InputError("no such file or folder", "check the path", place)
    files = sorted(p for p in place.iterdir() if is_mask_name(p) and p.is_file())
    left_out = [p for p in files if _MASK_WORDS.search(case_name(p)) or p.name.lower().endswith(".seg.nrrd")]
    scans: dict[str, Path] = {}
    for path in files:
        if path in left_out:
            continue
        channel = _CHANNEL.search(case_name(path))
        if channel and channel[1] != "0000":
            raise InputError(f"channel {channel[1]} of a case", "give folders with one CT per case", path)
        if other := scans.get(_case(path)):
            raise InputError(f"case {_case(path)} is there twice: {other.name} and {path.name}", "keep one", place)
        scans[_case(path)] = path
    if not scans:
        raise _no_scan(place, [*left_out, *sorted(place.rglob("*"))[:1000]])
    return Found(scans, tuple(left_out))


def read_scan(path: str | Path, accept: Collection[str] = ()) -> Scan:
    """Read a CT and judge it.

    Args:
        accept: of `KEYS`, what flags a scan and does not stop it.

    Raises:
        InputError: unreadable, values that are no HU, or a header that gives voxels of two sizes.
    """
    image = read_image(path)
    if itk.is_itk_name(path):  # its formats hold one place only
        findings = [shear] if (shear := shear_finding(image.affine)) else []
    else:
        info = volume_info(path)
        findings = header_findings(info.header, info.shape)
    flat = image.voxels.ravel(order="K")
    if flat[0] == flat[-1] and (flat == flat[0]).all():  # nothing in view, which is no reason to stop
        flags = [*settle(findings, accept, path), f"hu: every voxel is {flat[0]:.4g}"]
    else:
        odd = intensity_finding(flat[:: sample_step(image.voxels.shape, _SAMPLE)])
        flags = settle([*findings, odd] if odd else findings, accept, path)
    return Scan(image.voxels, image.affine, tuple(filter(None, (image.repair, *flags))))


def _case(path: Path) -> str:
    return case_name(path).removesuffix("_0000")


def _no_scan(place: Path, files: list[Path]) -> InputError:
    """What to say of a place without scans, by what is there instead."""
    below = sorted({p.parent for p in files if is_mask_name(p) and p.parent != place and p != place})
    if below:
        return InputError("no scans here, but in folders below", f"give one of them, e.g. {below[0]}", place)
    if any(_is_dicom(p) for p in files[:50]):
        cure = "convert the series first, e.g. with dcm2niix -z y, or export it as NRRD from 3D Slicer"
        return InputError(f"DICOM files; expected {_FORMATS}", cure, place)
    if any(is_mask_name(p) for p in files):
        return InputError("nothing but masks, by the names of the files", "give the CT scans", place)
    return InputError(f"no scan; expected {_FORMATS}", "check the path", place)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".ima") or path.name == "DICOMDIR"
