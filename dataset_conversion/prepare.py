"""From one scan of any data set to the files of one nnU-Net case."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_spine import centroids
from nnunet_spine.anatomy import BY_NAME, lookup_table, sort_cranio_caudal
from nnunet_spine.dataset_conversion.case import Choices, Scan
from nnunet_spine.dataset_conversion.cleaning import Labels, clean_labels, drop_labels
from nnunet_spine.dataset_conversion.corrections import Correction, corrected_names
from nnunet_spine.dataset_conversion.images import place_image, read_image
from nnunet_spine.dataset_conversion.masks import (
    Mask,
    fit_to_image,
    label_extents,
    rename_labels,
    spacing_text,
)
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes
from nnunet_spine.io import centroid_files
from nnunet_spine.io.files import write_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.masks import read_mask
from nnunet_spine.io.streams import VolumeInfo

FORMAT = 2
"""Raise when the same input and options give other files: unfinished work of an older version is then done again."""

LABEL_KINDS = {"vertebrae": "nnunet", "regions": "regions", "spine": "spine"}
"""The label table that masks of a label set carry."""


@dataclass(frozen=True)
class Job:
    """One case to prepare; picklable."""

    scan: Scan
    choices: Choices
    correction: Correction | None = None

    @property
    def case(self) -> str:
        return self.scan.case

    def signature(self) -> str:
        """Changes whenever a source file or a choice does."""
        paths = [p for p in (self.scan.image, self.scan.mask, self.scan.centroids) if p]
        stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths if p.exists()]
        content = [FORMAT, asdict(self.choices), asdict(self.scan), asdict(self.correction or Correction()), stats]
        return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()

    def run(self, folder: Path | None) -> "tuple[Record, ...]":
        return (prepare(self.scan, self.choices, self.correction, folder),)


@dataclass(frozen=True)
class Record:
    """What became of one case.

    Attributes:
        case, patient, split: of the scan.
        row: its line in the manifest.
        files: written files, relative to the dataset folder.
    """

    case: str
    patient: str
    split: str
    row: dict[str, object]
    files: tuple[str, ...] = ()


def prepare(scan: Scan, choices: Choices, correction: Correction | None, folder: Path | None) -> Record:
    """Check one scan and write its image, mask and centroids.

    Args:
        folder: the dataset folder, or None to check only.

    Raises:
        InputError: the scan cannot be used.
        WriteError: the target cannot be written.
    """
    image, image_flags = read_image(scan.image, verify=choices.verify)
    mask = fit_to_image(read_mask(scan.mask), image, resample=choices.resample)
    flags = [*scan.flags, *image_flags, *mask.flags]
    drop_labels(mask, choices.drop_labels)
    listed, annotation_error = _listed(scan)
    before = label_extents(mask)
    labels = clean_labels(mask, before, scan, image, choices, listed)
    if not labels.values:
        flags.append("no label in the mask")
    measured = centroids.measure(
        mask.array,
        image.affine,
        {labels.values[name]: box for name, box in labels.boxes.items()},
        without_body={labels.values[name] for name in ("C1",) if name in labels.values},
    )
    annotation, remark = _annotation(scan, mask, image, measured, annotation_error)
    flags += remark
    if listed:
        names = {scan.labels[v] for v in listed if v in scan.labels}
        flags += [f"{name} has a centroid and no label" for name in sort_cranio_caudal(names - set(labels.values))]
        flags += [f"{name} has a label and no centroid" for name in sort_cranio_caudal(set(labels.values) - names)]
    renamed = _renamed(correction, labels, measured)
    if any(old != new for old, new in renamed.items()):
        flags.append("levels corrected")
    table = {labels.values[old]: _target_value(new, choices.label_set) for old, new in renamed.items()}
    rename_labels(mask, table)
    after = sort_cranio_caudal(renamed.values()) if choices.label_set == "vertebrae" else sorted(set(table.values()))
    row = {
        "case": scan.case,
        "patient": scan.patient,
        "split": scan.split,
        "cohort": scan.cohort,
        "layout": scan.layout,
        "image": str(scan.image),
        "mask": str(scan.mask),
        "centroids": str(scan.centroids or ""),
        "labels_before": " ".join(str(v) for v in sorted(before)),
        "labels_after": " ".join(str(v) for v in after),
        "orientation": axis_codes(image.affine),
        "spacing_mm": spacing_text(image.affine),
        "shape": "x".join(str(n) for n in image.shape),
        "image_stored": "",
        "mask_stored": "",
        "centroid_frame": annotation.frame if annotation else "",
        "islands": "; ".join(labels.islands),
        "flags": "; ".join(flags),
    }
    files = ()
    if folder is not None:
        files, stored = _write(scan, choices, image, mask, folder)
        row.update(stored)
        vertebrae = _vertebrae(renamed, labels, measured, annotation)
        path = Path(f"centroids{_ending(scan.split)}") / f"{scan.case}.json"
        write_json(folder / path, {"case": scan.case, "frame": "RAS mm", "vertebrae": vertebrae})
        files = (*files, path.as_posix())
    return Record(scan.case, scan.patient, scan.split, row, files)


def _ending(split: str) -> str:
    return "Ts" if split == "test" else "Tr"


def _listed(scan: Scan) -> tuple[set[int], InputError | None]:
    """Labels of the centroid file; a damaged file is a remark, since centroids come from the mask."""
    if scan.centroids is None:
        return set(), None
    try:
        return set(centroid_files.read_points(scan.centroids)[1]), None
    except InputError as error:
        return set(), error


def _annotation(
    scan: Scan, mask: Mask, image: VolumeInfo, measured: dict[int, centroids.Centroid], error: InputError | None
) -> tuple[centroid_files.Annotation | None, list[str]]:
    if scan.centroids is None:
        return None, []
    try:
        if error is not None:
            raise error
        return centroid_files.read_annotation(scan.centroids, mask.array, image.affine, measured), []
    except InputError as found:
        return None, [f"centroid file not used: {found.found}"]


def _renamed(correction: Correction | None, labels: Labels, measured: dict[int, centroids.Centroid]) -> dict[str, str]:
    if correction is None:
        return {name: name for name in labels.values}
    return corrected_names(correction, {name: measured[v].mask_mm[2] for name, v in labels.values.items()})


def _target_value(name: str, label_set: str) -> int:
    value = BY_NAME[name].nnunet_id
    if label_set == "vertebrae":
        return value
    return int(lookup_table("nnunet", {"regions": "region"}.get(label_set, label_set))[value])


def _write(
    scan: Scan, choices: Choices, image: VolumeInfo, mask: Mask, folder: Path
) -> tuple[tuple[str, ...], dict[str, str]]:
    ending = _ending(scan.split)
    image_path = f"images{ending}/{scan.case}_0000.nii.gz"
    mask_path = f"labels{ending}/{scan.case}.nii.gz"
    stored = {"image_stored": place_image(image, folder / image_path, copy=choices.copy), "mask_stored": "written"}
    # Never a link: people correct masks by hand, and that must not reach the original.
    write_mask(folder / mask_path, mask.array, image.affine, LABEL_KINDS[choices.label_set])
    return (image_path, mask_path), stored


def _vertebrae(
    renamed: dict[str, str],
    labels: Labels,
    measured: dict[int, centroids.Centroid],
    annotation: centroid_files.Annotation | None,
) -> list[dict[str, object]]:
    """Content of the centroid file, cranio-caudal by world position; millimetres rounded to 0.001."""
    out = []
    for old, new in renamed.items():
        value = labels.values[old]
        point = measured[value]
        entry = {
            "name": new,
            "label": BY_NAME[new].nnunet_id,
            "verse_id": BY_NAME[new].verse_id,
            "body_centre_mm": _rounded(point.body_mm),
            "mask_centroid_mm": _rounded(point.mask_mm),
            "volume_mm3": round(point.volume_mm3, 1),
            "touches_border": point.touches_border,
        }
        if annotation and value in annotation.points_mm:
            entry["annotated_mm"] = _rounded(annotation.points_mm[value])
        out.append(entry)
    return sorted(out, key=lambda entry: -entry["mask_centroid_mm"][2])


def _rounded(point_mm: tuple[float, float, float]) -> list[float]:
    return [round(value, 3) + 0.0 for value in point_mm]
