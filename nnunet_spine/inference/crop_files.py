"""Crops of single vertebrae as files: cut around centres, predicted by nnU-Net, pasted back into the scan.

A crop of case `a` around L3 is `a_L3_0000.nii.gz`; what nnU-Net predicts for it with `--save_probabilities` is
`a_L3.nii.gz` and `a_L3.npz`. Its header says where it belongs, so nothing else has to be kept.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nnunet_spine import centroids, crops
from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID, NAMES
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_index, to_world
from nnunet_spine.io.files import open_nifti, read_json, read_nifti, write_nifti
from nnunet_spine.io.masks import HIGHEST_LEVEL, read_mask

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
        say(f"{case}: {read.repair}")
    measured = centroids.measure(read.labels, read.affine)
    return {BY_NNUNET_ID[value].name: point.body_mm for value, point in measured.items()}


def cut(
    case: str,
    scan: Path,
    centres: Path,
    out: Path,
    levels: Sequence[str] = NAMES,
    say: Callable[[str], None] = lambda remark: None,
) -> list[str]:
    """Write the crops of one scan; returns the names of their levels.

    Args:
        centres, say: see `read_centres`.

    Raises:
        InputError: unreadable scan or centres, or a centre outside the scan.
        WriteError: the crops cannot be written.
    """
    wanted = {name: centre for name, centre in read_centres(centres, case, say).items() if name in levels}
    header = open_nifti(scan)
    for name, centre in wanted.items():
        index = to_index(header.affine, centre)
        if np.any(index < -0.5) or np.any(index > np.array(header.shape) - 0.5):
            at = ", ".join(f"{mm:.0f}" for mm in centre)
            raise InputError(f"the centre of {name} ({at} mm) is outside the scan", "centres are in RAS mm", scan)
    slices = crops.slices_of_crops(header.shape, header.affine, wanted.values())
    image, affine = read_nifti(scan, slices)
    affine = crops.shifted(affine, (slice(0, None), slice(0, None), slices))
    for name, centre in wanted.items():
        target = out / f"{case}_{name}{IMAGE_ENDING}"
        write_nifti(target, crops.crop_image(image, affine, centre), crops.crop_affine(centre))
    return list(wanted)


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


def paste_back(case: str, scan: Path, predictions: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Label mask (nnU-Net ids) of a scan from its predicted crops, and its affine; overlaps go to the more probable.

    Raises:
        InputError: no predicted crops of this scan, or unusable ones.
    """
    if not any((Path(predictions) / f"{case}_{name}.nii.gz").is_file() for name in NAMES):
        raise InputError(f"no predicted crops of {case}", f"expected files like {case}_L3.nii.gz", predictions)
    image = open_nifti(scan)
    return crops.paste(predicted_crops(predictions, case), image.shape, image.affine), image.affine
