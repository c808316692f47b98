"""CTSpine1K: 1005 CT of four sources, vertebrae in VerSe's coding, those at the border of the scan included.

Deng et al. 2021 (arXiv 2105.14711); CC BY-NC-SA. Images of two of the sources may have to be fetched elsewhere, so that
images and masks are paired by their names wherever they lie.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.corrections import Correction
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import image_file
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.dataset_conversion.source_files import (
    case_id,
    is_volume,
    same_files,
    source_folders,
    stem,
    volumes_left_out,
    walk,
)
from nnunet_spine.errors import InputError
from nnunet_spine.io.text import read_text
from nnunet_spine.jobs import Failure

_SEG = re.compile(r"[-_]seg$", re.IGNORECASE)
_SOURCES = {
    "colonog": re.compile(r"1\.3\.6\.1\..*|ctc-\d+.*", re.IGNORECASE),
    "hnscc": re.compile(r"hn_p\d+", re.IGNORECASE),
    "msd": re.compile(r"liver_\d+", re.IGNORECASE),
    "covid": re.compile(r"volume-covid19.*", re.IGNORECASE),
}
_MASK_FOLDER = re.compile(r"label|seg|mask", re.IGNORECASE)

REPORTED = {
    "4.0103": "the sequence of levels", "4.0291": "L3 is missing", "4.0730": "L3 is missing",
    "4.0482": "the uppermost T7 should be T8", "4.0500": "the uppermost T7 should be T8",
}  # fmt: skip
"""End of an id -> fault of its mask that users reported in the data set's repository (issues 13 and 15)."""

_COLONOG = "1-3-6-1-4-1-9328-50-"
REPORTED_CORRECTIONS = {
    f"{_COLONOG}{number}": Correction({"T7": "T8"}, where_present=True) for number in ("4-0482", "4-0500")
}


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """What only this data set has."""
    parser.add_argument(
        "--test-public", choices=("validation", "test"), default="validation",
        help="what the section test_public of data_split.txt is used for; test_private is the test set",
    )  # fmt: skip


def find_scans(sources: Iterable[str | Path], *, test_public: str = "validation") -> Found:
    """All masks `<ID>_seg` with the image `<ID>` below any of the sources; splits by `data_split.txt`.

    Raises:
        InputError: a source is missing or holds no mask, or `data_split.txt` contradicts itself.
    """
    folders = source_folders(sources)
    seen = [(source, path) for source in folders for path in walk(source)]
    volumes = [(source, path) for source, path in seen if is_volume(path) and path.suffix.lower() != ".img"]
    images: dict[str, list[Path]] = defaultdict(list)
    for _, path in volumes:
        if not _SEG.search(stem(path)):
            images[stem(path).lower()].append(path)
    lists = [path for _, path in seen if path.name.lower() == "data_split.txt"]
    splits = _splits(lists, test_public)
    scans, problems = [], []
    for source, mask in volumes:
        if not _SEG.search(stem(mask)):
            continue
        name = _SEG.sub("", stem(mask))
        case, found = case_id(name), _candidates(images[name.lower()])
        if len(found) != 1:
            several = f"{len(found)} images of this name: {', '.join(map(str, found))}", "remove all but one"
            missing = "mask without an image", f"add a source folder that holds {name}"
            problems.append(Failure(case, *(several if found else missing), str(mask)))
            continue
        faults = tuple(f"reported fault of the mask: {text}" for end, text in REPORTED.items() if name.endswith(end))
        scans.append(
            Scan(
                case=case,
                patient=case,
                split=splits.get(name.lower(), ""),
                image=image_file(found[0]),
                mask=LabelFile(mask),
                place=PurePath(source.name) / mask.parent.relative_to(source),
                cohort=f"ctspine1k {_source_of(name)}".strip(),
                layout="volumes and labels",
                flags=faults,
            )
        )
    if not scans and not problems:
        raise InputError("no CTSpine1K mask found", "expected volumes/<ID>.nii.gz and labels/<ID>_seg.nii.gz",
                         folders[0] if folders else None)  # fmt: skip
    scans, twice = distinct_scans(scans)
    absent = sorted(set(splits) - {_SEG.sub("", stem(path)).lower() for _, path in volumes})
    remarks = [f"{len(absent)} scans of data_split.txt are not there, e.g. {absent[0]}"] if absent else []
    left_out = volumes_left_out([path for _, path in seen], [path for scan in scans for path in scan.files])
    return Found(tuple(scans), tuple(sorted([*problems, *twice], key=str)), tuple(remarks), left_out)


CONVERTER = Converter(
    name="ctspine1k",
    title="CTSpine1K",
    dataset_name="CTSpine1K",
    licence="CC BY-NC-SA",
    reference="Deng et al. 2021 arXiv:2105.14711",
    find=find_scans,
    add_arguments=add_arguments,
    gives=frozenset({"image", "mask"}),
    corrections={"reported": REPORTED_CORRECTIONS},
)


def _candidates(paths: Sequence[Path]) -> list[Path]:
    """Different files among images of one name; organ masks of the data sets that they come from are none."""
    out: list[Path] = []
    for path in [p for p in paths if not _MASK_FOLDER.search(p.parent.name)] or paths:
        if not any(same_files([path], [other]) for other in out):
            out.append(path)
    return out


def _source_of(name: str) -> str:
    return next((source for source, pattern in _SOURCES.items() if pattern.fullmatch(name)), "")


def _splits(lists: Iterable[Path], test_public: str) -> dict[str, str]:
    """Name in lower case -> split, of lists with the sections trainset, test_public and test_private."""
    sections: Mapping[str, str] = {"trainset": "training", "test_public": test_public, "test_private": "test"}
    out: dict[str, str] = {}
    for path in lists:
        split = ""
        for number, line in enumerate(read_text(path).split("\n"), 1):
            word = line.strip().strip(",'\"")
            if not word:
                continue
            if word.rstrip(":").strip().lower() in sections:
                split = sections[word.rstrip(":").strip().lower()]
                continue
            name = _SEG.sub("", stem(Path(word))).lower()
            if not split or " " in word:
                cure = f"give names of files below lines {', '.join(f'{s}:' for s in sections)}"
                raise InputError(f"line {number}: {word[:60]}", cure, path)
            if out.setdefault(name, split) != split:
                raise InputError(f"{name} is in two sections", "keep it in one", path)
    return out
