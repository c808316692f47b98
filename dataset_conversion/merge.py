"""Several converted datasets as one: images linked, labels in one table, nothing twice, no patient on two sides."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cc3d
import numpy as np

from nnunet_spine.anatomy import BY_NAME, NAMES
from nnunet_spine.dataset_conversion.convert import Plan
from nnunet_spine.dataset_conversion.coverage import labels_of
from nnunet_spine.dataset_conversion.dataset_json import dataset_json
from nnunet_spine.dataset_conversion.ends import CAUDAL, CRANIAL, mark_beyond, open_ends
from nnunet_spine.dataset_conversion.glocker import VERSE20
from nnunet_spine.dataset_conversion.label_sets import IGNORE, ignore_value, label_values, spans
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.prepare import FORMAT, Record
from nnunet_spine.dataset_conversion.same_images import same_images
from nnunet_spine.dataset_conversion.sources import Grid
from nnunet_spine.dataset_conversion.target import Target, vertebrae_dataset
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_world
from nnunet_spine.io.files import link_or_copy, read_json, write_json
from nnunet_spine.io.label_tables import kind_of_dataset, write_mask
from nnunet_spine.io.masks import read_mask, voxels_in

REFUSE, FIRST = "refuse", "first"
_VARIANTS = {"T13", "L6"}  # levels that most people lack; a set without them may still label every vertebra


@dataclass(frozen=True)
class Part:
    """One dataset to join.

    Attributes:
        folder: of the dataset.
        identity: from its receipt.
        content: of its dataset.json.
        rows: of its manifest.
    """

    folder: Path
    identity: Mapping[str, object]
    content: Mapping[str, object]
    rows: tuple[dict[str, str], ...]

    @property
    def name(self) -> str:
        """Without its number."""
        return self.folder.name.split("_", 1)[1]

    @property
    def levels(self) -> frozenset[str]:
        """Levels that any of its masks labels; a list of landmarks is no word on what a mask would hold."""
        masked = (row for row in self.rows if row.get("mask_stored"))
        return frozenset(name for row in masked for name in row["labels_after"].split() if name in BY_NAME)

    def image(self, row: Mapping[str, str]) -> Path:
        """The image of a case, wherever it lies."""
        entry = self.content.get("dataset", {}).get(row["case"])
        if entry:
            return self.folder / entry["images"][0]
        return self.folder / f"images{_ending(row)}" / f"{row['case']}_0000.nii.gz"


@dataclass(frozen=True)
class MergeJob:
    """One case of a dataset under its name in the joined one; picklable.

    Attributes:
        case: in the joined dataset.
        folder: of its own dataset.
        image: its image.
        labels: of its own dataset.json.
        values: name -> value in the joined dataset, without the ignore label.
        row: its line in its own manifest.
        columns: of the joined manifest.
        unlabelled: sides and levels, e.g. ("cranial", "L1"), beyond which its data set labels nothing and another does.
    """

    case: str
    folder: Path
    image: Path
    labels: Mapping[str, int]
    values: Mapping[str, int]
    row: dict[str, str]
    columns: tuple[str, ...]
    unlabelled: tuple[tuple[str, str], ...] = ()

    def _file(self, kind: str, case: str, ending: str) -> str:
        return f"{kind}{_ending(self.row)}/{case}{ending}"

    def inputs(self) -> dict[str, Path]:
        files = {
            "label": self.folder / self._file("labels", self.row["case"], ".nii.gz"),
            "centroids": self.folder / self._file("centroids", self.row["case"], ".json"),
        }
        return {name: path for name, path in files.items() if path.is_file()}

    def parameters(self) -> object:
        return [FORMAT, self.case, dict(self.labels), dict(self.values), self.row, self.columns, self.unlabelled]

    def peak_bytes(self) -> float:
        return 6.0 * voxels_in(self.image) if self.image.is_file() else 0.0

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        inputs = self.inputs()
        flags = [self.row["flags"]] if self.row["flags"] else []
        array, affine, values = None, None, dict(self.values)
        if "label" in inputs:
            stored = read_mask(inputs["label"], highest=max(self.labels.values()))
            array, affine = _renumbered(stored.labels, self.labels, values), stored.affine
            if self.row["split"] != "test" and (beyond := _ignore_beyond(array, affine, values, self.unlabelled)):
                flags.append(f"ignored beyond {', '.join(beyond)}: its data set labels no vertebra there")
        present = _names_in(array, values) if array is not None else self.row["labels_after"].split()
        row = {column: self.row.get(column, "") for column in self.columns}
        row |= {"case": self.case, "labels_after": " ".join(present), "flags": "; ".join(flags)}
        row |= {"dataset": self.folder.name, "case_there": self.row["case"]}
        files: list[str] = []
        if folder is not None:
            if self.image.is_file():
                files.append(self._file("images", self.case, "_0000.nii.gz"))
                row["image_stored"] = link_or_copy(self.image, folder / files[-1])
            if array is not None:
                files.append(self._file("labels", self.case, ".nii.gz"))
                write_mask(folder / files[-1], array, affine, kind_of_dataset({"labels": values}))
            if "centroids" in inputs:
                files.append(self._file("centroids", self.case, ".json"))
                write_json(folder / files[-1], read_json(inputs["centroids"]) | {"case": self.case})
        return (Record(self.case, row["patient"], row["split"], row, tuple(files)),)


def plan_merge(
    target: Target, numbers: Sequence[int], *, folds: str = "official", overlaps: str = REFUSE,
    leave_out: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Plan a dataset of the cases of several vertebrae datasets.

    Labels are numbered by one table. Where a data set never labels levels that another one labels, what lies beyond
    its labels on that side is ignored and not background.

    Args:
        target: the dataset.
        numbers: of the datasets, which this package wrote.
        folds: "official" (their training and validation cases) or a number.
        overlaps: scans that are in several of them: "refuse", or "first" to keep that of the dataset named first.
        leave_out: cases not to take, by their names there.

    Raises:
        InputError: not such datasets, one named twice, unknown cases to leave out, scans in several datasets, or
            patients with cases in several parts of a split.
    """
    if len(set(numbers)) != len(numbers) or len(numbers) < 2:
        raise InputError(f"-d {' '.join(map(str, numbers))}", "give the numbers of two or more datasets, each once")
    parts = [_part(target.raw, number) for number in numbers]
    known = {row["case"] for part in parts for row in part.rows}
    if unknown := sorted(set(leave_out) - known):
        raise InputError(f"--leave-out {unknown[0]}: no such case", "give names as they are in the manifests")
    chosen = [(part, row) for part in parts for row in part.rows if row["case"] not in leave_out]
    twins = _twins(chosen)
    if twins and overlaps == REFUSE:
        raise _overlap(twins)
    patients = _patients(chosen, twins)
    later = {id(row) for _, (_, row) in twins}
    chosen = [(part, row) for part, row in chosen if id(row) not in later]
    _require_one_side(chosen, patients, folds)
    names = [n for n in NAMES if any(n in part.content["labels"] for part in parts)]
    declared = () if len(names) == len(NAMES) else tuple(names)
    jobs = _jobs(parts, chosen, patients, label_values("vertebrae", declared))
    texts = {
        key: "; ".join(dict.fromkeys(str(p.content.get(key, "")) for p in parts)) for key in ("licence", "reference")
    }

    def describe(records: Sequence[Record]) -> dict[str, object]:
        n_training = sum(record.split != "test" for record in records)
        return dataset_json(labels_of("vertebrae", declared, records), n_training, name=target.name, **texts)

    identity = {
        "label_set": "vertebrae", "merge": [part.folder.name for part in parts], "format": FORMAT, "folds": folds,
        "overlaps": overlaps, "leave_out": sorted(leave_out), "sources": [dict(part.identity) for part in parts],
    }  # fmt: skip
    remarks = [f"{row['case']} of {part.folder.name} is taken from {a.folder.name}" for (a, _), (part, row) in twins]
    for part in parts:
        if ends := open_levels(part.levels, frozenset().union(*(p.levels for p in parts))):
            remarks.append(
                f"{part.folder.name} labels {spans([n for n in NAMES if n in part.levels])}: what lies beyond "
                f"{' and '.join(level for _, level in ends)} is ignored"
            )
    return Plan(target, jobs, identity, describe, folds, remarks=remarks, sources=[str(part.folder) for part in parts])


def open_levels(levels: frozenset[str], everywhere: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """The last levels of a data set, each with its side, beyond which another one labels vertebrae.

    A scan that ends before these was cut off there by its field of view. Levels that most people lack do not count.

    Args:
        levels: that it labels.
        everywhere: that any of the data sets labels.
    """
    missing = [NAMES.index(name) for name in everywhere - levels - _VARIANTS]
    there = [NAMES.index(name) for name in levels]
    if not there:
        return ()
    above, below = any(k < min(there) for k in missing), any(k > max(there) for k in missing)
    ends = ((CRANIAL, NAMES[min(there)], above), (CAUDAL, NAMES[max(there)], below))
    return tuple((side, level) for side, level, lacks in ends if lacks)


_Case = tuple[Part, dict[str, str]]


def _ending(row: Mapping[str, str]) -> str:
    return "Ts" if row["split"] == "test" else "Tr"


def _part(raw: Path, number: int) -> Part:
    folder, receipt = vertebrae_dataset(raw, number)
    rows = tuple(read_manifest(folder / "manifest.csv"))
    return Part(folder, receipt["identity"], read_json(folder / "dataset.json"), rows)


def _jobs(
    parts: Sequence[Part], chosen: Sequence[_Case], patients: Mapping[int, str], values: Mapping[str, int]
) -> list[MergeJob]:
    everywhere = frozenset().union(*(part.levels for part in parts))
    columns = tuple(
        dict.fromkeys(["case", "patient", "split", "dataset", "case_there", *(c for p in parts for c in p.rows[0])])
    )
    twice = {case for case, n in Counter(row["case"] for _, row in chosen).items() if n > 1}
    return [
        MergeJob(
            case=f"{part.name}-{row['case']}" if row["case"] in twice else row["case"],
            folder=part.folder,
            image=part.image(row),
            labels=part.content["labels"],
            values=values,
            row=row | {"patient": patients[id(row)]},
            columns=columns,
            unlabelled=open_levels(part.levels, everywhere),
        )
        for part, row in chosen
    ]


def _twins(chosen: Sequence[_Case]) -> list[tuple[_Case, _Case]]:
    """Pairs of cases of different datasets that are one scan, by what the images show or as is known; earlier first."""
    found: dict[tuple[int, int], tuple[_Case, _Case]] = {}
    order = {id(row): k for k, (_, row) in enumerate(chosen)}
    for a, b in combinations(dict.fromkeys(id(part) for part, _ in chosen), 2):
        here, there = ({part.image(row): (part, row) for part, row in chosen if id(part) == x} for x in (a, b))
        for path, other in same_images([p for p in here if p.is_file()], [p for p in there if p.is_file()]):
            first, second = here[path], there[other]
            found[order[id(first[1])], order[id(second[1])]] = first, second
        by_case = [{row["case"]: (part, row) for part, row in side.values()} for side in (here, there)]
        for one, two in VERSE20.items():
            for left, right in ((one, two), (two, one)):
                if left in by_case[0] and right in by_case[1]:
                    first, second = by_case[0][left], by_case[1][right]
                    found[order[id(first[1])], order[id(second[1])]] = first, second
    return [found[key] for key in sorted(found)]


def _overlap(twins: Sequence[tuple[_Case, _Case]]) -> InputError:
    shown = ", ".join(
        f"{r['case']} of {p.folder.name} is {s['case']} of {q.folder.name}" for (p, r), (q, s) in twins[:3]
    )
    more = f" and {len(twins) - 3} more" if len(twins) > 3 else ""
    return InputError(
        f"{len(twins)} scan{'s are' if len(twins) > 1 else ' is'} in two datasets: {shown}{more}",
        "leave them out with --leave-out CASE, or keep those of the dataset named first with --overlaps first",
    )


def _patients(chosen: Sequence[_Case], twins: Sequence[tuple[_Case, _Case]]) -> dict[int, str]:
    """Patient of each case; a scan that is in two datasets ties the two names of its patient together."""
    same: dict[str, str] = {}

    def root(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    for (_, first), (_, second) in twins:
        a, b = root(first["patient"]), root(second["patient"])
        if a != b:
            same[b] = a
    return {id(row): root(row["patient"]) for _, row in chosen}


def _require_one_side(chosen: Sequence[_Case], patients: Mapping[int, str], folds: str) -> None:
    """Refuse patients with cases in several parts; training and validation are one where folds are made anew."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part, row in chosen:
        side = row["split"] if folds == "official" or row["split"] == "test" else "training"
        sides[patients[id(row)]][side].append(f"{row['case']} of {part.folder.name}")
    for patient, by_side in sorted(sides.items()):
        if len(by_side) > 1:
            shown = ", ".join(f"{cases[0]} ({side})" for side, cases in sorted(by_side.items()))
            raise InputError(
                f"patient {patient} is in several parts of the split: {shown}",
                "leave the cases of one part out with --leave-out CASE, or make new folds of training and validation "
                "cases with --folds 5",
            )


def _renumbered(labels: np.ndarray, there: Mapping[str, int], values: dict[str, int]) -> np.ndarray:
    """A mask with the values of the joined dataset; adds the ignore label to these where it occurs."""
    table = np.zeros(256, np.uint8)
    ignored = there.get(IGNORE)
    if ignored is not None and (labels == ignored).any():
        values[IGNORE] = ignore_value(values)
    for name, value in there.items():
        table[value] = values.get(name, 0)
    return np.asfortranarray(table[labels])


def _ignore_beyond(
    labels: np.ndarray, affine: np.ndarray, values: dict[str, int], unlabelled: Sequence[tuple[str, str]]
) -> list[str]:
    """Ignore what lies beyond some levels where they are the last ones, in place; returns these."""
    if not unlabelled or not labels.any():
        return []
    centres = cc3d.statistics(labels)["centroids"]
    points = {
        name: to_world(affine, centres[value])
        for name, value in values.items()
        if name in BY_NAME and value < len(centres) and np.isfinite(centres[value]).all()
    }
    there = values.get(IGNORE)
    number = ignore_value({n: v for n, v in values.items() if n != IGNORE})
    grid = Grid(labels.shape, affine)
    ends = [end for end in open_ends(points) if (end.side, end.level) in unlabelled]
    beyond = [end.level for end in ends if mark_beyond(labels, grid, end, number)]
    if beyond and there is None:
        values[IGNORE] = number
    return beyond


def _names_in(labels: np.ndarray, values: Mapping[str, int]) -> list[str]:
    present = set(np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=256)).tolist())
    named = {name for name, value in values.items() if value and value in present}
    return [*(name for name in NAMES if name in named), *[IGNORE] * (IGNORE in named)]
