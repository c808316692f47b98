"""Find the scans of VerSe'19 and VerSe'20 in both layouts, of one year or their union.

Löffler et al. 2020 (doi:10.1148/ryai.2020190138), Liebl et al. 2021 (doi:10.1038/s41597-021-01060-0),
Sekuboyina et al. 2021 (doi:10.1016/j.media.2021.102166); data CC BY-SA 4.0.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Found, Problem, Scan
from nnunet_spine.errors import InputError
from nnunet_spine.io.verse_names import Name, parse_name, split_of, year_of

TITLE = "VerSe"
LICENCE = "CC BY-SA 4.0"
REFERENCE = (
    "Löffler et al. 2020 doi:10.1148/ryai.2020190138; Liebl et al. 2021 doi:10.1038/s41597-021-01060-0; "
    "Sekuboyina et al. 2021 doi:10.1016/j.media.2021.102166"
)

_EXPECTED = (
    "expected <split>/rawdata/sub-*/sub-*_ct.nii.gz with derivatives beside it, or verse*.nii.gz with verse*_seg"
)


@dataclass
class _Group:
    """Files of one scan at one place."""

    name: Name
    place: PurePath  # below the source, its own name included
    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    years: set[str] = field(default_factory=set)


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
    for source in dict.fromkeys(Path(s).resolve() for s in sources):
        found = _groups(source)
        if not found:
            raise InputError("no VerSe scan found", _EXPECTED, source)
        groups += found
    scans, incomplete = _complete(groups)
    by_case: dict[str, list[Scan]] = defaultdict(list)
    for scan in {s.image: s for s in reversed(scans)}.values():  # sources may overlap; the first one counts
        by_case[scan.case].append(scan)
    # A copy that lacks a file does not matter where a whole one exists.
    problems = [p for p in incomplete if p.case not in by_case]
    remarks = [f"not used, another copy is complete: {p}" for p in incomplete if p.case in by_case]
    chosen = []
    for case, candidates in sorted(by_case.items()):
        scan, duplicates = _choose(candidates, prefer)
        if duplicates:
            places = ", ".join(str(c.image) for c in duplicates)
            problems.append(Problem(case, f"duplicate case: {places}. Remove all but one"))
        else:
            chosen.append(scan)
    remarks += _remarks(chosen, by_case)
    return Found(tuple(chosen), tuple(sorted(problems, key=str)), tuple(remarks))


def _files(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        raise InputError("no such folder", "check the path", source)
    for folder, subfolders, names in os.walk(source, followlinks=True):
        # Hidden folders (.git, .partial-...) and macOS archive leftovers hold no data.
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and n != "__MACOSX")
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _groups(source: Path) -> list[_Group]:
    groups: dict[tuple, _Group] = {}
    for path in _files(source):
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


def _complete(groups: list[_Group]) -> tuple[list[Scan], list[Problem]]:
    scans, problems = [], []
    for group in groups:
        doubles = [paths for paths in group.files.values() if len(paths) > 1]
        images, masks = group.files.get("image"), group.files.get("mask")
        if doubles:
            places = ", ".join(str(p) for p in doubles[0])
            problems.append(Problem(group.name.case, f"duplicate case: {places}. Remove all but one"))
        elif not images:
            lonely = next(iter(group.files.values()))[0]
            if masks:  # centroids alone are not a case
                problems.append(Problem(group.name.case, f"{lonely}: mask without an image. Add the image"))
        elif not masks:
            problems.append(Problem(group.name.case, f"{images[0]}: image without a mask. Add the mask"))
        else:
            scans.append(_scan(group))
    return scans, problems


def _scan(group: _Group) -> Scan:
    split = split_of(group.place)
    year = year_of(group.place) or (max(group.years) if group.years else "")
    centroids = group.files.get("centroids")
    flags = [] if split else ["split not named by a folder, taken as training"]
    flags += [] if centroids else ["no centroid file"]
    return Scan(
        case=group.name.case,
        patient=group.name.patient,
        split=split or "training",
        cohort=f"verse{year}",
        layout=group.name.layout,
        image=group.files["image"][0],
        mask=group.files["mask"][0],
        centroids=centroids[0] if centroids else None,
        flags=tuple(flags),
    )


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
    flags = tuple(f"also in {other.cohort} {other.layout} ({other.split})" for other in others)
    return replace(first, flags=first.flags + flags), []


def _year(scan: Scan) -> int:
    digits = scan.cohort.removeprefix("verse")
    return int(digits) if digits else 0


def _remarks(scans: list[Scan], by_case: dict[str, list[Scan]]) -> Iterator[str]:
    shared = [case for case, copies in by_case.items() if len(copies) > 1]
    if shared:
        yield f"{len(shared)} scans lie in more than one source; each is taken once (see the manifest)"
    splits = defaultdict(set)
    for scan in scans:
        splits[scan.patient].add(scan.split)
    for patient, names in sorted(splits.items()):
        if len(names) > 1:
            yield f"patient {patient} has scans in {' and '.join(sorted(names))}; the official split would leak"
