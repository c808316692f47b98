"""Datasets that share the images of a vertebrae dataset and have coarser labels: regions, or one spine."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import lookup_table
from nnunet_spine.dataset_conversion.convert import Plan
from nnunet_spine.dataset_conversion.dataset_json import dataset_json
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.prepare import FORMAT, LABEL_KINDS, Record
from nnunet_spine.dataset_conversion.target import Target, vertebrae_dataset
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.masks import HIGHEST_LEVEL, read_mask


@dataclass(frozen=True)
class DerivedJob:
    """The coarser label of one case; picklable.

    Attributes:
        source: folder of the vertebrae dataset.
        row: the case's line in its manifest.
        label_set: "regions" or "spine".
    """

    source: Path
    row: dict[str, str]
    label_set: str

    @property
    def case(self) -> str:
        return self.row["case"]

    @property
    def label_path(self) -> str:
        return f"labels{'Ts' if self.row['split'] == 'test' else 'Tr'}/{self.case}.nii.gz"

    def signature(self) -> str:
        stat = (self.source / self.label_path).stat()
        content = [FORMAT, self.row, self.label_set, str(self.source), stat.st_size, stat.st_mtime_ns]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        mask = read_mask(self.source / self.label_path, highest=HIGHEST_LEVEL)
        table = lookup_table("nnunet", "region" if self.label_set == "regions" else self.label_set)
        coarse = table.astype(np.uint8)[mask.labels]
        row = {**self.row, "labels_after": " ".join(str(v) for v in np.unique(coarse).tolist() if v)}
        row["flags"] = "; ".join(text for text in (row["flags"], mask.repair) if text)
        row |= {"image_stored": f"shared with {self.source.name}", "mask_stored": "written"}
        if folder is None:
            return (Record(self.case, row["patient"], row["split"], row),)
        write_mask(folder / self.label_path, coarse, mask.affine, LABEL_KINDS[self.label_set])
        return (Record(self.case, row["patient"], row["split"], row, (self.label_path,)),)


def plan_derived(target: Target, source_number: int, label_set: str) -> Plan:
    """Plan a regions or spine dataset over the images of a finished vertebrae dataset, without copies.

    Its dataset.json lists image and label of each training case (`dataset` entry); test images stay where they are, and
    only their labels are written. The split is that of the vertebrae dataset.

    Raises:
        InputError: no such vertebrae dataset, or label set "vertebrae".
    """
    if label_set == "vertebrae":
        raise InputError("--images-from with --labels vertebrae", "choose --labels regions or spine")
    source, receipt = vertebrae_dataset(target.raw, source_number)
    jobs = [DerivedJob(source, row, label_set) for row in read_manifest(source / "manifest.csv")]
    identity = {"label_set": label_set, "format": FORMAT, "images_from": source.name, "source": receipt["identity"]}
    texts = read_json(source / "dataset.json")

    def describe(records: Sequence[Record]) -> dict[str, object]:
        shared = Path(os.path.relpath(source, target.folder)).as_posix()
        entries = {
            record.case: {
                "images": [f"{shared}/imagesTr/{record.case}_0000.nii.gz"],
                "label": f"labelsTr/{record.case}.nii.gz",
            }
            for record in records
            if record.split != "test"
        }
        kept = {key: texts[key] for key in ("licence", "reference")}
        return dataset_json(label_set, len(entries), name=target.name, dataset=entries, **kept)

    return Plan(target, jobs, identity, describe, splits_from=source, sources=[str(source)])
