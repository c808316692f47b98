"""Where images come from: NIfTI, which nnU-Net gets as a link; MetaImage and NRRD; values that are not yet HU.

What decodes voxels is imported when an image is opened, so that the command line knows its converters at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.dataset_conversion.sources import Grid, ImageSource, OpenImage
from nnunet_spine.errors import InputError
from nnunet_spine.io.itk import data_files, is_itk_name

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class NiftiFile:
    """A CT as NIfTI in Hounsfield units: nnU-Net gets a link to it."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def open(self) -> OpenImage:
        from nnunet_spine.dataset_conversion.nifti import place_image, read_image
        from nnunet_spine.io.nifti import read_nifti
        from nnunet_spine.io.streams import voxels_at
        from nnunet_spine.plausibility import header_findings

        info, flags = read_image(self.path)
        return OpenImage(
            Grid(info.shape, info.affine),
            tuple(flags),
            lambda path, copy: place_image(info, path, copy=copy),
            lambda: read_nifti(self.path)[0],
            tuple(header_findings(info.header, info.shape)),
            lambda indices: voxels_at(info, indices),
        )


@dataclass(frozen=True)
class ItkFile:
    """A CT as MetaImage or NRRD, of one file or of a header and its data; nnU-Net gets it as NIfTI."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path, *data_files(self.path))

    def open(self) -> OpenImage:
        from nnunet_spine.io.itk import read_itk

        volume = read_itk(self.path)
        return written_image(volume.array, volume.affine, (), self.path, keep=volume)


def image_file(path: Path) -> NiftiFile | ItkFile:
    """The source of an image by the ending of its name."""
    return ItkFile(path) if is_itk_name(path) else NiftiFile(path)


@dataclass(frozen=True)
class FlippedImage:
    """A CT whose slices are stored the other way round than its header says."""

    source: ImageSource

    @property
    def files(self) -> tuple[Path, ...]:
        return self.source.files

    def open(self) -> OpenImage:
        image = self.source.open()
        affine = flipped_slices(image.grid.affine, image.grid.shape)
        flags = (*image.flags, "slices turned round as the user said")
        return written_image(image.voxels(), affine, flags, self.files[0], keep=image)


def flipped_slices(affine: "np.ndarray", shape: tuple[int, ...]) -> "np.ndarray":
    """The affine of a grid at the same place whose third axis runs the other way."""
    import numpy as np

    turn = np.eye(4)
    turn[2, 2], turn[2, 3] = -1, shape[2] - 1
    return np.asarray(affine, float) @ turn


@dataclass(frozen=True)
class ChangedImage:
    """A CT whose values are no Hounsfield units as they are stored; nnU-Net gets the changed ones.

    Attributes:
        source: where they come from.
        change: voxels -> voxels in HU, and a remark with the evidence ("" where nothing was changed); picklable.
    """

    source: ImageSource
    change: "Callable[[np.ndarray], tuple[np.ndarray, str]]"

    @property
    def files(self) -> tuple[Path, ...]:
        return self.source.files

    def open(self) -> OpenImage:
        image = self.source.open()
        voxels, remark = self.change(image.voxels())
        if not remark:
            return image
        return written_image(voxels, image.grid.affine, (*image.flags, remark), self.files[0])


def written_image(
    voxels: "np.ndarray", affine: "np.ndarray", flags: tuple[str, ...], path: Path, *, keep: object = None
) -> OpenImage:
    """An image that has been decoded, and will be written as NIfTI.

    Args:
        voxels: 3-D, HU.
        affine: voxel index -> world RAS mm.
        path: where it comes from, for messages.
        keep: whatever must live as long as the voxels.

    Raises:
        InputError: NaN or infinite voxels.
    """
    import numpy as np

    from nnunet_spine.io.nifti import write_nifti
    from nnunet_spine.plausibility import shear_finding

    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise InputError("NaN or infinite voxels in the image", "replace them, e.g. by -1024 HU", path)

    def place(target: Path, copy: bool, _keep: object = keep) -> str:
        write_nifti(target, voxels, affine)
        return "rewritten"

    shear = shear_finding(affine)
    findings = (shear,) if shear else ()
    return OpenImage(Grid(voxels.shape, affine), flags, place, lambda: voxels, findings)
