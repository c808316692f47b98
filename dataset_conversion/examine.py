"""What a scan shows before anything is written: image, bones, landmarks, and what contradicts itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine import centroids
from nnunet_spine.anatomy import BY_NAME, NAMES, sort_cranio_caudal
from nnunet_spine.dataset_conversion.case import Choices, Scan
from nnunet_spine.dataset_conversion.cleaning import Labels, clean_labels, drop_labels
from nnunet_spine.dataset_conversion.corrections import Correction, corrected_names, unused_levels
from nnunet_spine.dataset_conversion.masks import Mask, label_extents
from nnunet_spine.dataset_conversion.placing import read_once
from nnunet_spine.dataset_conversion.sources import Fitting, Grid, Landmarks, OpenImage, OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import spacing_mm
from nnunet_spine.plausibility import (
    Finding,
    contrast,
    intensity_finding,
    level_findings,
    placement_finding,
    sample_step,
    settle,
    sites,
)

_SAMPLE = 50_000  # voxels all over a scan that tell what its values are


@dataclass(frozen=True)
class Bones:
    """What a mask holds, by level name before any correction."""

    mask: Mask | None = None
    before: tuple[int, ...] = ()
    labels: Labels = field(default_factory=lambda: Labels({}, {}))
    measured: Mapping[str, centroids.Centroid] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examined:
    """All that is known of a scan.

    Attributes:
        image: None where there is none.
        grid: of the image, or of the mask where there is no image.
        bones: of the mask.
        landmarks: empty where there are none.
        renamed: level name in the sources -> right name; levels of the mask, or of the landmarks where there is none.
        flags: for the manifest.
        border: right names of vertebrae that the field of view cuts, cranio-caudal.
    """

    image: OpenImage | None
    grid: Grid | None
    bones: Bones
    landmarks: Landmarks
    renamed: Mapping[str, str]
    flags: tuple[str, ...]
    border: tuple[str, ...] = ()


def examine(scan: Scan, choices: Choices, correction: Correction | None) -> Examined:
    """Open the parts of a scan, clean its mask, and hold them against each other and against a human body.

    Raises:
        InputError: it cannot be used, or contradicts itself and the user has not accepted that.
    """
    image = scan.image.open() if scan.image else None
    flags = [*scan.flags, *(image.flags if image else ())]
    opened, bones = None, Bones()
    listed, damage = _listed(scan)
    if scan.mask:
        opened = scan.mask.read(image, Fitting(choices.resample, choices.believe))
        bones = _bones(opened, scan.mask.files[0], choices, listed)
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
    renamed = corrected_names(correction, heights) if correction else {name: name for name in heights}
    if correction:
        flags += [f"correction without effect, no such level: {step}" for step in unused_levels(correction, heights)]
    if any(old != new for old, new in renamed.items()):
        flags.append("levels corrected")
    found = [*(image.findings if image else ()), *(opened.findings if opened else ())]
    found += _findings(image, bones, landmarks, renamed)
    flags += settle(found, choices.accept, scan.files[0])
    return Examined(image, grid, bones, landmarks, renamed, tuple(flags))


def _findings(image: OpenImage | None, bones: Bones, landmarks: Landmarks, renamed: Mapping[str, str]) -> list[Finding]:
    """Grey values and levels that do not fit a CT of a human body."""
    if bones.mask:
        points_mm = {new: bones.measured[old].mask_mm for old, new in renamed.items()}
        found = level_findings(points_mm, {new: bones.measured[old].body_mm for old, new in renamed.items()})
    else:
        found = level_findings({new: landmarks.points_mm[old] for old, new in renamed.items()})
    if image is None:
        return found
    count = int(np.prod(image.grid.shape, dtype=np.int64))
    places = [np.arange(0, count, sample_step(image.grid.shape, _SAMPLE))]
    if bones.mask:
        places += sites(bones.mask.array, spacing_mm(image.grid.affine), ignored=bones.labels.ignored)
    values = read_once(image.values_at, places)
    labelled = contrast(*values[1:]) if bones.mask else None
    return found + [f for f in (intensity_finding(values[0], labelled), placement_finding(labelled)) if f]


def _bones(opened: OpenMask, path: Path, choices: Choices, listed: frozenset[str]) -> Bones:
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
    return Bones(mask, tuple(sorted(before)), labels, by_name, tuple(mask.flags))


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
    scan: Scan, grid: Grid | None, opened: OpenMask | None, bones: Bones, damage: InputError | None
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
