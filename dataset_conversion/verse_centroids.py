"""VerSe's centroid files as landmarks: labels are VerSe ids, and the mask tells the frame of the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.anatomy import BY_VERSE_ID
from nnunet_spine.dataset_conversion.sources import Grid, Landmarks, OpenMask
from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunet_spine.centroids import Centroid


@dataclass(frozen=True)
class VerseCentroids:
    """A centroid file of either year and layout, see `io.centroid_files`."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def names(self) -> frozenset[str]:
        from nnunet_spine.io import centroid_files

        values = centroid_files.read_points(self.path).points
        return frozenset(BY_VERSE_ID[value].name for value in values if value in BY_VERSE_ID)

    def read(self, grid: Grid | None, mask: OpenMask | None, measured: "Mapping[str, Centroid]") -> Landmarks:
        import numpy as np

        from nnunet_spine.io import centroid_files

        if grid is None:
            raise InputError("voxel indices without an image or a mask", "add the image", self.path)
        # Without a mask only a file that states its directions can be understood.
        values = {name: value for value, name in mask.names.items()} if mask else {}
        labels = mask.array if mask else np.zeros(grid.shape, np.uint8)
        found = centroid_files.read_annotation(
            self.path, labels, grid.affine, {values[name]: centroid for name, centroid in measured.items()}
        )
        names = {value: level.name for value, level in BY_VERSE_ID.items()}
        others = sorted(set(found.points_mm) - set(names))
        kind = "mask" if found.frame == "verse20" else "body"
        flags = (f"points with unknown labels {', '.join(map(str, others))} left out",) if others else ()
        return Landmarks({names[v]: p for v, p in found.points_mm.items() if v in names}, found.frame, flags, kind)
