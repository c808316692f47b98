"""The contract between a data set and the writer: what a converter is, what it finds, and what the user chooses.

A converter is a module with a `CONVERTER` (see `Converter`). It finds scans and says where image, mask and landmarks of
each come from; everything else (geometry, label values, splits, files, resuming) is the same for all data sets. Each of
the three may be missing: what has no image or no mask is no training case, and serves prediction and evaluation.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from nnunet_spine.dataset_conversion.corrections import Correction
from nnunet_spine.dataset_conversion.sources import ImageSource, LandmarkSource, MaskSource
from nnunet_spine.jobs import Failure

SPLITS = ("training", "validation", "test")
LABEL_SETS = ("vertebrae", "regions", "spine")
PARTS = ("image", "mask", "landmarks")


@dataclass(frozen=True)
class Scan:
    """One CT series with what is known about it, wherever it comes from.

    Attributes:
        case: nnU-Net case identifier, unique in the dataset, of letters, digits, `-` and `_`.
        patient: grouping key: scans of one patient never come into different folds.
        split: "training", "validation" or "test"; "" where the data set has no word on it: then the folder names in
            `place` decide, or the user.
        image, mask, landmarks: where they come from, see `sources`; None where there are none.
        place: the folders that it lies in, as far as their names mean something.
        other_places: the same of further copies or links, which must not name another split.
        cohort: where it comes from, e.g. "verse19".
        layout: how its source is laid out, e.g. "subject" or "miccai".
        flags: remarks of the converter, for the manifest.
    """

    case: str
    patient: str
    split: str = ""
    image: ImageSource | None = None
    mask: MaskSource | None = None
    landmarks: LandmarkSource | None = None
    place: PurePath = field(default_factory=PurePath)
    other_places: tuple[PurePath, ...] = ()
    cohort: str = ""
    layout: str = ""
    flags: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is read from."""
        return tuple(p for source in (self.image, self.mask, self.landmarks) if source for p in source.files)


@dataclass(frozen=True)
class Choices:
    """How cases are prepared.

    Attributes:
        label_set: "vertebrae", "regions" or "spine".
        declared: names of the label set that dataset.json declares, ("occurring",) for those that occur; empty: all.
        min_volume_mm3: labels below this in total are noise and removed; smaller pieces of a label are reported.
        min_unlisted_mm3: labels below this that the scan's landmark file does not list are noise, too: no whole
            vertebra is smaller than 2,000 mm3, and the annotators listed those that they labelled.
        remove_islands: also remove these pieces.
        drop_labels: mask values turned into background at once.
        resample: resample masks whose shape differs from the image's.
        believe: see `Fitting`.
        border: what becomes of vertebrae that the field of view cuts: "keep", "drop" (background) or "ignore".
        unlabelled: what is beyond the labelled vertebrae: "background", or "ignore" as far as vertebrae may follow.
        accept: keys of `plausibility.KEYS` that flag a case and do not stop it.
        copy: copy files instead of linking them.
    """

    label_set: str = "vertebrae"
    declared: tuple[str, ...] = ()
    min_volume_mm3: float = 100.0
    min_unlisted_mm3: float = 2000.0
    remove_islands: bool = False
    drop_labels: tuple[int, ...] = ()
    resample: bool = False
    believe: str = "auto"
    border: str = "keep"
    unlabelled: str = "background"
    accept: tuple[str, ...] = ()
    copy: bool = False


@dataclass(frozen=True)
class Found:
    """What a converter found below the sources.

    Attributes:
        scans: usable so far, each case once; their files are not opened yet.
        problems: what looks like a case but is not complete.
        remarks: sentences for the report.
        left_out: files that look like data and are part of no scan.
    """

    scans: tuple[Scan, ...]
    problems: tuple[Failure, ...] = ()
    remarks: tuple[str, ...] = ()
    left_out: tuple[Path, ...] = ()


def _no_arguments(parser: argparse._ActionsContainer) -> None:
    pass


@dataclass(frozen=True)
class Converter:
    """A data set: its name, its own options, how its scans are found, and what they can give.

    Attributes:
        name: on the command line.
        title: for people, e.g. "VerSe'19 and VerSe'20".
        dataset_name: of the nnU-Net dataset where the user gives none; regions and spine are appended.
        licence, reference: for dataset.json.
        find: `find(sources, **options) -> Found`; reads names and tables, and opens no image.
        add_arguments: adds the converter's own options; those left at their default are not passed to `find`.
        gives: what its scans may have, of "image", "mask", "landmarks".
        label_sets: what masks can be converted to.
        corrections: lists of label corrections that users choose by name, by case or patient.
        guess: `guess(sources) -> lines`, what `find` would take below the sources, for `--guess`; None for none.
    """

    name: str
    title: str
    dataset_name: str
    licence: str
    reference: str
    find: Callable[..., Found]
    add_arguments: Callable[[argparse._ActionsContainer], None] = _no_arguments
    gives: frozenset[str] = frozenset(PARTS)
    label_sets: tuple[str, ...] = LABEL_SETS
    corrections: Mapping[str, Mapping[str, Correction]] = field(default_factory=dict)
    guess: Callable[..., Iterable[str]] | None = None
