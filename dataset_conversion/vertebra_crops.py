"""Single-vertebra datasets: one crop for each vertebra of a vertebrae dataset, with that vertebra as the only label.

For networks that segment the vertebra in the middle of their patch [Mita et al.]: L2 to L5 pooled, binary label,
neighbours are background.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine import centroids, crops
from nnunet_spine.anatomy import BY_NAME, NAMES, sort_cranio_caudal
from nnunet_spine.dataset_conversion.convert import Plan
from nnunet_spine.dataset_conversion.dataset_json import dataset_json
from nnunet_spine.dataset_conversion.label_sets import label_values
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.prepare import FORMAT, Record
from nnunet_spine.dataset_conversion.splits import PRESETS, Fold, splits_for
from nnunet_spine.dataset_conversion.target import Target, vertebrae_dataset
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.masks import read_mask, voxels_in
from nnunet_spine.io.nifti import read_nifti, write_nifti

DEFAULT_LEVELS = ("L2", "L3", "L4", "L5")


@dataclass(frozen=True)
class CropsJob:
    """The crops of one scan; picklable.

    Attributes:
        source: folder of the vertebrae dataset.
        labels: of its dataset.json.
        row: the scan's line in its manifest.
        levels: names of the levels to crop.
    """

    source: Path
    labels: Mapping[str, int]
    row: dict[str, str]
    levels: tuple[str, ...]

    @property
    def case(self) -> str:
        return self.row["case"]

    @property
    def ending(self) -> str:
        return "Ts" if self.row["split"] == "test" else "Tr"

    @property
    def image_path(self) -> Path:
        return self.source / f"images{self.ending}/{self.case}_0000.nii.gz"

    @property
    def label_path(self) -> Path:
        return self.source / f"labels{self.ending}/{self.case}.nii.gz"

    def inputs(self) -> dict[str, Path]:
        return {"image": self.image_path, "label": self.label_path}

    def parameters(self) -> object:
        crop = [crops.CROP_SHAPE, crops.CROP_SPACING_MM]
        return [FORMAT, dict(self.labels), self.row, self.levels, str(self.source), crop]

    def peak_bytes(self) -> float:
        return 8.0 * voxels_in(self.label_path)

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        mask = read_mask(self.label_path, highest=max(self.labels.values()))
        labels, affine = mask.labels, mask.affine
        wanted = {self.labels[name]: name for name in self.levels if name in self.labels}
        boxes = {value: box for value, box in centroids.label_boxes(labels).items() if value in wanted}
        measured = centroids.measure(labels, affine, boxes)
        if not measured:
            return ()
        if folder is not None:
            slices = crops.slices_of_crops(labels.shape, affine, [point.body_mm for point in measured.values()])
            image, image_affine = read_nifti(self.image_path, slices)
            image_affine = crops.shifted(image_affine, (slice(0, None), slice(0, None), slices))
        records = []
        for value, point in measured.items():
            record = self._record(
                wanted[value], point, mask.repair, labels[boxes[value]] == value, crops.shifted(affine, boxes[value])
            )
            if folder is not None:
                target = crops.crop_affine(point.body_mm)
                write_nifti(folder / record.files[0], crops.crop_image(image, image_affine, point.body_mm), target)
                label = crops.crop_label(labels, affine, value, point.body_mm)
                write_mask(folder / record.files[1], label, target, "vertebra")
            records.append(record)
        return tuple(records)

    def _record(
        self, name: str, point: centroids.Centroid, repair: str, mask: np.ndarray, affine: np.ndarray
    ) -> Record:
        case = f"{self.case}_{name}"
        row = {
            "case": case,
            "scan": self.case,
            **{key: self.row[key] for key in ("patient", "split", "cohort", "layout")},
            "level": name,
            "body_centre_mm": " ".join(f"{value:.3f}" for value in point.body_mm),
            "volume_mm3": round(point.volume_mm3, 1),
            "share_inside": round(crops.share_inside(mask, affine, point.body_mm), 4),
            "orientation": "RAS",
            "spacing_mm": "x".join([f"{crops.CROP_SPACING_MM:g}"] * 3),
            "shape": "x".join(map(str, crops.CROP_SHAPE)),
            "islands": "",
            "flags": "; ".join(["touches the border of the scan"] * point.touches_border + [repair] * bool(repair)),
        }
        files = (f"images{self.ending}/{case}_0000.nii.gz", f"labels{self.ending}/{case}.nii.gz")
        return Record(case, self.row["patient"], self.row["split"], row, files)


def plan_crops(
    target: Target, source_number: int, levels: Sequence[str] = DEFAULT_LEVELS, folds: str = "source"
) -> Plan:
    """Plan the single-vertebra dataset of a finished vertebrae dataset; the crops of a scan follow its fold.

    Args:
        levels: names of those to crop.
        folds: "source" for those of the vertebrae dataset, or one of `splits.PRESETS`: then only its scans are cropped.

    Raises:
        InputError: no such vertebrae dataset, unknown levels or folds, or too few scans for a preset.
    """
    if unknown := [name for name in levels if name not in BY_NAME]:
        raise InputError(f"--levels {' '.join(unknown)}", f"give `all`, or some of {' '.join(NAMES)}")
    source, receipt = vertebrae_dataset(target.raw, source_number)
    chosen = tuple(sort_cranio_caudal(set(levels)))
    texts = read_json(source / "dataset.json")
    rows = [row for row in read_manifest(source / "manifest.csv") if row["image_stored"] and row["mask_stored"]]
    splits = None
    if folds != "source":
        splits = _preset(folds, [row for row in rows if row["split"] != "test"])
        chosen_scans = {case for side in splits[0][0].values() for case in side}
        rows = [row for row in rows if row["case"] in chosen_scans]
    jobs = [CropsJob(source, texts["labels"], row, chosen) for row in rows]
    identity = {
        "label_set": "vertebra",
        "format": FORMAT,
        "levels": list(chosen),
        "crop_shape": list(crops.CROP_SHAPE),
        "crops_from": source.name,
        "folds": folds,
        "source": receipt["identity"],
    }
    kept = {key: texts[key] for key in ("licence", "reference")}

    def describe(records: Sequence[Record]) -> dict[str, object]:
        n_training = sum(record.split != "test" for record in records)
        return dataset_json(label_values("vertebra"), n_training, name=target.name, **kept)

    return Plan(target, jobs, identity, describe, splits_from=source, splits=splits, sources=[str(source)], unit="crop")


def _preset(name: str, rows: Sequence[Mapping[str, str]]) -> tuple[list[Fold], str]:
    if name not in PRESETS:
        raise InputError(f"--folds {name}", f"give `source`, or {', '.join(PRESETS)}")
    levels = {row["case"]: row["labels_after"].split() for row in rows}
    return splits_for({row["case"]: (row["patient"], row["split"]) for row in rows}, name, levels)
