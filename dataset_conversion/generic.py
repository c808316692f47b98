"""Any cohort of CT without programming: files by a table, by patterns or by their names, values by a table."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.dicom import DicomSeries, find_series
from nnunet_spine.dataset_conversion.distinct import distinct_scans
from nnunet_spine.dataset_conversion.images import image_file
from nnunet_spine.dataset_conversion.intensities import add_offset_option, hu_image
from nnunet_spine.dataset_conversion.label_sets import IGNORE
from nnunet_spine.dataset_conversion.labels import StructureFiles
from nnunet_spine.dataset_conversion.lml import LmlFile
from nnunet_spine.dataset_conversion.numbered import BACKGROUND, NumberedLabels
from nnunet_spine.dataset_conversion.rows import COLUMNS, Row, guess_rows, match_patterns, read_table
from nnunet_spine.dataset_conversion.source_files import source_folders, volumes_left_out, walk
from nnunet_spine.dataset_conversion.sources import ImageSource, LandmarkSource, MaskSource
from nnunet_spine.dataset_conversion.verse_centroids import VerseCentroids
from nnunet_spine.errors import InputError
from nnunet_spine.io.text import read_records
from nnunet_spine.jobs import Failure

_LOCALISER_SLICES = 3
_SHOWN_VALUES = 5  # masks that `--guess` looks into

Values = tuple[tuple[int, str], ...]


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """What only this converter has."""
    parser.add_argument(
        "--cases", metavar="CSV", help=f"a line per case: {','.join(COLUMNS)}; case and image are needed; see --guess"
    )
    parser.add_argument(
        "--images", metavar="PATTERN", default="",
        help="images below the sources, e.g. '{patient}/{case}_ct.nii.gz'; `*` for anything, `**` for folders, too; "
        "ending in `/`: folders with a DICOM series each",
    )  # fmt: skip
    parser.add_argument(
        "--masks", metavar="PATTERN", default="",
        help="their masks, e.g. 'labels/{case}.nii.gz', or 'seg/{case}/vertebrae_{level}.nii.gz', a file per vertebra",
    )  # fmt: skip
    parser.add_argument("--centroids", metavar="PATTERN", default="", help="centroid files as VerSe's, or .lml")
    parser.add_argument(
        "--values", nargs="+", default=["auto"], metavar="V=LEVEL",
        help="what mask values mean: 1=L1 2=L2 9=background 10=ignore; a CSV with the columns value,level; nnunet, "
        "verse, totalsegmentator; a dataset.json; or auto: as the files and what lies beside them say",
    )  # fmt: skip
    parser.add_argument("--cohort", default="own", help="name for the manifest")
    add_offset_option(parser, "0")


def find_scans(
    sources: Iterable[str | Path], *, cases: str | Path | None = None, images: str = "", masks: str = "",
    centroids: str = "", values: Sequence[str] = ("auto",), cohort: str = "own", hu_offset: str = "0",
) -> Found:  # fmt: skip
    """Scans by a table, by patterns, or by the names of files (see `rows`).

    Raises:
        InputError: a source is missing, nothing is found, or options or tables contradict each other.
    """
    folders = source_folders(sources)
    files = [path for folder in folders for path in walk(folder)]
    rows, remarks = _rows(folders, files, cases, images, masks, centroids)
    if not rows:
        raise InputError("no case found", "name the files with --images and --masks, or in a table with --cases; "
                         "--guess prints a first one", folders[0] if folders else None)  # fmt: skip
    plain = [row.mask for row in rows if row.mask and row.mask.is_file()]
    table = read_values(values, plain) if plain else ()
    scans, problems = [], []
    for row in rows:
        try:
            image, flags = _image(row, hu_offset)
        except InputError as error:
            problems.append(Failure(row.case, error.found, error.cure, str(error.path or "")))
            continue
        scans.append(
            Scan(
                case=row.case,
                patient=row.patient or row.case,
                split=row.split,
                image=image,
                mask=_mask(row, table),
                landmarks=_landmarks(row),
                place=row.place,
                cohort=cohort,
                layout="table" if cases else "patterns" if images else "names",
                flags=flags,
            )
        )
    kept, twice = distinct_scans(scan for scan in scans if scan.files)
    left_out = volumes_left_out(files, [path for scan in kept for path in scan.files])
    return Found(tuple(kept), tuple(sorted([*problems, *twice], key=str)), tuple(remarks), left_out)


def guess(sources: Iterable[str | Path]) -> Iterator[str]:
    """The table that `find_scans` would use, as CSV, and what the masks seem to hold, as comments."""
    from nnunet_spine.io.masks import mask_values

    folders = source_folders(sources)
    rows = guess_rows(folders, [path for folder in folders for path in walk(folder)])
    if not rows:
        raise InputError("no images found", "name them with --images", folders[0] if folders else None)
    yield ",".join(COLUMNS)
    for row in rows:
        source = next((s for s in folders if row.image and row.image.is_relative_to(s)), folders[0])
        yield ",".join(f'"{cell}"' if re.search(r'[,;"]', cell) else cell for cell in row.cells(source))
    files = [row.mask for row in rows if row.mask and row.mask.is_file()]
    if not files:
        return
    found = sorted({value for mask in files[:_SHOWN_VALUES] for value in mask_values(mask) if value})
    try:
        levels = dict(read_values(["auto"], files[:_SHOWN_VALUES]))
        yield f"# --values {' '.join(f'{value}={levels.get(value, BACKGROUND)}' for value in found)}"
    except InputError as error:
        yield f"# values {' '.join(map(str, found))}: {error.found}. Say what they mean with --values"


def read_values(words: Sequence[str], masks: Sequence[Path]) -> Values:
    """Value -> level, "background" or "ignore".

    Args:
        words: "auto", the name of a table, a file, or `V=LEVEL` for each value.
        masks: for "auto".

    Raises:
        InputError: no such table, no level, or a value or level twice.
    """
    if len(words) == 1 and "=" not in words[0]:
        word = words[0]
        if word.lower().endswith((".csv", ".tsv", ".txt")):
            records = read_records(word, ("value", "level"))
            return _checked([(record["value"], record["level"]) for record in records], word)
        from nnunet_spine.io.given_masks import table_for

        table = table_for(masks, word)
        if table is None:
            raise InputError("masks without names of levels", "say what their values mean with --values")
        return tuple(sorted({**table.levels, **dict.fromkeys(table.others, BACKGROUND)}.items()))
    pairs = [word.partition("=")[::2] for word in words]
    return _checked(pairs, None)


CONVERTER = Converter(
    name="generic",
    title="Any cohort of CT: NIfTI, MetaImage, NRRD or DICOM, with or without masks",
    dataset_name="Own",
    licence="as its owner says",
    reference="none",
    find=find_scans,
    add_arguments=add_arguments,
    guess=guess,
)


def _rows(
    folders: Sequence[Path], files: Sequence[Path], cases: str | Path | None, images: str, masks: str, centroids: str
) -> tuple[list[Row], list[str]]:
    if cases and (images or masks or centroids):
        raise InputError("--cases together with patterns", "give one of the two")
    if (masks or centroids) and not images:
        raise InputError("--masks without --images", "give both")
    if cases:
        return read_table(cases, folders), []
    if images:
        return match_patterns(folders, files, images, masks, centroids), []
    rows = guess_rows(folders, files)
    return rows, [f"{len(rows)} cases paired by the names of their files; --guess prints the table"]


def _image(row: Row, hu_offset: str) -> tuple[ImageSource | None, tuple[str, ...]]:
    if row.image is None:
        return None, ()
    if row.image.is_file():
        return hu_image(image_file(row.image), hu_offset), ()
    series = find_series(sorted(path for path in row.image.iterdir() if path.is_file()))
    usual = [one for one in series if len(one.paths) > _LOCALISER_SLICES] if len(series) > 1 else list(series)
    if len(usual) != 1:
        shown = ", ".join(f"{one.paths[0].name} and {len(one.paths) - 1} more" for one in series) or "none"
        cure = "give each series a folder of its own" if series else "check the folder"
        raise InputError(f"{len(series)} DICOM series: {shown}", cure, row.image)
    flags = (f"{len(series) - 1} series of up to {_LOCALISER_SLICES} slices passed over",) if len(series) > 1 else ()
    chosen: DicomSeries = usual[0]
    return hu_image(chosen, hu_offset), flags


def _mask(row: Row, table: Values) -> MaskSource | None:
    from nnunet_spine.anatomy import sort_cranio_caudal
    from nnunet_spine.io.label_folders import structure_files

    if row.mask is None:
        return None
    if row.mask.is_dir():
        files = structure_files(row.mask)
        return StructureFiles(tuple((level, files[level]) for level in sort_cranio_caudal(files)))
    return NumberedLabels(row.mask, (), table=table)


def _landmarks(row: Row) -> LandmarkSource | None:
    if row.centroids is None:
        return None
    return LmlFile(row.centroids) if row.centroids.suffix.lower() == ".lml" else VerseCentroids(row.centroids)


def _checked(pairs: Iterable[tuple[str, str]], path: str | Path | None) -> Values:
    out: dict[int, str] = {}
    for text, name in pairs:
        word = name.strip()
        level = word.upper() if word.upper() in BY_NAME else word.lower()
        if not text.strip().isdecimal() or not (level in BY_NAME or level in (BACKGROUND, IGNORE)):
            cure = f"give V=LEVEL with one of {' '.join(BY_NAME)} {BACKGROUND} {IGNORE}"
            raise InputError(f"{text}={name}", cure, path)
        if int(text) in out or (level in BY_NAME and level in out.values()):
            raise InputError(f"{text} or {level} is there twice", "keep one", path)
        out[int(text)] = level
    return tuple(sorted(out.items()))
