"""A raw dataset against what its files and its manifest say: what changed, what does not fit, what leaks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.dataset_conversion.label_sets import IGNORE
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.same_images import same_images
from nnunet_spine.dataset_conversion.target import RECEIPT
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import corner_distance_mm, spacing_mm, to_index
from nnunet_spine.io.files import read_json
from nnunet_spine.io.images import image_grid
from nnunet_spine.io.label_ids import present_values
from nnunet_spine.io.masks import GRID_TOLERANCE_MM, read_mask, voxels_in
from nnunet_spine.jobs import Contents, contents_of, unchanged

_NEAR_MM = 3.0  # a centre may lie this far beside its label: bodies with holes, rounding
_SOURCES = {"image": "image", "mask": "mask", "landmarks": "centroids"}  # part -> column of the manifest


@dataclass(frozen=True)
class Trouble:
    """Something that is not as it should be.

    Attributes:
        what: kind of check.
        case: "" for the dataset as a whole.
        found: what came, and what was expected.
        cure: what to do.
    """

    what: str
    case: str
    found: str
    cure: str


@dataclass(frozen=True)
class CheckCase:
    """One case to check; picklable.

    Attributes:
        case: its name.
        image, label, centroids: its files; None where it has none.
        values: name -> value of the dataset's labels.
        listed: names that the manifest says it holds; None without a manifest.
        sources: name, file and contents of what it was made of.
        outputs: file and checksum of what was written.
        noted_ns: when these were noted.
        thorough: read sources and images even where sizes and times say that nothing changed.
    """

    case: str
    image: Path | None
    label: Path | None
    centroids: Path | None
    values: Mapping[str, int]
    listed: tuple[str, ...] | None = None
    sources: tuple[tuple[str, Path, Contents], ...] = ()
    outputs: tuple[tuple[Path, str], ...] = ()
    noted_ns: int = 0
    thorough: bool = False

    def peak_bytes(self) -> float:
        """Memory that checking takes, about."""
        return 3.0 * voxels_in(self.label) if self.label else 0.0


@dataclass(frozen=True)
class Dataset:
    """A raw dataset as it lies there.

    Attributes:
        folder: of it.
        content: of dataset.json.
        patients: case -> patient; the case itself where nobody says it.
        splits: case -> "training", "validation" or "test".
        cases: what to check.
        ours: whether this package wrote it.
    """

    folder: Path
    content: Mapping[str, object]
    patients: Mapping[str, str]
    splits: Mapping[str, str]
    cases: tuple[CheckCase, ...]
    ours: bool


def open_dataset(raw: str | Path, number: int, *, thorough: bool = False) -> Dataset:
    """A dataset of this package or of another one.

    Raises:
        InputError: no dataset of this number, or no readable dataset.json.
    """
    folders = sorted(Path(raw).glob(f"Dataset{number:03d}_*"))
    if len(folders) != 1:
        found = ", ".join(f.name for f in folders) or "none"
        raise InputError(f"dataset {number}: {found}", "give the number of one raw dataset with -d", raw)
    folder = folders[0]
    content = read_json(folder / "dataset.json")
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise InputError("no labels", "write it as nnU-Net 2 has it", folder / "dataset.json")
    ending = str(content.get("file_ending", ".nii.gz"))
    ours = (folder / RECEIPT).is_file() and (folder / "manifest.csv").is_file()
    rows = {row["case"]: row for row in read_manifest(folder / "manifest.csv")} if ours else {}
    receipt = read_json(folder / RECEIPT) if ours else {}
    noted_ns = (folder / RECEIPT).stat().st_mtime_ns if ours else 0
    values = {name: value for name, value in content["labels"].items() if isinstance(value, int)}
    splits = {case: row["split"] for case, row in rows.items()} if ours else _splits(folder, content, ending)
    cases = []
    for case, split in sorted(splits.items()):
        image, label, points = _files(folder, content, case, "Ts" if split == "test" else "Tr", ending)
        row = rows.get(case, {})
        noted = receipt.get("contents", {}).get(case, {})
        sources = tuple(
            (name, Path(row[_SOURCES[name]]), Contents(**held))
            for name, held in noted.items()
            if held and name in _SOURCES and row.get(_SOURCES[name])
        )
        sums = receipt.get("checksums", {})
        outputs = tuple((folder / name, sums[name]) for name in sums if _case_of(name) == case)
        listed = tuple(row["labels_after"].split()) if ours and row.get("mask_stored") else None
        cases.append(CheckCase(case, image, label, points, values, listed, sources, outputs, noted_ns, thorough))
    patients = {case: rows.get(case, {}).get("patient") or case for case in splits}
    return Dataset(folder, content, patients, splits, tuple(cases), ours)


def check_case(job: CheckCase) -> tuple[Trouble, ...]:
    """What is wrong with the files of a case."""
    return tuple(_case_troubles(job))


def check_dataset(dataset: Dataset) -> list[Trouble]:
    """What is wrong with the dataset as a whole: dataset.json, folders, splits, scans that it holds twice."""
    return [*_json_troubles(dataset), *_stray_files(dataset), *_split_troubles(dataset), *_twin_troubles(dataset)]


def _case_troubles(job: CheckCase) -> Iterator[Trouble]:
    again = "convert again, or restore the file"
    for name, path, then in job.sources:
        if not path.exists():
            yield Trouble(
                "sources", job.case, f"{name} {path} is not there any more", "restore it, or keep the dataset"
            )
        elif not unchanged(path, then, job.noted_ns, thorough=job.thorough):
            yield Trouble("sources", job.case, f"{name} {path} changed since", "convert again")
    for path, checksum in job.outputs:
        now = contents_of(path)
        if now is None or now.sha256 != checksum:
            what = "is missing" if now is None else "was changed since it was written"
            yield Trouble("outputs", job.case, f"{path.name} {what}", again)
    grid = None
    if job.image is not None:
        try:
            grid = image_grid(job.image)
        except InputError as error:
            yield Trouble("image", job.case, f"{job.image.name}: {error.found}", again)
    if job.label is None:
        return
    try:
        mask = read_mask(job.label)
    except InputError as error:
        yield Trouble("labels", job.case, f"{job.label.name}: {error.found}", error.cure or again)
        return
    yield from _grid_troubles(job.case, grid, mask.labels.shape, mask.affine)
    yield from _label_troubles(job, present_values(mask.labels))
    if job.centroids is not None:
        yield from _centroid_troubles(job, mask.labels, mask.affine)


def _grid_troubles(
    case: str, grid: tuple[tuple[int, ...], np.ndarray] | None, shape: tuple[int, ...], affine: np.ndarray
) -> Iterator[Trouble]:
    if grid is None:
        return
    if tuple(grid[0]) != shape:
        yield Trouble("geometry", case, f"image of {grid[0]} and mask of {shape} voxels", "resample the mask")
    elif (distance := corner_distance_mm(shape, grid[1], affine)) > GRID_TOLERANCE_MM:
        yield Trouble(
            "geometry", case, f"image and mask lie {distance:.3g} mm apart", "give the mask the image's affine"
        )


def _label_troubles(job: CheckCase, present: set[int]) -> Iterator[Trouble]:
    names = {value: name for name, value in job.values.items()}
    if unknown := sorted(present - names.keys()):
        shown = ", ".join(map(str, unknown))
        yield Trouble("labels", job.case, f"label {shown} is not in dataset.json", "correct the mask, or declare it")
    if job.listed is not None:
        there = {names[value] for value in present & names.keys() if value}
        if there != set(job.listed):
            differing = " ".join(sorted(there ^ set(job.listed)))
            yield Trouble("labels", job.case, f"mask and manifest differ in {differing}", "convert again")
    if present <= {job.values.get(IGNORE, 0)}:
        yield Trouble("labels", job.case, "nothing is labelled", "leave the case out if that is not meant")


def _centroid_troubles(job: CheckCase, labels: np.ndarray, affine: np.ndarray) -> Iterator[Trouble]:
    content = read_json(job.centroids)
    entries = content.get("vertebrae", []) if isinstance(content, dict) else []
    reach = np.ceil(_NEAR_MM / spacing_mm(affine)).astype(int)
    for entry in entries:
        value, point = job.values.get(entry.get("name")), entry.get("body_centre_mm")
        if value is None or point is None or entry["name"] == "C1" or "mask_centroid_mm" not in entry:
            continue
        index = np.rint(to_index(affine, np.array(point, float))).astype(int)
        low, high = np.maximum(index - reach, 0), np.maximum(index + reach + 1, 0)
        if not (labels[tuple(map(slice, low, high))] == value).any():
            found = f"the centre of {entry['name']} lies outside its mask"
            yield Trouble("centroids", job.case, found, "convert again; masks edited by hand need new centres")


def _json_troubles(dataset: Dataset) -> Iterator[Trouble]:
    content = dataset.content
    labels = content["labels"]
    flat = sorted({v for value in labels.values() for v in (value if isinstance(value, list) else [value])})
    if labels.get("background") != 0 or flat != list(range(len(flat))):
        yield Trouble("dataset.json", "", f"labels {flat[:30]}", "number labels 0 (background), 1, 2, ... without gaps")
    if IGNORE in labels and labels[IGNORE] != max(flat):
        yield Trouble("dataset.json", "", f"ignore is {labels[IGNORE]} of {max(flat)}", "make it the highest value")
    number = sum(split != "test" for split in dataset.splits.values())
    if content.get("numTraining") != number:
        yield Trouble(
            "dataset.json", "", f"numTraining {content.get('numTraining')}, {number} cases", f"write {number}"
        )
    if "channel_names" not in content:
        yield Trouble("dataset.json", "", "no channel_names", 'write {"0": "CT"}')
    for check in dataset.cases:
        training = dataset.splits[check.case] != "test"
        missing = [n for n, p in (("image", check.image), ("label", check.label)) if p is None and training]
        if missing:
            yield Trouble("files", check.case, f"no {' and no '.join(missing)}", "restore it, or remove the case")


def _stray_files(dataset: Dataset) -> Iterator[Trouble]:
    for ending in ("Tr", "Ts"):
        for path in sorted((dataset.folder / f"images{ending}").glob("*")):
            case = _case_of(f"images{ending}/{path.name}")
            if case not in dataset.splits or (dataset.splits[case] == "test") != (ending == "Ts"):
                yield Trouble(
                    "files", case, f"images{ending}/{path.name} belongs to no case", "move it out of the folder"
                )


def _split_troubles(dataset: Dataset) -> Iterator[Trouble]:
    sides: dict[str, set[str]] = defaultdict(set)
    for case, split in dataset.splits.items():
        sides[dataset.patients[case]].add("test" if split == "test" else "training")
    for patient, found in sorted(sides.items()):
        if len(found) > 1:
            yield Trouble("leak", "", f"patient {patient} is in training and test", "move all cases to one side")
    path = dataset.folder / "splits_final.json"
    if not path.is_file():
        return
    known = {case for case, split in dataset.splits.items() if split != "test"}
    for number, fold in enumerate(read_json(path)):
        train, val = set(fold.get("train", ())), set(fold.get("val", ()))
        if unknown := sorted((train | val) - known):
            found = f"fold {number} names {unknown[0]}, no training case"
            yield Trouble("splits", unknown[0], found, "write splits_final.json anew")
        both = {dataset.patients[c] for c in train & known} & {dataset.patients[c] for c in val & known}
        for patient in sorted(both):
            found = f"patient {patient} is on both sides of fold {number}"
            yield Trouble("leak", "", found, "convert again with --folds 5")


def _twin_troubles(dataset: Dataset) -> Iterator[Trouble]:
    """Scans that are there twice, under two names."""
    images = {check.image: check.case for check in dataset.cases if check.image is not None}
    seen: set[frozenset[str]] = set()
    for path, other in same_images(images, images):
        pair = frozenset((images[path], images[other]))
        if len(pair) < 2 or pair in seen:
            continue
        seen.add(pair)
        first, second = sorted(pair)
        where = {dataset.splits[first], dataset.splits[second]}
        what = "leak" if len(where) > 1 or dataset.patients[first] != dataset.patients[second] else "twice"
        found = f"shows the same scan as {second} ({' and '.join(sorted(where))})"
        yield Trouble(what, first, found, "leave one of them out")


def _splits(folder: Path, content: Mapping[str, object], ending: str) -> dict[str, str]:
    """Cases of a foreign dataset: those that dataset.json lists, or whose images lie there."""
    training = content.get("dataset") or {
        _case_of(f"imagesTr/{p.name}", ending): None for p in (folder / "imagesTr").glob(f"*_0000{ending}")
    }
    test = {_case_of(f"imagesTs/{p.name}", ending) for p in (folder / "imagesTs").glob(f"*_0000{ending}")}
    return dict.fromkeys(training, "training") | dict.fromkeys(test - set(training), "test")


def _files(
    folder: Path, content: Mapping[str, object], case: str, side: str, ending: str
) -> tuple[Path | None, Path | None, Path | None]:
    entry = (content.get("dataset") or {}).get(case)
    image = folder / entry["images"][0] if entry else folder / f"images{side}" / f"{case}_0000{ending}"
    label = folder / entry["label"] if entry else folder / f"labels{side}" / f"{case}{ending}"
    files = (image, label, folder / f"centroids{side}" / f"{case}.json")
    return tuple(path if path.is_file() else None for path in files)


def _case_of(name: str, ending: str = ".nii.gz") -> str:
    """The case of a file in one of the dataset's folders."""
    folder, _, file = name.rpartition("/")
    base = file.removesuffix(".json") if folder.startswith("centroids") else file.removesuffix(ending)
    return base[:-5] if folder.startswith("images") and base[-5:-4] == "_" else base


def table_lines(troubles: Sequence[Trouble]) -> Iterator[str]:
    """A table for people, widths by contents."""
    rows = [("check", "case", "found", "cure"), *((t.what, t.case or "all", t.found, t.cure) for t in troubles)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
