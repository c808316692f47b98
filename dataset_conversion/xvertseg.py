"""xVertSeg, lumbar CT with vertebral fractures of the University of Ljubljana (2015).

Korez et al. 2015 (doi:10.1109/TMI.2015.2389334). `Data1/images/image001.mhd` with `Data1/masks/mask001.mhd`, L1 to L5
as 200 to 240; `Data2` has no masks. Copies lie in other folders, so numbers pair images and masks.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import image_file
from nnunet_spine.dataset_conversion.intensities import add_offset_option, hu_image
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.dataset_conversion.source_files import is_volume, source_folders, stem, volumes_left_out, walk
from nnunet_spine.dataset_conversion.split_names import split_of
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import Failure

LEVELS = {200: "L1", 210: "L2", 220: "L3", 230: "L4", 240: "L5"}

_NAME = re.compile(r"(image|mask)[-_ ]?(\d+)", re.IGNORECASE)
_FOLDERS = {"images", "image", "masks", "mask"}


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """What only this data set has."""
    add_offset_option(parser)


def find_scans(sources: Iterable[str | Path], *, hu_offset: str = "auto") -> Found:
    """All images of xVertSeg, with their masks where there are any.

    Raises:
        InputError: a source is missing, or holds no image.
    """
    parts: dict[tuple[PurePath, int], dict[str, Path]] = defaultdict(dict)
    folders = source_folders(sources)
    seen = [(source, path) for source in folders for path in walk(source) if path.suffix.lower() != ".img"]
    problems = []
    for source, path in seen:
        if not is_volume(path) or not (match := _NAME.fullmatch(stem(path))):
            continue
        place = PurePath(source.name) / path.parent.relative_to(source)
        place = place.parent if place.name.lower() in _FOLDERS else place
        kind, number = match[1].lower(), int(match[2])
        known = parts[place, number].setdefault(kind, path)
        if known != path:
            problems.append(Failure(f"xvertseg{number:03d}", f"two files: {known}, {path}", "remove one"))
    places: dict[int, set[str]] = defaultdict(set)
    for place, number in parts:
        places[number].add(place.name)
    scans = []
    for (place, number), files in parts.items():
        case = f"xvertseg{number:03d}" if len(places[number]) == 1 else f"xvertseg-{place.name}-{number:03d}"
        if "image" not in files:
            problems.append(Failure(case, "mask without an image", "add the image", str(files["mask"])))
            continue
        mask = LabelFile(files["mask"], LEVELS) if "mask" in files else None
        named = split_of(place)
        scans.append(
            Scan(
                case=case,
                patient=case,
                split=named or ("training" if mask else "test"),
                image=hu_image(image_file(files["image"]), hu_offset),
                mask=mask,
                place=place,
                cohort="xvertseg",
                layout="masks" if mask else "no masks",
            )
        )
    if not scans and not problems:
        raise InputError("no xVertSeg image found", "expected Data1/images/image001.mhd with Data1/masks/mask001.mhd",
                         folders[0] if folders else None)  # fmt: skip
    scans, twice = distinct_scans(scans)
    left_out = volumes_left_out([path for _, path in seen], [p for files in parts.values() for p in files.values()])
    return Found(tuple(scans), tuple(sorted([*problems, *twice], key=str)), (), left_out)


CONVERTER = Converter(
    name="xvertseg",
    title="xVertSeg",
    dataset_name="XVertSeg",
    licence="research use, see lit.fe.uni-lj.si/xVertSeg",
    reference="Korez et al. 2015 doi:10.1109/TMI.2015.2389334",
    find=find_scans,
    add_arguments=add_arguments,
    gives=frozenset({"image", "mask"}),
)
