"""Body heights of masks in files, and their table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.heights import Heights, body_heights
from nnunet_spine.io.files import write_text
from nnunet_spine.io.label_ids import LabelTable
from nnunet_spine.io.masks import read_mask, voxels_in


@dataclass(frozen=True)
class HeightCase:
    """A mask whose bodies to measure; can be pickled.

    Attributes:
        case: its name.
        mask: the file.
        table: what its values mean, as `LabelTable.to_dict`.
    """

    case: str
    mask: Path
    table: dict

    def peak_bytes(self) -> float:
        """Memory that it takes, about."""
        return 4.0 * voxels_in(self.mask) + 3e8


@dataclass(frozen=True)
class CaseHeights:
    """Level -> heights of a case, from head to foot."""

    case: str
    levels: dict[str, Heights]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Which bodies have no height, and why."""
        return tuple(f"{name} not measured, {h.reason}" for name, h in self.levels.items() if h.reason)


def measure_heights(case: HeightCase) -> CaseHeights:
    """Measure the bodies of one mask.

    Raises:
        InputError: unreadable, or a value without meaning.
    """
    mask = read_mask(case.mask)
    try:
        LabelTable.from_dict(case.table).to_ids(mask.labels)
    except InputError as error:
        raise InputError(error.found, error.cure.replace("--{role}-labels", "--labels"), case.mask) from None
    return CaseHeights(case.case, body_heights(mask.labels, mask.affine))


def write_table(path: Path, cases: Sequence[CaseHeights]) -> None:
    """Write one CSV with a row per case and level; empty heights have a reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "level", "anterior_mm", "middle_mm", "posterior_mm", "reason"])
    for case in cases:
        for name, h in case.levels.items():
            numbers = ["" if mm is None else f"{mm:.2f}" for mm in (h.anterior_mm, h.middle_mm, h.posterior_mm)]
            writer.writerow([case.case, name, *numbers, h.reason])
    write_text(path, text.getvalue())
