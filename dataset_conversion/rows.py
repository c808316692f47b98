"""The cases of a cohort as a table: written by the user, matched by patterns, or guessed from names of files."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.case import SPLITS
from nnunet_spine.dataset_conversion.source_files import case_id, is_volume, stem
from nnunet_spine.dataset_conversion.split_names import split_of
from nnunet_spine.errors import InputError
from nnunet_spine.io.label_folders import level_of_file
from nnunet_spine.io.text import read_records

COLUMNS = ("case", "patient", "split", "image", "mask", "centroids")

_MASK = {"seg", "segs", "segmentation", "segmentations", "mask", "masks", "msk", "label", "labels", "labelmap", "gt",
         "annotation", "annotations", "vert", "labelstr", "labelsts", "truth", "derivatives"}  # fmt: skip
_IMAGE = {"ct", "image", "images", "img", "imgs", "volume", "volumes", "scan", "scans", "0000", "imagestr", "imagests",
          "rawdata", "raw", "data", "dicom"}  # fmt: skip
_POINTS = {"ctd", "centroids", "centroid", "points", "landmarks", "subreg", "iso"}
_NO_DICOM = (".json", ".csv", ".txt", ".png", ".xml", ".raw", ".zraw", ".gz")
_Key = tuple[str, ...]
_FIELDS = re.compile(r"\\\{(case|patient|split|level)\\\}")


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        image: a file, or a folder with a DICOM series; None where there is none.
        mask: a file, or a folder with a file for each vertebra.
        centroids: a centroid file.
        place: its folder below the source.
    """

    case: str
    patient: str = ""
    split: str = ""
    image: Path | None = None
    mask: Path | None = None
    centroids: Path | None = None
    place: PurePath = field(default_factory=PurePath)

    def cells(self, source: Path) -> list[str]:
        """Its line in the table, paths below the source where they lie there."""
        paths = (self.image, self.mask, self.centroids)
        shown = [str(p.relative_to(source) if p and p.is_relative_to(source) else p or "") for p in paths]
        return [self.case, self.patient, self.split, *shown]


def read_table(path: str | Path, sources: Sequence[Path]) -> list[Row]:
    """Rows of a CSV file with the columns `case` and `image`, and any of `patient`, `split`, `mask`, `centroids`.

    Raises:
        InputError: unreadable, an unknown column, a file that is not there, or a split that is none.
    """
    rows = []
    for record in read_records(path, ("case", "image")):
        if unknown := sorted(set(record) - set(COLUMNS)):
            raise InputError(f"unknown column '{unknown[0]}'", f"there are {', '.join(COLUMNS)}", path)
        if not record["case"]:
            raise InputError("a line without a case", "fill the column", path)
        files = {name: _existing(record.get(name, ""), sources, path) for name in ("image", "mask", "centroids")}
        split = _split(record.get("split", ""), path)
        place = next((_place(file, sources) for file in files.values() if file), PurePath())
        rows.append(Row(case_id(record["case"]), record.get("patient", ""), split, **files, place=place))
    return rows


def match_patterns(
    sources: Sequence[Path], files: Sequence[Path], images: str, masks: str = "", centroids: str = ""
) -> list[Row]:
    """Rows of files that match patterns such as `{patient}/{case}_ct.nii.gz`.

    Args:
        sources: folders; patterns are below these.
        files: in them.
        images: with `{case}`; also `{patient}` and `{split}`; `*` is anything within a name, `**` also folders. One
            that ends in `/` is of folders with DICOM series.
        masks: with `{case}`; with `{level}` too, of one file for each vertebra.
        centroids: with `{case}`.

    Raises:
        InputError: a pattern without `{case}`, or several files of one kind for a case.
    """
    rows: dict[str, Row] = {}
    folders = sorted({folder for path in files for folder in path.parents} - {*sources})
    for kind, pattern in (("image", images), ("mask", masks), ("centroids", centroids)):
        if not pattern:
            continue
        if "{case}" not in pattern:
            raise InputError(f"pattern {pattern} of the {kind}", "put {case} where the name of the case stands")
        regex = _regex(pattern.rstrip("/"))
        for path in folders if pattern.endswith("/") else files:
            below = (path.relative_to(s).as_posix() for s in sources if path.is_relative_to(s))
            found = next(filter(None, map(regex.fullmatch, below)), None)
            if found is None:
                continue
            said = found.groupdict()
            case = case_id(said["case"])
            row = rows.setdefault(case, Row(case))
            value = path.parent if said.get("level") else path
            if getattr(row, kind) not in (None, value):
                raise InputError(f"{case} has two files for its {kind}: {getattr(row, kind)}, {path}",
                                 "make the pattern narrower")  # fmt: skip
            more = {"split": _split(said["split"], path)} if said.get("split") else {}
            more |= {"patient": said["patient"]} if said.get("patient") else {}
            place = _place(path, sources) if kind == "image" else row.place
            rows[case] = replace(row, **{kind: value, **more}, place=place)
    return [rows[case] for case in sorted(rows)]


def guess_rows(sources: Sequence[Path], files: Sequence[Path]) -> list[Row]:
    """Rows by the names of files: what is called like a mask belongs to the image whose other words are the same.

    Images without a mask are rows only where nothing is called like a mask. Folders with DICOM files are images.
    """
    kinds: dict[str, dict[_Key, list[Path]]] = {name: defaultdict(list) for name in ("image", "mask", "points")}
    structures = {path.parent for path in files if level_of_file(path)}
    whole = [path for path in files if path.parent not in structures]
    for path in [*whole, *dicom_folders(whole), *sorted(structures)]:
        source = next(s for s in sources if path.is_relative_to(s))
        if path.suffix.lower() == ".json" and _POINTS & set(_words(path, source)):
            kinds["points"][_key(path, source)].append(path)
        elif path in structures:
            kinds["mask"][_key(path, source)].append(path)
        elif path.is_dir() or (is_volume(path) and path.suffix.lower() != ".img"):
            kinds["mask" if _MASK & set(_words(path, source)) else "image"][_key(path, source)].append(path)
    single = {kind: {key: paths[0] for key, paths in found.items() if len(paths) == 1} for kind, found in kinds.items()}
    keys = [key for key in single["image"] if key in single["mask"] or not kinds["mask"]]
    names = _short_names(keys)
    rows = []
    for key in sorted(keys):
        place = _place(single["image"][key], sources)
        split = split_of(place) if split_of(place) in SPLITS else ""
        files = (single[kind].get(key) for kind in ("image", "mask", "points"))
        rows.append(Row(names[key], names[key], split, *files, place))
    return rows


def dicom_folders(files: Iterable[Path]) -> list[Path]:
    """Folders that hold DICOM files, whatever these are called, by the mark in the files."""
    found: dict[Path, bool] = {}
    for path in files:
        if found.get(path.parent) or is_volume(path) or path.suffix.lower() in _NO_DICOM:
            continue
        with path.open("rb") as file:
            found[path.parent] = file.read(132)[128:] == b"DICM"
    return sorted(folder for folder, is_dicom in found.items() if is_dicom)


def _words(path: Path, source: Path) -> list[str]:
    """Words of a path below the source in lower case."""
    parts = [*path.relative_to(source).parts[:-1], path.name if path.is_dir() else stem(path)]
    return [word for part in parts for word in re.split(r"[^a-z0-9.]+", part.lower()) if word]


def _key(path: Path, source: Path) -> _Key:
    words = [word for word in _words(path, source) if word not in _MASK | _IMAGE | _POINTS]
    return tuple(dict.fromkeys(words))  # `sub-1/sub-1_ct` says everything twice


def _short_names(keys: Sequence[_Key]) -> dict[_Key, str]:
    """Names of cases: the last words that tell them apart."""
    for length in range(1, max(map(len, keys), default=0) + 1):
        names = {key: case_id("-".join(key[-length:])) for key in keys}
        if len(set(names.values())) == len(keys):
            return names
    return {key: case_id("-".join(key)) for key in keys}


def _regex(pattern: str) -> re.Pattern:
    text = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    seen: set[str] = set()

    def group(match: re.Match) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+?)"

    return re.compile(_FIELDS.sub(group, text))


def _place(path: Path, sources: Sequence[Path]) -> PurePath:
    source = next((s for s in sources if path.is_relative_to(s)), None)
    return PurePath(source.name) / path.parent.relative_to(source) if source else PurePath()


def _existing(text: str, sources: Sequence[Path], table: str | Path) -> Path | None:
    if not text:
        return None
    for path in [Path(text)] if Path(text).is_absolute() else [source / text for source in sources]:
        if path.exists():
            return path
    raise InputError(f"{text}: no such file", "give paths below a source folder, or whole ones", table)


def _split(word: str, path: str | Path) -> str:
    if not word:
        return ""
    split = split_of(PurePath(word))
    if split not in SPLITS:
        raise InputError(f"split '{word}'", "give training, validation or test", path)
    return split
