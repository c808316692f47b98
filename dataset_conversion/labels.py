"""Where masks come from: one file with a value per level, or one file per structure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.anatomy import BY_VERSE_ID
from nnunet_spine.dataset_conversion.sources import Grid, OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.io.itk import data_files

VERSE_LABELS: dict[int, str] = {value: level.name for value, level in BY_VERSE_ID.items()}
"""Mask value -> level name in VerSe masks; 26 and 27 (sacrum, coccyx) are defined there but never annotated."""


@dataclass(frozen=True)
class LabelFile:
    """One file of any format that `io.masks` reads, with a value for each level.

    Attributes:
        path: the file.
        names: value -> level name; other values in the file are refused.
    """

    path: Path
    names: Mapping[int, str] = field(default_factory=lambda: VERSE_LABELS)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path, *data_files(self.path))

    def read(self, grid: Grid | None, *, resample: bool = False) -> OpenMask:
        return _fitted(self.path, grid, self.names, resample)


@dataclass(frozen=True)
class StructureFiles:
    """One binary file for each level.

    Attributes:
        by_level: level name and file; where two structures overlap, the later one counts. Missing files are structures
            that were not found.
    """

    by_level: tuple[tuple[str, Path], ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(part for _, path in self.by_level for part in (path, *data_files(path)))

    def read(self, grid: Grid | None, *, resample: bool = False) -> OpenMask:
        import numpy as np

        if not self.by_level:
            raise InputError("no file of a vertebra", "leave the case out")
        joined, overlap, flags, names = None, 0, [], {}
        for value, (name, path) in enumerate(self.by_level, 1):
            one = _fitted(path, grid, {}, resample)
            if joined is None:
                joined, grid = np.zeros(one.grid.shape, np.uint8, order="F"), one.grid
            hit = one.array > 0
            overlap += int(np.count_nonzero(joined[hit]))
            joined[hit] = value
            names[value] = name
            flags += [flag for flag in one.flags if flag not in flags]
        flags += [f"{overlap} voxels in two structures, the later one counts"] if overlap else []
        return OpenMask(joined, grid, names, tuple(flags))


def _fitted(path: Path, grid: Grid | None, names: Mapping[int, str], resample: bool) -> OpenMask:
    from nnunet_spine.dataset_conversion.masks import fit_to_image
    from nnunet_spine.io.masks import read_mask

    stored = read_mask(path)
    if grid is None:
        return OpenMask(stored.labels, Grid(stored.labels.shape, stored.affine), names, stored.remarks)
    fitted = fit_to_image(stored, grid, resample=resample)
    return OpenMask(fitted.array, grid, names, tuple(fitted.flags))
