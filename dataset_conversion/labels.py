"""Where masks come from: one file with a value per level, or one file per structure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.anatomy import BY_VERSE_ID
from nnunet_spine.dataset_conversion.sources import Fitting, Grid, OpenImage, OpenMask
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

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        return _fitted(self.path, image, self.names, fitting)


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

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        import numpy as np

        if not self.by_level:
            raise InputError("no file of a vertebra", "leave the case out")
        joined, overlap, flags, findings, names = None, 0, [], [], {}
        for value, (name, path) in enumerate(self.by_level, 1):
            one = _fitted(path, image, {}, fitting)
            if joined is None:
                joined, grid = np.zeros(one.grid.shape, np.uint8, order="F"), one.grid
            if one.array.shape != joined.shape:
                raise InputError(f"shape {one.array.shape}; the others have {joined.shape}", "fetch it again", path)
            hit = one.array > 0
            overlap += int(np.count_nonzero(joined[hit]))
            joined[hit] = value
            names[value] = name
            flags += [flag for flag in one.flags if flag not in flags]
            findings += [finding for finding in one.findings if finding.key not in {f.key for f in findings}]
        flags += [f"{overlap} voxels in two structures, the later one counts"] if overlap else []
        return OpenMask(joined, grid, names, tuple(flags), tuple(findings))


def _fitted(path: Path, image: OpenImage | None, names: Mapping[int, str], fitting: Fitting) -> OpenMask:
    from nnunet_spine.dataset_conversion.placing import fit_to_image
    from nnunet_spine.io.masks import read_mask

    stored = read_mask(path)
    if image is None:
        return OpenMask(stored.labels, Grid(stored.labels.shape, stored.affine), names, stored.remarks)
    fitted = fit_to_image(stored, image, fitting)
    return OpenMask(fitted.labels, image.grid, names, fitted.flags, fitted.findings)
