"""Pictures of many cases from their files, whatever the labels and grids of these are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.grids import match, read_label_map, touch
from nnunet_spine.evaluation.pairing import list_images, list_masks, shorten
from nnunet_spine.evaluation.record import read_image_on
from nnunet_spine.geometry import corner_distance_mm
from nnunet_spine.io.images import image_grid
from nnunet_spine.io.label_ids import LabelTable
from nnunet_spine.io.masks import GRID_TOLERANCE_MM, voxels_in
from nnunet_spine.pictures.to_files import case_picture

_BYTES_PER_VOXEL = 14  # masks, the CT as it is stored and as numbers, and what is turned to RAS


@dataclass(frozen=True)
class PictureFiles:
    """What belongs to the picture of a case; without a CT its labels are drawn on black."""

    case: str
    mask: Path
    image: Path | None = None
    reference: Path | None = None


@dataclass(frozen=True)
class PictureCase:
    """A picture to draw; can be pickled.

    Attributes:
        files: what to draw.
        target: PNG to write.
        tables: what the values of mask and reference mean, as `LabelTable.to_dict`.
        kind: of dataset that both are brought to.
    """

    files: PictureFiles
    target: Path
    tables: tuple[dict, dict]
    kind: str

    @property
    def case(self) -> str:
        return self.files.case

    def peak_bytes(self) -> float:
        """Memory that it takes, about."""
        files = (self.files.mask, self.files.image, self.files.reference)
        return 3e8 + _BYTES_PER_VOXEL * max(voxels_in(file) for file in files if file is not None and file.is_file())


def pair_files(masks: str | Path, images: str | Path | None, references: str | Path | None) -> list[PictureFiles]:
    """The files of each case, by name; two single files belong together whatever their names.

    Args:
        masks: a mask, or a folder of masks.
        images, references: likewise; None: no CT, no reference.

    Raises:
        InputError: no such place, no mask, a case that is there twice, or no case in common.
    """
    found = list_masks(masks)
    if not found:
        raise InputError("no mask (.nii.gz, .nii, .nrrd, .mha, .mhd)", "give the folder with the masks", masks)
    ct = _beside(found, images, list_images(images) if images is not None else {})
    true = _beside(found, references, list_masks(references) if references is not None else {})
    return [PictureFiles(case, path, ct.get(case), true.get(case)) for case, path in sorted(found.items())]


def _beside(masks: Mapping[str, Path], place: str | Path | None, found: Mapping[str, Path]) -> Mapping[str, Path]:
    if place is None:
        return {}
    if len(masks) == 1 and Path(place).is_file():
        return dict.fromkeys(masks, Path(place))
    if not masks.keys() & found.keys():
        names = f"{shorten(found)} here, {shorten(masks)} there" if found else "no image or mask"
        raise InputError(f"no case name in common with the masks: {names}", "rename one side", place)
    return found


def draw_case(job: PictureCase) -> tuple[str, ...]:
    """Write the picture of a case; returns what is to be said about it.

    Raises:
        InputError: a file is unreadable, a value has no meaning, or the files lie in different places.
        WriteError: the picture cannot be written.
    """
    files, (table, reference_table) = job.files, map(LabelTable.from_dict, job.tables)
    mask = target = read_label_map(files.mask, table, "prediction", job.kind)
    reference, remarks = None, []
    if files.reference is not None:
        target = read_label_map(files.reference, reference_table, "reference", job.kind)
        mask, reference = match(mask, target), target.labels
        remarks += target.notes
    remarks += mask.notes
    image, shape = None, target.labels.shape
    if files.image is not None:
        own_shape, own = image_grid(files.image)
        if not touch(own_shape, own, shape, target.affine):
            raise InputError("CT and labels lie apart", "check their headers, and that they are one case", files.image)
        image = read_image_on(files.image, shape, target.affine)
        if own_shape != shape or corner_distance_mm(shape, own, target.affine) > GRID_TOLERANCE_MM:
            remarks.append("the CT lies on another grid: drawn on that of the labels")
    if not mask.labels.any() and reference is None:
        remarks.append("no label in it")
    case_picture(image, reference, mask.labels, target.affine, job.target, title=job.case, kind=job.kind)
    return tuple(remarks)
