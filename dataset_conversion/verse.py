"""VerSe'19 and VerSe'20 in both layouts, of one year or their union.

Löffler et al. 2020 (doi:10.1148/ryai.2020190138), Liebl et al. 2021 (doi:10.1038/s41597-021-01060-0),
Sekuboyina et al. 2021 (doi:10.1016/j.media.2021.102166); data CC BY-SA 4.0.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.images import NiftiFile
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.dataset_conversion.source_files import same_files, source_folders, volumes_left_out, walk
from nnunet_spine.dataset_conversion.split_names import split_of
from nnunet_spine.dataset_conversion.verse_centroids import VerseCentroids
from nnunet_spine.dataset_conversion.verse_corrections import VERIDAH
from nnunet_spine.errors import InputError
from nnunet_spine.io.verse_names import Name, parse_name, year_of
from nnunet_spine.jobs import Failure

_EXPECTED = (
    "expected <split>/rawdata/sub-*/sub-*_ct.nii.gz with derivatives beside it, or verse*.nii.gz with verse*_seg"
)
_CENTROIDS = re.compile(r"[-_]ctd.*\.json$", re.IGNORECASE)


@dataclass
class _Group:
    """Files of one scan at one place."""

    name: Name
    place: PurePath  # below the source, its own name included
    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    years: set[str] = field(default_factory=set)


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """VerSe's own option."""
    parser.add_argument(
        "--prefer", choices=("auto", "2019", "2020"), default="auto",
        help="scans in both years: auto takes the subject-based layout, then 2020",
    )  # fmt: skip


def find_scans(sources: Iterable[str | Path], *, prefer: str = "auto") -> Found:
    """All scans below the source folders, each once.

    The unit is the scan, named by patient and series. A scan that lies in several trees (105 are in both years) is
    taken once: from the subject-based layout, the organisers' recommendation, then from the newer year.

    Args:
        sources: folders at any height above the data; wrapper folders from unzipping do not matter.
        prefer: "auto", or "2019" / "2020": that year before the layout.

    Raises:
        InputError: a source is missing, or holds no scan.
    """
    groups: list[_Group] = []
    seen: list[Path] = []
    for source in source_folders(sources):
        paths = list(walk(source))
        found = _groups(source, paths)
        if not any(group.files.keys() & {"image", "mask"} for group in found):
            others = volumes_left_out(paths, ())
            named = f"; {len(others)} files with other names, e.g. {others[0].name}" if others else ""
            raise InputError(f"no VerSe scan found{named}", _EXPECTED, source)
        groups += found
        seen += paths
    scans, incomplete = _complete(groups)
    by_case: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        by_case[scan.case].append(scan)
    # A copy that lacks a file does not matter where a whole one exists.
    problems = [p for p in incomplete if p.case not in by_case]
    remarks = [f"not used, another copy is complete: {p}" for p in incomplete if p.case in by_case]
    chosen = []
    for case, copies in sorted(by_case.items()):
        by_case[case] = candidates = _distinct(copies)
        scan, duplicates = _choose(candidates, prefer)
        if duplicates:
            places = ", ".join(str(c.files[0]) for c in duplicates)
            problems.append(Failure(case, f"duplicate case: {places}", "remove all but one"))
        else:
            chosen.append(scan)
    if shared := [case for case, copies in by_case.items() if len(copies) > 1]:
        remarks.append(f"{len(shared)} scans lie in more than one source; each is taken once (see the manifest)")
    named = [path for group in groups for paths in group.files.values() for path in paths]
    left_out = (*volumes_left_out(seen, named), *_lonely_centroids(seen, groups))
    return Found(tuple(chosen), tuple(sorted(set(problems), key=str)), tuple(remarks), left_out)


CONVERTER = Converter(
    name="verse",
    title="VerSe'19 and VerSe'20",
    dataset_name="VerSe",
    licence="CC BY-SA 4.0",
    reference=(
        "Löffler et al. 2020 doi:10.1148/ryai.2020190138; Liebl et al. 2021 doi:10.1038/s41597-021-01060-0; "
        "Sekuboyina et al. 2021 doi:10.1016/j.media.2021.102166"
    ),
    find=find_scans,
    add_arguments=add_arguments,
    corrections={"veridah": VERIDAH},
)


def _groups(source: Path, paths: Iterable[Path]) -> list[_Group]:
    groups: dict[tuple, _Group] = {}
    for path in paths:
        name = parse_name(path.name)
        if name is None:
            continue
        # The folder above the source may be the one that names the split.
        place = PurePath(source.parent.name, source.name) / path.parent.relative_to(source)
        parts = [part.lower() for part in place.parts]
        for word in ("rawdata", "derivatives"):
            if word in parts:  # image and mask lie in sibling trees; their common root is the place of the scan
                place = PurePath(*place.parts[: parts.index(word)])
                break
        group = groups.setdefault((place, name.layout, name.stem), _Group(name, place))
        group.files[name.kind].append(path)
        group.years |= {name.year} - {""}
    return list(groups.values())


def _complete(groups: list[_Group]) -> tuple[list[Scan], list[Failure]]:
    scans, problems = [], []
    for group in groups:
        files = {kind: paths[:1] if _one(paths) else paths for kind, paths in group.files.items()}
        group.files.update(files)
        doubles = [paths for paths in files.values() if len(paths) > 1]
        images, masks = group.files.get("image"), group.files.get("mask")
        if doubles:
            places = ", ".join(str(p) for p in doubles[0])
            problems.append(Failure(group.name.case, f"duplicate case: {places}", "remove all but one"))
        elif not images:
            lonely = next(iter(group.files.values()))[0]
            if masks:  # centroids alone are not a case
                problems.append(Failure(group.name.case, "mask without an image", "add the image", str(lonely)))
        elif not masks:
            problems.append(Failure(group.name.case, "image without a mask", "add the mask", str(images[0])))
        else:
            scans.append(_scan(group))
    return scans, problems


def _one(paths: list[Path]) -> bool:
    return all(same_files([paths[0]], [path]) for path in paths[1:])


def _scan(group: _Group) -> Scan:
    year = year_of(group.place) or (max(group.years) if group.years else "")
    centroids = group.files.get("centroids")
    return Scan(
        case=group.name.case,
        patient=group.name.patient,
        image=NiftiFile(group.files["image"][0]),
        mask=LabelFile(group.files["mask"][0]),
        landmarks=VerseCentroids(centroids[0]) if centroids else None,
        place=group.place,
        cohort=f"verse{year}",
        layout=group.name.layout,
        flags=() if centroids else ("no centroid file",),
    )


def _distinct(copies: list[Scan]) -> list[Scan]:
    """Scans without those that are the same files under another name."""
    kept: list[Scan] = []
    for scan in copies:
        twin = next((i for i, other in enumerate(kept) if same_files(scan.files, other.files)), None)
        if twin is None:
            kept.append(scan)
        else:
            kept[twin] = replace(kept[twin], other_places=(*kept[twin].other_places, scan.place))
    return kept


def _choose(candidates: list[Scan], prefer: str) -> tuple[Scan, list[Scan]]:
    """The scan to take, and the copies that make the choice impossible (same layout and year)."""
    wanted = {"2019": "verse19", "2020": "verse20"}.get(prefer)

    def rank(scan: Scan) -> tuple:
        return scan.cohort != wanted if wanted else False, scan.layout != "subject", -_year(scan)

    ordered = sorted(candidates, key=rank)
    first, others = ordered[0], ordered[1:]
    same = [scan for scan in others if (scan.layout, scan.cohort) == (first.layout, first.cohort)]
    if same:
        return first, [first, *same]
    flags = tuple(f"also in {other.cohort} {other.layout} ({split_of(other.place) or 'no split'})" for other in others)
    places = tuple(place for other in others for place in (other.place, *other.other_places))
    return replace(first, flags=first.flags + flags, other_places=first.other_places + places), []


def _lonely_centroids(seen: Iterable[Path], groups: Iterable[_Group]) -> list[Path]:
    """Centroid files, by their names or nearly so, that belong to no scan."""
    used = {path for g in groups if g.files.keys() & {"image", "mask"} for path in g.files.get("centroids", ())}
    return [path for path in seen if _CENTROIDS.search(path.name) and path not in used]


def _year(scan: Scan) -> int:
    digits = scan.cohort.removeprefix("verse")
    return int(digits) if digits else 0
