"""Crops of single vertebrae as files: cut around centres, predicted by nnU-Net, pasted back into the scan.

A crop of case `a` around L3 is `a_L3_0000.nii.gz`; what nnU-Net predicts for it with `--save_probabilities` is
`a_L3.nii.gz` and `a_L3.npz`. Its header says where it belongs, so nothing else has to be kept.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from nnunet_spine import centroids, crops
from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID, NAMES, SUCCESSORS
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_index, to_world
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.masks import HIGHEST_LEVEL, read_mask, voxels_in
from nnunet_spine.io.nifti import open_nifti, read_nifti, write_nifti

IMAGE_ENDING = "_0000.nii.gz"


def scans_in(folder: str | Path) -> dict[str, Path]:
    """Case -> image, named as nnU-Net wants them.

    Raises:
        InputError: none there.
    """
    files = [f for f in sorted(Path(folder).glob(f"*{IMAGE_ENDING}")) if not f.name.startswith(".")]
    if not files:
        raise InputError(f"no images (CASE{IMAGE_ENDING})", "check the path and the names", folder)
    return {file.name.removesuffix(IMAGE_ENDING): file for file in files}


def read_centres(
    folder: str | Path, case: str, say: Callable[[str], None] = lambda remark: None
) -> dict[str, tuple[float, float, float]]:
    """Level name -> body centre in world mm, from `CASE.json` (as the converters write it) or the mask `CASE.nii.gz`.

    Args:
        say: is told what was repaired in the mask.

    Raises:
        InputError: neither is there, or it cannot be used.
    """
    points, mask = Path(folder) / f"{case}.json", Path(folder) / f"{case}.nii.gz"
    if points.is_file():
        content = read_json(points)
        try:
            centres = {v["name"]: tuple(map(float, v["body_centre_mm"])) for v in content["vertebrae"]}
            if not all(len(c) == 3 and all(map(math.isfinite, c)) for c in centres.values()):
                raise ValueError("a centre is not three numbers")
            return centres
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("not a centroid file of nnunet-spine convert", "give a mask instead", points) from error
    if not mask.is_file():
        raise InputError(f"neither {points.name} nor {mask.name}", "give centres or a mask for each scan", folder)
    read = read_mask(mask, highest=HIGHEST_LEVEL)
    if read.repair:
        say(read.repair)
    measured = centroids.measure(read.labels, read.affine)
    return {BY_NNUNET_ID[value].name: point.body_mm for value, point in measured.items()}


@dataclass(frozen=True)
class CropCase:
    """The crops of one scan; can be pickled.

    Attributes:
        case: its name.
        scan: its image.
        centres: folder, see `read_centres`.
        out: folder to write.
        levels: names of the levels that are wanted.
    """

    case: str
    scan: Path
    centres: Path
    out: Path
    levels: tuple[str, ...] = NAMES

    def peak_bytes(self) -> float:
        """Memory that cutting takes, at most."""
        return 8.0 * voxels_in(self.scan)


@dataclass(frozen=True)
class Cut:
    """What was cut of a scan.

    Attributes:
        levels: of the crops.
        left_out: levels with a centre that were not wanted.
        remarks: for the user.
    """

    levels: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def cut(job: CropCase) -> Cut:
    """Write the crops of one scan, in place of those of an earlier run.

    Raises:
        InputError: unreadable scan or centres, or a centre outside the scan.
        WriteError: the crops cannot be written.
    """
    for name in NAMES:
        crop_path(job, name).unlink(missing_ok=True)
    remarks: list[str] = []
    centres = read_centres(job.centres, job.case, remarks.append)
    wanted = {name: centre for name, centre in centres.items() if name in job.levels}
    left_out = tuple(name for name in centres if name not in wanted)
    if not wanted:
        remarks.append(f"no centre of these levels; there is {' '.join(left_out) or 'none at all'}")
    header = open_nifti(job.scan)
    for name, centre in wanted.items():
        index = to_index(header.affine, centre)
        if np.any(index < -0.5) or np.any(index > np.array(header.shape) - 0.5):
            at = ", ".join(f"{mm:.0f}" for mm in centre)
            raise InputError(f"the centre of {name} ({at} mm) is outside the scan", "centres are in RAS mm", job.scan)
    slices = crops.slices_of_crops(header.shape, header.affine, wanted.values())
    image, affine = read_nifti(job.scan, slices)
    affine = crops.shifted(affine, (slice(0, None), slice(0, None), slices))
    for name, centre in wanted.items():
        write_nifti(crop_path(job, name), crops.crop_image(image, affine, centre), crops.crop_affine(centre))
    return Cut(tuple(wanted), left_out, tuple(remarks))


def crop_path(job: CropCase, level: str) -> Path:
    """File of one crop."""
    return job.out / f"{job.case}_{level}{IMAGE_ENDING}"


def require_no_others(out: Path, scans: Iterable[str]) -> None:
    """Check that a folder holds no images but crops of these scans: nnU-Net predicts all that it finds.

    Raises:
        InputError: it holds some.
    """
    known = {f"{case}_{name}{IMAGE_ENDING}" for case in scans for name in NAMES}
    others = sorted({path.name for path in out.glob(f"*{IMAGE_ENDING}")} - known) if out.is_dir() else []
    if others:
        found = f"{len(others)} images that are no crops of these scans, e.g. {others[0]}"
        raise InputError(found, "choose another folder with -o, or remove them", out)


def predicted_crops(folder: str | Path, case: str) -> Iterator[crops.PredictedCrop]:
    """What nnU-Net predicted for the crops of one scan, one at a time.

    Raises:
        InputError: a prediction without probabilities, or of other crops.
    """
    for name in NAMES:
        file = Path(folder) / f"{case}_{name}.nii.gz"
        if not file.is_file():
            continue
        archive = file.with_name(f"{case}_{name}.npz")
        if not archive.is_file():
            raise InputError("no such file", "predict with --save_probabilities", archive)
        try:
            with np.load(archive) as content:
                probabilities = content["probabilities"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError("no readable probabilities", "predict this crop again", archive) from error
        if probabilities.shape != (2, *crops.CROP_SHAPE[::-1]):
            found = f"probabilities of shape {probabilities.shape}"
            raise InputError(found, "predict crops of nnunet-spine crop, with a model of single vertebrae", archive)
        centre = to_world(open_nifti(file).affine, (np.array(crops.CROP_SHAPE) - 1) / 2)
        # (2, z, y, x) in RAS -> vertebra (x, y, z)
        yield crops.PredictedCrop(BY_NAME[name].nnunet_id, tuple(centre), probabilities[1].transpose(2, 1, 0))


@dataclass(frozen=True)
class PasteCase:
    """The predicted crops of one scan; can be pickled.

    Attributes:
        case: its name.
        scan: its image.
        predictions: folder that nnU-Net wrote.
        target: mask to write.
    """

    case: str
    scan: Path
    predictions: Path
    target: Path

    def peak_bytes(self) -> float:
        """Memory that pasting takes, at most."""
        return 8.0 * voxels_in(self.scan)


@dataclass(frozen=True)
class Pasted:
    """What was pasted into a mask.

    Attributes:
        levels: in the mask.
        unpredicted: levels whose crops were cut, as far as that is known, and not predicted.
        remarks: for the user.
    """

    levels: tuple[str, ...]
    unpredicted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def paste_case(job: PasteCase) -> Pasted:
    """Write the mask of one scan from its predicted crops.

    Raises:
        InputError: no predicted crops of this scan, or unusable ones.
        WriteError: the mask cannot be written.
    """
    job.target.unlink(missing_ok=True)  # of an earlier run
    labels, affine = paste_back(job.case, job.scan, job.predictions)
    write_mask(job.target, labels, affine, "nnunet")
    present = set(np.unique(labels).tolist())
    levels = tuple(level.name for value, level in BY_NNUNET_ID.items() if value in present)
    predicted = _predicted_levels(job.predictions, job.case)
    unpredicted = tuple(name for name in _cut_levels(job.predictions, job.case) if name not in predicted)
    remarks = [f"no prediction for the crop of {' '.join(unpredicted)}"] if unpredicted else []
    if not unpredicted:
        remarks = [f"nothing was predicted between {upper} and {lower}" for upper, lower in _gaps(predicted)]
    return Pasted(levels, unpredicted, tuple(remarks))


def _predicted_levels(folder: Path, case: str) -> list[str]:
    return [name for name in NAMES if (folder / f"{case}_{name}.nii.gz").is_file()]


def _cut_levels(predictions: Path, case: str) -> list[str]:
    """Levels with a crop in the folder that nnU-Net says it has predicted; none where it does not say, or moved."""
    try:
        source = read_json(predictions / "predict_from_raw_data_args.json")["list_of_lists_or_source_folder"]
        return [name for name in NAMES if (Path(source) / f"{case}_{name}{IMAGE_ENDING}").is_file()]
    except (InputError, KeyError, TypeError):
        return []


def _gaps(levels: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbours among levels, from head to foot, that do not follow each other in any spine."""
    return [(upper, lower) for upper, lower in pairwise(levels) if lower not in SUCCESSORS[upper]]


def paste_back(case: str, scan: Path, predictions: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Label mask (nnU-Net ids) of a scan from its predicted crops, and its affine; overlaps go to the more probable.

    Raises:
        InputError: no predicted crops of this scan, or unusable ones.
    """
    if not _predicted_levels(Path(predictions), case):
        raise InputError(f"no predicted crops of {case}", f"expected files like {case}_L3.nii.gz", predictions)
    image = open_nifti(scan)
    return crops.paste(predicted_crops(predictions, case), image.shape, image.affine), image.affine
