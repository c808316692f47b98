"""What a generator of cases hands to the writer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.anatomy import BY_VERSE_ID

SPLITS = ("training", "validation", "test")

VERSE_LABELS: dict[int, str] = {value: level.name for value, level in BY_VERSE_ID.items()}
"""Mask value -> level name in VerSe masks; 26 and 27 (sacrum, coccyx) are defined there but never annotated."""


@dataclass(frozen=True)
class Scan:
    """One CT series with its mask, wherever it comes from.

    Attributes:
        case: nnU-Net case identifier, unique in the dataset, without dots and spaces.
        patient: grouping key: scans of one patient never come into different folds.
        split: "training", "validation" or "test".
        cohort: where it comes from, e.g. "verse19".
        layout: how its source is laid out, e.g. "subject" or "miccai".
        image: CT file.
        mask: label file, or None where there is none (a bad case).
        centroids: annotated points, or None.
        labels: mask value -> level name.
        flags: remarks of the generator, for the manifest.
    """

    case: str
    patient: str
    split: str
    cohort: str
    layout: str
    image: Path
    mask: Path | None
    centroids: Path | None = None
    labels: Mapping[int, str] = field(default_factory=lambda: VERSE_LABELS)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """How cases are prepared.

    Attributes:
        label_set: "vertebrae", "regions" or "spine".
        min_volume_mm3: labels below this in total are noise and removed; smaller pieces of a label are reported.
        remove_islands: also remove these pieces.
        drop_labels: mask values turned into background at once.
        resample: resample masks whose shape differs from the image's.
        verify: verify the checksum of every image.
        copy: copy files instead of linking them.
    """

    label_set: str = "vertebrae"
    min_volume_mm3: float = 100.0
    remove_islands: bool = False
    drop_labels: tuple[int, ...] = ()
    resample: bool = False
    verify: bool = False
    copy: bool = False


@dataclass(frozen=True)
class Problem:
    """A case that cannot be used, and why."""

    case: str
    message: str

    def __str__(self) -> str:
        return f"{self.case}: {self.message}"


@dataclass(frozen=True)
class Found:
    """The result of a generator.

    Attributes:
        scans: usable so far, sorted by case; their files are not opened yet.
        problems: what looks like a case but is not complete.
        remarks: sentences for the report.
    """

    scans: tuple[Scan, ...]
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()
