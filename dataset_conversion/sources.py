"""Where image, mask and landmarks of a scan come from: three small interfaces.

Whatever satisfies one of them can be handed to the writer; the usual ones are in `images`, `dicom` and `labels`.
A source is a small picklable value, made without opening a file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from nnunet_spine.centroids import Centroid
    from nnunet_spine.plausibility import Finding


@dataclass(frozen=True)
class Grid:
    """A voxel grid in the world.

    Attributes:
        shape: voxels along the stored axes.
        affine: voxel index -> world RAS mm, 4x4.
    """

    shape: tuple[int, int, int]
    affine: "np.ndarray"


@dataclass(frozen=True)
class OpenImage:
    """An image that was checked.

    Attributes:
        grid: where its voxels lie.
        flags: remarks for the manifest.
        place: puts it under a new name for nnU-Net, `place(path, copy)`, and says how: "hardlink", "symlink", "copy" or
            "rewritten".
        voxels: its values in HU on the grid, read on demand.
        findings: contradictions in its header.
        sample: values of some voxels without decoding all at once, see `values_at`.
    """

    grid: Grid
    flags: tuple[str, ...]
    place: Callable[[Path, bool], str]
    voxels: "Callable[[], np.ndarray]"
    findings: "tuple[Finding, ...]" = ()
    sample: "Callable[[np.ndarray], np.ndarray] | None" = None

    def values_at(self, indices: "np.ndarray") -> "np.ndarray":
        """Values of some voxels, by their sorted flat indices, first axis fastest."""
        if self.sample is not None:
            return self.sample(indices)
        return self.voxels().ravel(order="F")[indices].astype(float)


@dataclass(frozen=True)
class Fitting:
    """How a mask is brought to the grid of its image.

    Attributes:
        resample: also a mask of another shape.
        believe: of a mask of the image's shape with another header: "header", or "voxels" (it lies voxel for voxel on
            the image); "auto" lets the grey values under the labels decide.
    """

    resample: bool = False
    believe: str = "auto"


@dataclass(frozen=True)
class OpenMask:
    """A mask on the grid of its image.

    Attributes:
        array: uint8, 3-D, first axis fastest in memory; 0 is background.
        grid: where its voxels lie: the image's grid, or the mask's own where there is no image.
        names: value -> level name, or "ignore" for what is neither background nor a known level. Other values in the
            array are refused.
        flags: what was repaired or decided, for the manifest.
        findings: contradictions between it and its image.
    """

    array: "np.ndarray"
    grid: Grid
    names: Mapping[int, str]
    flags: tuple[str, ...] = ()
    findings: "tuple[Finding, ...]" = ()


@dataclass(frozen=True)
class Landmarks:
    """Annotated points.

    Attributes:
        points_mm: level name -> world RAS mm.
        frame: how the file's numbers were understood.
        flags: remarks for the manifest.
        kind: what the points are: centres of the "body", or centroids of the whole "mask" of a vertebra.
    """

    points_mm: Mapping[str, tuple[float, float, float]]
    frame: str
    flags: tuple[str, ...] = ()
    kind: str = "body"


class ImageSource(Protocol):
    """A CT that can be opened."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is read from; the first one stands for it in the manifest."""

    def open(self) -> OpenImage:
        """Check it.

        Raises:
            InputError: it cannot be used.
        """


class MaskSource(Protocol):
    """A label mask that can be read."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is read from; the first one stands for it in the manifest."""

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        """Read it onto the grid of its image, or onto its own where that is None.

        Raises:
            InputError: it cannot be used, or does not fit the image.
        """


class LandmarkSource(Protocol):
    """Annotated points that can be read."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that they are read from; the first one stands for them in the manifest."""

    def names(self) -> frozenset[str]:
        """The levels that are listed.

        Raises:
            InputError: unreadable.
        """

    def read(self, grid: Grid | None, mask: OpenMask | None, measured: "Mapping[str, Centroid]") -> Landmarks:
        """Points in the world.

        Args:
            grid: of the image, or of the mask where there is no image; None where there is neither.
            mask: to tell in which frame the numbers are.
            measured: level name -> centroid in the mask.

        Raises:
            InputError: unreadable, or in no known frame.
        """
