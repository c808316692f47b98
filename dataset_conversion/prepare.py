"""From one scan of any data set to the files of one nnU-Net case."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine import centroids
from nnunet_spine.anatomy import BY_NAME, sort_cranio_caudal
from nnunet_spine.dataset_conversion.case import Choices, Scan
from nnunet_spine.dataset_conversion.corrections import Correction
from nnunet_spine.dataset_conversion.ends import treat_ends
from nnunet_spine.dataset_conversion.examine import Examined, examine
from nnunet_spine.dataset_conversion.fingerprint import plain
from nnunet_spine.dataset_conversion.label_sets import IGNORE, ignore_value, label_values, name_of_level
from nnunet_spine.dataset_conversion.masks import rename_labels, spacing_text
from nnunet_spine.dataset_conversion.sources import ImageSource, Landmarks, LandmarkSource, MaskSource
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes
from nnunet_spine.io.files import write_json
from nnunet_spine.io.label_tables import kind_of_dataset, write_mask
from nnunet_spine.io.masks import voxels_in

FORMAT = 4
"""Raise when the same input and options give other files: unfinished work of an older version is then done again."""

_BYTES_PER_VOXEL = 8
"""A mask, what is resampled of it, and its connected pieces; an image that has to be rewritten."""


@dataclass(frozen=True)
class Job:
    """One case to prepare; picklable."""

    scan: Scan
    choices: Choices
    correction: Correction | None = None

    @property
    def case(self) -> str:
        return self.scan.case

    def inputs(self) -> dict[str, Path]:
        """Every file of the scan, named after its part: "image", "mask", "mask 2"."""
        parts = {"image": self.scan.image, "mask": self.scan.mask, "landmarks": self.scan.landmarks}
        return {
            part if number == 1 else f"{part} {number}": path
            for part, source in parts.items()
            if source
            for number, path in enumerate(source.files, 1)
        }

    def parameters(self) -> object:
        return [FORMAT, plain(self.choices), plain(self.scan), plain(self.correction)]

    def peak_bytes(self) -> float:
        """Of the mask, or of the image where there is none, or where the mask is made of landmarks on its grid."""
        files = self.inputs()
        voxels = (voxels_in(files[part]) for part in ("mask", "image") if part in files)
        return float(_BYTES_PER_VOXEL * next(filter(None, voxels), 0))

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
    """Check one scan and write what there is of its image, mask and centroids.

    Without an image or without a mask it is no training case: it serves prediction and evaluation, with the test scans.

    Args:
        folder: the dataset folder, or None to check only.

    Raises:
        InputError: the scan cannot be used.
        WriteError: the target cannot be written.
    """
    split = scan.split if scan.image and scan.mask else "test"
    seen = examine(scan, choices, correction)
    if split == "test":  # ignoring is for training; a reference stays as it was published
        seen = treat_ends(seen, "keep" if choices.border == "ignore" else choices.border, "background")
    else:
        seen = treat_ends(seen, choices.border, choices.unlabelled)
    values = _relabel(seen, choices)
    row = _row(scan, split, seen, values, choices.label_set)
    files: tuple[str, ...] = ()
    if folder is not None:
        ending = "Ts" if split == "test" else "Tr"
        if seen.image:
            files += (f"images{ending}/{scan.case}_0000.nii.gz",)
            row["image_stored"] = seen.image.place(folder / files[-1], choices.copy)
        if seen.bones.mask:
            files += (f"labels{ending}/{scan.case}.nii.gz",)
            # Never a link: people correct masks by hand, and that must not reach the original.
            kind = kind_of_dataset({"labels": values})
            write_mask(folder / files[-1], seen.bones.mask.array, seen.grid.affine, kind)
            row["mask_stored"] = "written"
        files += (f"centroids{ending}/{scan.case}.json",)
        content = centroid_content(scan.case, seen.renamed, seen.bones.measured, seen.landmarks)
        write_json(folder / files[-1], content)
    return Record(scan.case, scan.patient, split, row, files)


def _relabel(seen: Examined, choices: Choices) -> dict[str, int]:
    """Give the voxels of the mask their values in the dataset, in place; returns name -> value.

    Raises:
        InputError: a level is not declared.
    """
    values = label_values(choices.label_set, choices.declared)
    named = {old: name_of_level(new, choices.label_set) for old, new in seen.renamed.items()}
    if undeclared := list(dict.fromkeys(name for name in named.values() if name not in values)):
        raise InputError(
            f"{', '.join(undeclared)} is not declared",
            f"declare it, too: --declare {' '.join([*(name for name in values if values[name]), *undeclared])}",
        )
    labels = seen.bones.labels
    if labels.ignored:
        values[IGNORE] = ignore_value(values)
    if seen.bones.mask:
        table = {labels.values[old]: values[name] for old, name in named.items()}
        rename_labels(seen.bones.mask, table | {value: values[IGNORE] for value in labels.ignored})
    return values


def _row(scan: Scan, split: str, seen: Examined, values: Mapping[str, int], label_set: str) -> dict[str, object]:
    """The case's line in the manifest."""
    grid, levels = seen.grid, sort_cranio_caudal(seen.renamed.values())
    after = dict.fromkeys(name_of_level(level, label_set) for level in levels)
    return {
        "case": scan.case,
        "patient": scan.patient,
        "split": split,
        "cohort": scan.cohort,
        "layout": scan.layout,
        "image": _first(scan.image),
        "mask": _first(scan.mask),
        "centroids": _first(scan.landmarks),
        "labels_before": " ".join(str(v) for v in seen.bones.before),
        "labels_after": " ".join([*after, *[IGNORE] * (IGNORE in values)]),
        "orientation": axis_codes(grid.affine) if grid else "",
        "spacing_mm": spacing_text(grid.affine) if grid else "",
        "shape": "x".join(str(n) for n in grid.shape) if grid else "",
        "image_stored": "",
        "mask_stored": "",
        "centroid_frame": seen.landmarks.frame,
        "border": " ".join(seen.border),
        "islands": "; ".join(seen.bones.labels.islands),
        "flags": "; ".join(seen.flags),
    }


def _first(source: ImageSource | MaskSource | LandmarkSource | None) -> str:
    return str(source.files[0]) if source else ""


def centroid_content(
    case: str, renamed: Mapping[str, str], measured: Mapping[str, centroids.Centroid], landmarks: Landmarks
) -> dict[str, object]:
    """Content of a centroid file: vertebrae cranio-caudal by world position, millimetres rounded to 0.001.

    Args:
        case: its name.
        renamed: level name -> right name, of the levels of the mask, or of the landmarks where there is no mask.
        measured: level name -> centroid in the mask.
        landmarks: annotated points; what is no vertebra (S1) is listed apart.
    """
    vertebrae = []
    for old, new in renamed.items():
        entry: dict[str, object] = {
            "name": new,
            "label": BY_NAME[new].nnunet_id,
            "verse_id": BY_NAME[new].verse_id,
        }
        if old in measured:
            point = measured[old]
            entry |= {
                "body_centre_mm": _rounded(point.body_mm),
                "mask_centroid_mm": _rounded(point.mask_mm),
                "volume_mm3": round(point.volume_mm3, 1),
                "touches_border": point.touches_border,
            }
        if old in landmarks.points_mm:
            entry["annotated_mm"] = _rounded(landmarks.points_mm[old])
            if old not in measured:
                key = "mask_centroid_mm" if landmarks.kind == "mask" else "body_centre_mm"
                entry[key] = entry["annotated_mm"]
        vertebrae.append(entry)
    vertebrae.sort(key=lambda entry: -entry.get("mask_centroid_mm", entry.get("annotated_mm"))[2])
    content = {"case": case, "frame": "RAS mm", "vertebrae": vertebrae}
    if others := {name: _rounded(p) for name, p in landmarks.points_mm.items() if name not in BY_NAME}:
        content["others"] = [{"name": name, "annotated_mm": point} for name, point in others.items()]
    return content


def _rounded(point_mm: tuple[float, float, float]) -> list[float]:
    return [round(value, 3) + 0.0 for value in point_mm]
