"""From one scan of any data set to the files of one nnU-Net case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine import centroids
from nnunet_spine.anatomy import BY_NAME, NAMES, sort_cranio_caudal
from nnunet_spine.dataset_conversion.case import Choices, Scan
from nnunet_spine.dataset_conversion.cleaning import Labels, clean_labels, drop_labels
from nnunet_spine.dataset_conversion.corrections import Correction, corrected_names, unused_levels
from nnunet_spine.dataset_conversion.fingerprint import plain
from nnunet_spine.dataset_conversion.label_sets import IGNORE, ignore_value, label_values, name_of_level
from nnunet_spine.dataset_conversion.masks import Mask, label_extents, rename_labels, spacing_text
from nnunet_spine.dataset_conversion.placing import read_once
from nnunet_spine.dataset_conversion.sources import (
    Fitting,
    Grid,
    ImageSource,
    Landmarks,
    LandmarkSource,
    MaskSource,
    OpenImage,
    OpenMask,
)
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, spacing_mm
from nnunet_spine.io.files import write_json
from nnunet_spine.io.label_tables import kind_of_dataset, write_mask
from nnunet_spine.io.masks import voxels_in
from nnunet_spine.plausibility import (
    Finding,
    contrast,
    intensity_finding,
    level_findings,
    placement_finding,
    settle,
    sites,
)

FORMAT = 3
"""Raise when the same input and options give other files: unfinished work of an older version is then done again."""

_BYTES_PER_VOXEL = 8
"""A mask, what is resampled of it, and its connected pieces; an image that has to be rewritten."""

_SAMPLE = 50_000  # voxels all over a scan that tell what its values are


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
        """Of the mask, or of the image where that is the only volume; NIfTI images are linked, not read."""
        files = self.inputs()
        first = files.get("mask") or files.get("image")
        return float(_BYTES_PER_VOXEL * voxels_in(first)) if first else 0.0

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
    image = scan.image.open() if scan.image else None
    flags = [*scan.flags, *(image.flags if image else ())]
    opened, bones = None, _Vertebrae()
    listed, damage = _listed(scan)
    if scan.mask:
        opened = scan.mask.read(image, Fitting(choices.resample, choices.believe))
        bones = _vertebrae_of_mask(opened, scan.mask.files[0], choices, listed)
        flags += bones.flags
    grid = image.grid if image else opened.grid if opened else None
    landmarks, remarks = _landmarks(scan, grid, opened, bones, damage)
    flags += remarks
    if not (scan.image and scan.mask):
        missing = "image" if scan.mask else "mask" if scan.image else "image and no mask"
        flags.append(f"no {missing}: for prediction and evaluation only")
    heights = {name: point.mask_mm[2] for name, point in bones.measured.items()}
    if not scan.mask:
        heights = {name: point[2] for name, point in landmarks.points_mm.items() if name in BY_NAME}
    renamed = {name: name for name in heights}
    if correction:
        renamed = corrected_names(correction, heights)
        flags += [f"correction without effect, no such level: {step}" for step in unused_levels(correction, heights)]
    if any(old != new for old, new in renamed.items()):
        flags.append("levels corrected")
    found = [*(image.findings if image else ()), *(opened.findings if opened else ())]
    found += _findings(image, bones, renamed)
    flags += settle(found, choices.accept, scan.files[0])
    values = label_values(choices.label_set, choices.declared)
    after = _names_after(renamed.values(), values, choices.label_set)
    if opened:
        table = {
            bones.labels.values[old]: values[name_of_level(new, choices.label_set)] for old, new in renamed.items()
        }
        if bones.labels.ignored:
            values = {**values, IGNORE: ignore_value(values)}
            table |= dict.fromkeys(bones.labels.ignored, values[IGNORE])
            after.append(IGNORE)
        rename_labels(bones.mask, table)
    split = scan.split if scan.image and scan.mask else "test"
    row = {
        "case": scan.case,
        "patient": scan.patient,
        "split": split,
        "cohort": scan.cohort,
        "layout": scan.layout,
        "image": _first(scan.image),
        "mask": _first(scan.mask),
        "centroids": _first(scan.landmarks),
        "labels_before": " ".join(str(v) for v in bones.before),
        "labels_after": " ".join(after),
        "orientation": axis_codes(grid.affine) if grid else "",
        "spacing_mm": spacing_text(grid.affine) if grid else "",
        "shape": "x".join(str(n) for n in grid.shape) if grid else "",
        "image_stored": "",
        "mask_stored": "",
        "centroid_frame": landmarks.frame,
        "islands": "; ".join(bones.labels.islands),
        "flags": "; ".join(flags),
    }
    files: tuple[str, ...] = ()
    if folder is not None:
        ending = "Ts" if split == "test" else "Tr"
        if image:
            files += (f"images{ending}/{scan.case}_0000.nii.gz",)
            row["image_stored"] = image.place(folder / files[-1], choices.copy)
        if opened:
            files += (f"labels{ending}/{scan.case}.nii.gz",)
            # Never a link: people correct masks by hand, and that must not reach the original.
            write_mask(folder / files[-1], bones.mask.array, grid.affine, kind_of_dataset({"labels": values}))
            row["mask_stored"] = "written"
        files += (f"centroids{ending}/{scan.case}.json",)
        write_json(folder / files[-1], centroid_content(scan.case, renamed, bones.measured, landmarks))
    return Record(scan.case, scan.patient, split, row, files)


def _findings(image: OpenImage | None, bones: "_Vertebrae", renamed: Mapping[str, str]) -> list[Finding]:
    """Grey values and levels that do not fit a CT of a human body."""
    centroids_mm = {new: bones.measured[old].mask_mm for old, new in renamed.items() if old in bones.measured}
    bodies_mm = {new: bones.measured[old].body_mm for old, new in renamed.items() if old in bones.measured}
    found = level_findings(centroids_mm, bodies_mm)
    if image is None:
        return found
    count = int(np.prod(image.grid.shape, dtype=np.int64))
    places = [np.arange(0, count, max(1, count // _SAMPLE))]
    if bones.mask:
        places += sites(bones.mask.array, spacing_mm(image.grid.affine))
    values = read_once(image.values_at, places)
    labelled = contrast(*values[1:]) if bones.mask else None
    return found + [f for f in (intensity_finding(values[0], labelled), placement_finding(labelled)) if f]


@dataclass(frozen=True)
class _Vertebrae:
    """What a mask holds, by level name before any correction."""

    mask: Mask | None = None
    before: tuple[int, ...] = ()
    labels: Labels = field(default_factory=lambda: Labels({}, {}))
    measured: Mapping[str, centroids.Centroid] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def _vertebrae_of_mask(opened: OpenMask, path: Path, choices: Choices, listed: frozenset[str]) -> _Vertebrae:
    mask = Mask(opened.array, list(opened.flags))
    drop_labels(mask, choices.drop_labels)
    before = label_extents(mask)
    labels = clean_labels(mask, before, opened, path, choices, listed)
    if not labels.values:
        mask.flags.append("no label in the mask")
    names = {value: name for name, value in labels.values.items()}
    measured = centroids.measure(
        mask.array,
        opened.grid.affine,
        {value: labels.boxes[name] for value, name in names.items()},
        without_body={value for value, name in names.items() if name == "C1"},
    )
    by_name = {names[value]: point for value, point in measured.items()}
    return _Vertebrae(mask, tuple(sorted(before)), labels, by_name, tuple(mask.flags))


def _first(source: ImageSource | MaskSource | LandmarkSource | None) -> str:
    return str(source.files[0]) if source else ""


def _listed(scan: Scan) -> tuple[frozenset[str], InputError | None]:
    """Levels of the landmark file. Where there is a mask a damaged one is a remark, since centroids come from that."""
    if scan.landmarks is None:
        return frozenset(), None
    try:
        return scan.landmarks.names(), None
    except InputError as error:
        if scan.mask is None:
            raise
        return frozenset(), error


def _landmarks(
    scan: Scan, grid: Grid | None, opened: OpenMask | None, bones: _Vertebrae, damage: InputError | None
) -> tuple[Landmarks, list[str]]:
    """Points in the world, and remarks."""
    if scan.landmarks is None:
        return Landmarks({}, ""), []
    try:
        if damage:
            raise damage
        found = scan.landmarks.read(grid, opened, bones.measured)
    except InputError as error:
        if scan.mask is None:
            raise
        found = Landmarks({}, "", (f"centroid file not used: {error.found}",))
    flags = list(found.flags)
    listed = scan.landmarks.names() if damage is None else frozenset()
    if listed and scan.mask:
        present = set(bones.labels.values)
        flags += [f"{name} has a centroid and no label" for name in sort_cranio_caudal(listed & set(NAMES) - present)]
        flags += [f"{name} has a label and no centroid" for name in sort_cranio_caudal(present - listed)]
    return found, flags


def _names_after(levels: Iterable[str], values: Mapping[str, int], label_set: str) -> list[str]:
    """Names of the labels that levels become, cranio-caudal.

    Raises:
        InputError: one is not declared.
    """
    levels = sort_cranio_caudal(levels)
    names = list(dict.fromkeys(name_of_level(level, label_set) for level in levels))
    if undeclared := [name for name in names if name not in values]:
        raise InputError(
            f"{', '.join(undeclared)} is not declared",
            f"declare it, too: --declare {' '.join([*(name for name in values if values[name]), *undeclared])}",
        )
    return names


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
        vertebrae.append(entry)
    vertebrae.sort(key=lambda entry: -entry.get("mask_centroid_mm", entry.get("annotated_mm"))[2])
    content = {"case": case, "frame": "RAS mm", "vertebrae": vertebrae}
    if others := {name: _rounded(p) for name, p in landmarks.points_mm.items() if name not in BY_NAME}:
        content["others"] = [{"name": name, "annotated_mm": point} for name, point in others.items()]
    return content


def _rounded(point_mm: tuple[float, float, float]) -> list[float]:
    return [round(value, 3) + 0.0 for value in point_mm]
