"""Datasets that share the images of a vertebrae dataset and have coarser labels: regions, or one spine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_spine.dataset_conversion.convert import Plan
from nnunet_spine.dataset_conversion.coverage import labels_of, occurring
from nnunet_spine.dataset_conversion.dataset_json import dataset_json
from nnunet_spine.dataset_conversion.label_sets import (
    IGNORE,
    OCCURRING,
    ignore_value,
    label_values,
    name_of_level,
)
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.prepare import FORMAT, Record
from nnunet_spine.dataset_conversion.target import Target, vertebrae_dataset
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_tables import kind_of_dataset, write_mask
from nnunet_spine.io.masks import read_mask, voxels_in


@dataclass(frozen=True)
class DerivedJob:
    """The coarser label of one case; picklable.

    Attributes:
        source: folder of the vertebrae dataset.
        labels: of its dataset.json.
        row: the case's line in its manifest.
        label_set: "regions" or "spine".
        declared: see `Choices`.
    """

    source: Path
    labels: Mapping[str, int]
    row: dict[str, str]
    label_set: str
    declared: tuple[str, ...] = ()

    @property
    def case(self) -> str:
        return self.row["case"]

    @property
    def label_path(self) -> str:
        return f"labels{'Ts' if self.row['split'] == 'test' else 'Tr'}/{self.case}.nii.gz"

    def inputs(self) -> dict[str, Path]:
        return {"label": self.source / self.label_path}

    def parameters(self) -> object:
        return [FORMAT, dict(self.labels), self.row, self.label_set, self.declared, str(self.source)]

    def peak_bytes(self) -> float:
        return 4.0 * voxels_in(self.source / self.label_path)

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        mask = read_mask(self.source / self.label_path, highest=max(self.labels.values()))
        names = {value: name for name, value in self.labels.items() if value}
        coarse_names = {v: IGNORE if n == IGNORE else name_of_level(n, self.label_set) for v, n in names.items()}
        values = label_values(self.label_set, self.declared)
        present = {coarse_names[value] for value in np.unique(mask.labels).tolist() if value}
        if undeclared := sorted(present - {*values, IGNORE}):
            raise InputError(f"{', '.join(undeclared)} is not declared", "declare it, too, with --declare")
        values |= {IGNORE: ignore_value(values)} if IGNORE in present else {}
        table = np.zeros(256, np.uint8)
        for value, name in coarse_names.items():
            table[value] = values.get(name, 0)
        after = [name for name in values if name in present]
        row = {**self.row, "labels_after": " ".join(after)}
        row["flags"] = "; ".join(text for text in (row["flags"], mask.repair) if text)
        row |= {"image_stored": f"shared with {self.source.name}", "mask_stored": "written"}
        if folder is None:
            return (Record(self.case, row["patient"], row["split"], row),)
        write_mask(folder / self.label_path, table[mask.labels], mask.affine, kind_of_dataset({"labels": values}))
        return (Record(self.case, row["patient"], row["split"], row, (self.label_path,)),)


def plan_derived(target: Target, source_number: int, label_set: str, declared: tuple[str, ...] = ()) -> Plan:
    """Plan a regions or spine dataset over the images of a finished vertebrae dataset, without copies.

    Its dataset.json lists image and label of each training case (`dataset` entry); test images stay where they are, and
    only their labels are written. The split is that of the vertebrae dataset.

    Raises:
        InputError: no such vertebrae dataset, or label set "vertebrae".
    """
    if label_set == "vertebrae":
        raise InputError("--images-from with --labels vertebrae", "choose --labels regions or spine")
    source, receipt = vertebrae_dataset(target.raw, source_number)
    texts = read_json(source / "dataset.json")
    labels = texts["labels"]
    rows = [row for row in read_manifest(source / "manifest.csv") if row.get("mask_stored", "written")]
    shared = Path(os.path.relpath(source, target.folder)).as_posix()
    identity = {
        "label_set": label_set,
        "declared": list(declared),
        "format": FORMAT,
        "images_from": source.name,
        "source": receipt["identity"],
    }

    def plan(declared: tuple[str, ...]) -> Plan:
        jobs = [DerivedJob(source, labels, row, label_set, declared) for row in rows]

        def describe(records: Sequence[Record]) -> dict[str, object]:
            entries = {
                record.case: {
                    "images": [f"{shared}/imagesTr/{record.case}_0000.nii.gz"],
                    "label": f"labelsTr/{record.case}.nii.gz",
                }
                for record in records
                if record.split != "test"
            }
            kept = {key: texts[key] for key in ("licence", "reference")}
            coarse = labels_of(label_set, declared, records)
            return dataset_json(coarse, len(entries), name=target.name, dataset=entries, **kept)

        return Plan(target, jobs, identity, describe, splits_from=source, sources=[str(source)])

    if declared == (OCCURRING,):
        return replace(plan(()), narrowed=lambda records: plan(occurring(label_set, records)))
    return plan(declared)
