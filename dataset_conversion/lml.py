"""Landmark files of the Glocker data set: names of levels with points in "index x spacing" of the scan beside them.

Coordinates are millimetres from the first voxel along the stored axes; origin and direction of the header play no role.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.dataset_conversion.sources import Grid, Landmarks, OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.io.text import read_text

if TYPE_CHECKING:
    import numpy as np

    from nnunet_spine.centroids import Centroid

_LEVEL = re.compile(r"[CTLS]\d{1,2}")
_CURE = "expected lines `id name x y z`, e.g. `190 T12_center 85.4 52.2 202.5`, after one header line"
_INSIDE = 0.8  # of the landmarks have to lie in the volume, as far as voxels reach
_REACH_MM = 10.0
_FAR, _NEAR = 1.6, 0.5  # times the usual distance of neighbours
_FRAMES = ("index x spacing", "world LPS", "world RAS")


@dataclass(frozen=True)
class LmlFile:
    """One `.lml` file."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def names(self) -> frozenset[str]:
        return frozenset(self.points())

    def points(self) -> dict[str, tuple[float, float, float]]:
        """Level name -> coordinates as they are written. Names tell the level, numbers do not: L6 has none of its own.

        Raises:
            InputError: unreadable, a line that is no landmark, or two points for one level.
        """
        found: dict[str, tuple[float, float, float]] = {}
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            entry = _entry(line)
            if entry is None:
                if number == 1:  # a header of any kind
                    continue
                raise InputError(f"line {number}: {line.strip()[:80]}", _CURE, self.path)
            name, point = entry
            if found.setdefault(name, point) != point:
                raise InputError(f"line {number}: a second point for {name}", "keep one", self.path)
        if not found:
            raise InputError("no landmark", _CURE, self.path)
        return found

    def read(self, grid: Grid | None, mask: OpenMask | None, measured: "Mapping[str, Centroid]") -> Landmarks:
        import numpy as np

        from nnunet_spine.geometry import to_world

        if grid is None:
            raise InputError("no image, whose header gives landmarks their place", "add the image", self.path)
        written = self.points()
        order = sorted(written, key=_rank)
        frame, index, flags = self._frame(np.array([written[name] for name in order], float), grid)
        points = to_world(grid.affine, index)
        flags += _outside(order, index, grid)
        flags += _distances(order, points)
        return Landmarks({n: tuple(p) for n, p in zip(order, points.tolist(), strict=True)}, frame, tuple(flags))

    def _frame(self, written: "np.ndarray", grid: Grid) -> "tuple[str, np.ndarray, list[str]]":
        """The frame in which landmarks lie in the volume, their voxel indices in it, and remarks."""
        import numpy as np

        from nnunet_spine.geometry import spacing_mm, to_index

        spacing = spacing_mm(grid.affine)
        ways = (
            written / spacing,
            to_index(grid.affine, written * (-1, -1, 1)),
            to_index(grid.affine, written),
        )
        reach = _REACH_MM / spacing
        inside = [
            int(np.all((index >= -reach) & (index <= np.array(grid.shape) - 1 + reach), axis=1).sum()) for index in ways
        ]
        best = int(np.argmax(inside))  # the first of equals
        seen = ", ".join(f"{n} of {len(written)} as {name}" for name, n in zip(_FRAMES, inside, strict=True))
        if inside[best] < _INSIDE * len(written):
            raise InputError(f"landmarks lie outside the scan ({seen} inside)", "check the pair", self.path)
        flags = [f"landmarks are {_FRAMES[best]} ({seen} inside)"] if best else []
        return _FRAMES[best], ways[best], flags


def _entry(line: str) -> tuple[str, tuple[float, float, float]] | None:
    """Level and coordinates of a line; columns after the fifth are passed over."""
    words = line.split()
    if len(words) < 5:
        return None
    name = words[1].split("_")[0].upper()
    try:
        x, y, z = (float(word) for word in words[2:5])
    except ValueError:
        return None
    return (name, (x, y, z)) if _LEVEL.fullmatch(name) and all(map(math.isfinite, (x, y, z))) else None


def _rank(name: str) -> tuple[int, int]:
    return "CTLS".index(name[0]), int(name[1:])


def _outside(names: list[str], index: "np.ndarray", grid: Grid) -> list[str]:
    import numpy as np

    from nnunet_spine.geometry import spacing_mm

    beyond = np.maximum(np.maximum(-index, index - (np.array(grid.shape) - 1)), 0) * spacing_mm(grid.affine)
    return [
        f"{name} lies {distance:.3g} mm outside the outermost voxel centres"
        for name, distance in zip(names, np.linalg.norm(beyond, axis=1).tolist(), strict=True)
        if distance > 1e-6
    ]


def _distances(names: list[str], points: "np.ndarray") -> list[str]:
    """Landmarks that lie too close for neighbours, and a gap before the sacrum. C1 and C2 have points of their own."""
    import numpy as np

    from nnunet_spine.anatomy import SPACING_MM

    flags = []
    for (a, b), step in zip(pairwise(names), np.linalg.norm(np.diff(points, axis=0), axis=1).tolist(), strict=True):
        usual = SPACING_MM.get(a)
        if usual is None:
            continue
        if step < _NEAR * usual and a != "C1":
            flags.append(f"{a} and {b} only {step:.1f} mm apart")
        if step > _FAR * usual and b[0] == "S":
            flags.append(f"{a} and {b} {step:.0f} mm apart: a vertebra between them has no name")
    return flags
