"""The 302 scans of Glocker et al. 2013 (doi:10.1007/978-3-642-40763-5_33): landmarks, no masks (SpineWeb data set 3).

242 scans of 125 patients for training in `spine-1` to `spine-5`, 60 for the test in `spine-test-data`, of which the
folder names speak. What nnU-Net can do with landmarks alone is the user's choice.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import image_file
from nnunet_spine.dataset_conversion.landmark_masks import AGREE_MM, RADIUS_MM, AgreedPrediction, Spheres
from nnunet_spine.dataset_conversion.lml import LmlFile
from nnunet_spine.dataset_conversion.same_images import same_images
from nnunet_spine.dataset_conversion.source_files import (
    case_id,
    is_volume,
    source_folders,
    stem,
    volumes_left_out,
    walk,
)
from nnunet_spine.dataset_conversion.split_names import split_of
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import Failure

VERSE20 = {
    "4613319": "gl003", "4564449": "gl016", "2754140": "gl047", "3155447": "gl090", "4573639": "gl124",
    "4573083": "gl240", "3058243": "gl295", "4576973": "gl364", "4526288": "gl247", "4563860": "gl453",
}  # fmt: skip
"""Training scans that are VerSe'20's training scans `gl`, by the places of their vertebrae (the last two less surely).

VerSe'20 has 20 more of them for validation and test; `--not-in` finds these by what they show.
"""

_PATIENT = re.compile(r"patient[-_ ]?\d+", re.IGNORECASE)


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """What only this data set has."""
    parser.add_argument(
        "--as", dest="use", choices=("test", "heatmaps", "pseudo"), default="test",
        help="test: images and centroids, for prediction and evaluation; heatmaps: spheres around the centres, all "
        "else ignored; pseudo: masks of a model where the landmarks agree, everything else ignored",
    )  # fmt: skip
    parser.add_argument("--radius", type=float, default=RADIUS_MM, metavar="MM", help="heatmaps: radius of the spheres")
    parser.add_argument(
        "--background", type=float, default=0.0, metavar="MM",
        help="heatmaps: level with the landmarks, what is further than this from their line is background, so that "
        "there is some; 0: everything beside the spheres is ignored",
    )  # fmt: skip
    parser.add_argument("--predictions", metavar="DIR", help="pseudo: folder with the model's masks, CASE.nii.gz")
    parser.add_argument(
        "--prediction-labels", default="auto", metavar="TABLE",
        help="pseudo: what values mean there: nnunet, verse, totalsegmentator, a dataset.json, or auto",
    )  # fmt: skip
    parser.add_argument(
        "--agree", type=float, default=AGREE_MM, metavar="MM",
        help="pseudo: how far a landmark may lie from the centre of a predicted body",
    )  # fmt: skip
    parser.add_argument(
        "--without-verse20",
        action="store_true",
        help="leave the ten training scans out that are known to be VerSe'20's",
    )
    parser.add_argument(
        "--not-in", nargs="+", default=[], metavar="DIR",
        help="leave scans out whose image lies below these folders, under any name: VerSe'20, for example",
    )  # fmt: skip


def find_scans(
    sources: Iterable[str | Path],
    *,
    use: str = "test",
    radius: float = RADIUS_MM,
    background: float = 0.0,
    predictions: str | Path | None = None,
    prediction_labels: str = "auto",
    agree: float = AGREE_MM,
    without_verse20: bool = False,
    not_in: Sequence[str | Path] = (),
) -> Found:
    """All `.lml` files with the image of their name, beside them or elsewhere below the sources.

    Args:
        sources: folders at any height above the data.
        use, radius, background, predictions, prediction_labels, agree, without_verse20, not_in: see `add_arguments`.

    Raises:
        InputError: a source is missing or holds no landmark file, or options contradict each other.
    """
    _check(use, radius, background, predictions)
    folders = source_folders(sources)
    seen = [(source, path) for source in folders for path in walk(source)]
    images: dict[str, list[Path]] = defaultdict(list)
    for _, path in seen:
        if is_volume(path) and path.suffix.lower() != ".img":
            images[stem(path)].append(path)
    masks, table = _predictions(predictions, prediction_labels) if predictions else ({}, ())
    scans, problems = [], []
    for source, path in seen:
        if path.suffix.lower() != ".lml":
            continue
        case, image = case_id(path.stem), _image(path, images[path.stem])
        if not isinstance(image, Path):
            problems.append(Failure(case, *image, str(path)))
            continue
        place = PurePath(source.name) / path.parent.relative_to(source)
        patient = next((part for part in reversed(place.parts) if _PATIENT.fullmatch(part)), "")
        split = split_of(place) or ("training" if patient else "")
        landmarks, mask = LmlFile(path), None
        if use == "pseudo" and split != "test":
            if case not in masks:
                problems.append(
                    Failure(case, "no prediction of this scan", f"predict it into {predictions}", str(path))
                )
                continue
            mask = AgreedPrediction(landmarks, masks[case], table, agree)
        elif use == "heatmaps" and split != "test":
            mask = Spheres(landmarks, radius, background)
        scans.append(
            Scan(
                case=case,
                patient=f"glocker-{patient.lower() or case}",
                split=split,
                image=image_file(image),
                mask=mask,
                landmarks=landmarks,
                place=place,
                cohort="glocker",
                layout=split or "flat",
                flags=(f"is {VERSE20[case]} of VerSe'20",) if case in VERSE20 else (),
            )
        )
    if not scans and not problems:
        raise InputError("no Glocker scan found", "expected <scan>.lml with <scan>.nii.gz or <scan>.mhd",
                         folders[0] if folders else None)  # fmt: skip
    scans, twice = distinct_scans(scans)
    left_out = volumes_left_out([path for _, path in seen], [path for scan in scans for path in scan.files])
    scans, remarks = _without_known(scans, without_verse20, not_in)
    return Found(tuple(scans), tuple(sorted([*problems, *twice], key=str)), tuple(remarks), left_out)


CONVERTER = Converter(
    name="glocker",
    title="Glocker's 302 scans with landmarks",
    dataset_name="Glocker",
    licence="research use, see the page of the data set",
    reference="Glocker et al. 2013 doi:10.1007/978-3-642-40763-5_33",
    find=find_scans,
    add_arguments=add_arguments,
)


def _check(use: str, radius: float, background: float, predictions: str | Path | None) -> None:
    if (use == "pseudo") != (predictions is not None):
        raise InputError(f"--as {use} {'with' if predictions else 'without'} --predictions",
                         "give --as pseudo and --predictions DIR together")  # fmt: skip
    if radius <= 0 or background < 0 or (background and background <= radius):
        raise InputError(f"--radius {radius:g} --background {background:g}", "give millimetres, the second larger")


def _image(landmarks: Path, candidates: Sequence[Path]) -> Path | tuple[str, str]:
    """The image of a landmark file, or what is wrong and its cure."""
    beside = [path for path in candidates if path.parent == landmarks.parent]
    candidates = beside or candidates
    if not candidates:
        return "landmarks without an image", "add it beside them"
    # The older distribution has MetaImage files; of two formats of one scan nnU-Net can take NIfTI as it is.
    nifti = [path for path in candidates if ".nii" in path.name.lower()]
    if len(nifti or candidates) > 1 and len({path.parent for path in candidates}) > 1:
        return f"several images: {', '.join(map(str, candidates))}", "remove all but one"
    return sorted(nifti or candidates)[-1]


def _predictions(folder: str | Path, labels: str) -> tuple[dict[str, Path], tuple[tuple[int, str], ...]]:
    """Case -> mask, and what the values mean."""
    from nnunet_spine.io.given_masks import masks_in, table_for
    from nnunet_spine.io.masks import case_name

    masks = masks_in(folder)
    table = table_for(masks, labels)
    if table is None:
        raise InputError("masks without names of levels", "name their table with --prediction-labels", folder)
    return {case_name(mask): mask for mask in masks}, tuple(sorted(table.levels.items()))


def _without_known(
    scans: Sequence[Scan], without_verse20: bool, not_in: Sequence[str | Path]
) -> tuple[list[Scan], list[str]]:
    """Scans that are in no other data set, and what was left out."""
    known = {scan.case: VERSE20[scan.case] for scan in scans if without_verse20 and scan.case in VERSE20}
    if not_in:
        others = [path for folder in source_folders(not_in) for path in walk(folder) if is_volume(path)]
        case_of = {scan.image.path: scan.case for scan in scans}
        for path, other in same_images(case_of, others):
            known.setdefault(case_of[path], str(other))
    kept = [scan for scan in scans if scan.case not in known]
    if not kept:
        raise InputError("all scans are in the other data sets, too", "check --not-in")
    listed = ", ".join(f"{case} ({other})" for case, other in sorted(known.items()))
    return kept, [f"{len(known)} scans left out that another data set holds: {listed}"] if known else []
