"""CSI2014, the segmentation challenge of the MICCAI 2014 workshop on computational spine imaging (SpineWeb data set 2).

Yao et al. 2016 (doi:10.1016/j.compmedimag.2015.12.006). Pairs `case1.mhd` and `case1_label.mhd` of any MetaImage, NRRD
or NIfTI format; T1 to L5 are labelled. What the values mean, where the slices run and whether the grey values are
Hounsfield units is not documented, and found out for each scan.
"""

import argparse
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import FlippedImage, image_file
from nnunet_spine.dataset_conversion.intensities import add_offset_option, hu_image
from nnunet_spine.dataset_conversion.numbered import NumberedLabels, parse_first_levels, read_level_table
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
from nnunet_spine.io.text import read_records
from nnunet_spine.jobs import Failure

LEVELS = (*(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)))
HEALTHY, OSTEOPOROTIC = "healthy", "osteoporotic"
PUBLIC = range(1, 11)
"""Numbers of the ten healthy scans that were given out for training; those of the test scans are not published."""

_LABEL = re.compile(r"[-_ ]label$", re.IGNORECASE)


@dataclass(frozen=True)
class Preset:
    """How a publication used the scans.

    Attributes:
        training, validation: numbers of the public scans.
        test: group of patients -> number of test scans.
        source: where that is said.
    """

    training: int
    validation: int
    test: Mapping[str, int]
    source: str


PRESETS = {
    "masuzawa": Preset(0, 0, {HEALTHY: 15}, "Masuzawa et al.: the 15 healthy scans are test scans"),
    "sekuboyina": Preset(
        9, 1, {HEALTHY: 5, OSTEOPOROTIC: 5},
        "Sekuboyina et al.: 9 scans for training, 1 to validate, 5 healthy and 5 osteoporotic test scans",
    ),
}  # fmt: skip


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """What only this data set has."""
    parser.add_argument(
        "--groups", metavar="CSV",
        help=f"columns case,group with {HEALTHY} or {OSTEOPOROTIC}; the same file serves evaluate --groups",
    )  # fmt: skip
    parser.add_argument(
        "--preset", choices=sorted(PRESETS),
        help="splits of a publication: " + "; ".join(f"{name}: {p.source}" for name, p in sorted(PRESETS.items())),
    )  # fmt: skip
    parser.add_argument(
        "--first-level", nargs="+", default=[], metavar="[CASE=]LEVEL",
        help="highest labelled vertebra where a mask does not hold the 17 from T1 to L5",
    )  # fmt: skip
    parser.add_argument(
        "--levels", metavar="CSV",
        help="columns case,value,level: what the mask values of some cases mean, where their places do not tell",
    )  # fmt: skip
    parser.add_argument(
        "--flip-slices", nargs="+", default=[], metavar="CASE",
        help="scans, or `all`, whose slices are stored the other way round than the header says",
    )  # fmt: skip
    add_offset_option(parser)


def find_scans(
    sources: Iterable[str | Path],
    *,
    groups: str | Path | None = None,
    preset: str | None = None,
    first_level: Sequence[str] = (),
    levels: str | Path | None = None,
    flip_slices: Sequence[str] = (),
    hu_offset: str = "auto",
) -> Found:
    """All pairs of an image and its `_label` below the source folders.

    Args:
        sources: folders at any height above the data.
        groups, preset, first_level, levels, flip_slices, hu_offset: see `add_arguments`.

    Raises:
        InputError: a source is missing or holds no pair, a table is unreadable or names other cases, or a preset does
            not fit.
    """
    seen = [(source, path) for source in source_folders(sources) for path in walk(source)]
    volumes = [(source, path) for source, path in seen if is_volume(path) and not _is_data(path)]
    images = {(path.parent, stem(path).lower()): path for _, path in volumes if not _LABEL.search(stem(path))}
    firsts, tables = parse_first_levels(first_level), read_level_table(levels) if levels else {}
    scans, problems = [], []
    for source, mask in volumes:
        if not _LABEL.search(stem(mask)):
            continue
        name = _LABEL.sub("", stem(mask))
        image = images.get((mask.parent, name.lower()))
        if image is None:
            problems.append(Failure(case_id(name), "mask without an image", f"add {name} beside it", str(mask)))
            continue
        case = case_id(name)
        turned = bool({"all", case} & set(flip_slices))
        source_of_image = FlippedImage(image_file(image)) if turned else image_file(image)
        first = firsts.get(case, firsts.get("", ""))
        scans.append(
            Scan(
                case=case,
                patient=case,
                image=hu_image(source_of_image, hu_offset),
                mask=NumberedLabels(mask, LEVELS, first, tables.get(case, ()), turned),
                place=PurePath(source.name) / mask.parent.relative_to(source),
                cohort="csi2014",
                layout="pairs",
            )
        )
    if not scans and not problems:
        raise InputError("no CSI2014 scan found", "expected case1.mhd with case1_label.mhd", seen[0][0] if seen else
                         next(iter(source_folders(sources)), None))  # fmt: skip
    scans, twice = distinct_scans(scans)
    _require_known("--first-level", firsts, scans)
    _require_known("--levels", tables, scans)
    _require_known("--flip-slices", set(flip_slices) - {"all"}, scans)
    remarks: list[str] = []
    if groups:
        scans = _grouped(scans, groups)
    if preset:
        scans, remark = _by_preset(scans, PRESETS[preset], grouped=bool(groups))
        remarks.append(remark)
    used = [path for scan in scans for path in scan.files]
    left_out = volumes_left_out([path for _, path in seen if not _is_data(path)], used)
    return Found(tuple(scans), tuple(sorted([*problems, *twice], key=str)), tuple(remarks), left_out)


CONVERTER = Converter(
    name="csi2014",
    title="CSI2014 spine segmentation challenge",
    dataset_name="CSI2014",
    licence="research use, see SpineWeb",
    reference="Yao et al. 2016 doi:10.1016/j.compmedimag.2015.12.006",
    find=find_scans,
    add_arguments=add_arguments,
    gives=frozenset({"image", "mask"}),
)


def _is_data(path: Path) -> bool:
    """Whether a file holds the voxels of a header beside it (.img of .hdr)."""
    return path.suffix.lower() == ".img"


def _require_known(option: str, cases: Iterable[str], scans: Sequence[Scan]) -> None:
    unknown = sorted({case for case in cases if case} - {scan.case for scan in scans})
    if unknown:
        shown = ", ".join(scan.case for scan in scans[:5])
        raise InputError(f"{option} {unknown[0]}: no such case", f"cases are {shown}{', ...' * (len(scans) > 5)}")


def _grouped(scans: Sequence[Scan], path: str | Path) -> list[Scan]:
    """Scans with their group of patients as cohort."""
    table: dict[str, str] = {}
    for row in read_records(path, ("case", "group")):
        if row["group"].lower() not in (HEALTHY, OSTEOPOROTIC):
            raise InputError(f"group '{row['group']}' of {row['case']}", f"give {HEALTHY} or {OSTEOPOROTIC}", path)
        if table.setdefault(row["case"], row["group"].lower()) != row["group"].lower():
            raise InputError(f"{row['case']} is in two groups", "keep one", path)
    _require_known(f"{path}:", table, scans)
    if missing := [scan.case for scan in scans if scan.case not in table]:
        raise InputError(f"no group for {missing[0]}", "add it", path)
    return [replace(scan, cohort=f"csi2014 {table[scan.case]}") for scan in scans]


def _by_preset(scans: Sequence[Scan], preset: Preset, *, grouped: bool) -> tuple[list[Scan], str]:
    """Scans with the splits of a publication; which one it validated with is not published, and drawn by a checksum."""
    if not grouped:
        raise InputError("--preset without --groups", f"say with --groups which scans are {HEALTHY} or {OSTEOPOROTIC}")
    pool = [scan for scan in scans if _is_public(scan)] if preset.training else []
    rest = [scan for scan in scans if scan not in pool]
    wanted = {"public training": (len(pool), preset.training + preset.validation)}
    for group, number in preset.test.items():
        wanted[f"{group} test"] = (sum(scan.cohort.endswith(group) for scan in rest), number)
    if wrong := [f"{found} {what} scans" for what, (found, number) in wanted.items() if found != number]:
        needed = ", ".join(f"{number} {what} scans" for what, (_, number) in wanted.items() if number)
        raise InputError(
            f"{', '.join(wrong)}; the preset needs {needed}",
            "public scans lie in a folder called training, or are numbered 1 to 10; complete the data or the groups",
        )
    drawn = sorted(pool, key=lambda scan: hashlib.sha256(scan.case.encode()).hexdigest())
    split = {scan.case: "validation" if k < preset.validation else "training" for k, scan in enumerate(drawn)}
    tested = [scan for scan in rest if any(scan.cohort.endswith(group) for group in preset.test)]
    chosen = [replace(scan, split=split.get(scan.case, "test")) for scan in sorted([*pool, *tested], key=_case)]
    return chosen, f"splits after {preset.source}"


def _case(scan: Scan) -> str:
    return scan.case


def _is_public(scan: Scan) -> bool:
    """Whether a scan is one of the ten that were given out for training: its folder says so, or its number."""
    named = split_of(scan.place)
    if named:
        return named in ("training", "validation")
    number = re.search(r"(\d+)\D*$", scan.case)
    return bool(number) and int(number[1]) in PUBLIC
