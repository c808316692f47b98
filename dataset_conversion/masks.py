"""Masks on the grid of their image: label values, small islands."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cc3d
import numpy as np

from nnunet_spine.geometry import bounding_box, spacing_mm


@dataclass
class Mask:
    """A label mask during conversion.

    Attributes:
        array: uint8, on the grid of the image, first axis fastest in memory.
        flags: what was repaired, for the manifest.
        box: smallest box that holds all labels, or None.
    """

    array: np.ndarray
    flags: list[str] = field(default_factory=list)
    box: tuple[slice, slice, slice] | None = None

    @property
    def labelled(self) -> np.ndarray:
        """View of the smallest box with all labels."""
        return self.array[self.box] if self.box else self.array[:0, :0, :0]


def label_extents(mask: Mask) -> dict[int, tuple[int, tuple[slice, slice, slice]]]:
    """Label value -> number of voxels and bounding box, background excluded; sets `mask.box`."""
    mask.box = bounding_box(mask.array)
    if mask.box is None:
        return {}
    statistics = cc3d.statistics(np.asfortranarray(mask.labelled))  # a view takes seven times as long
    return {
        value: (
            int(count),
            tuple(slice(o.start + b.start, o.start + b.stop) for o, b in zip(mask.box, box, strict=True)),
        )
        for value, (count, box) in enumerate(zip(statistics["voxel_counts"], statistics["bounding_boxes"], strict=True))
        if value and count
    }


def rename_labels(mask: Mask, table: Mapping[int, int]) -> None:
    """Replace label values in place; values that the table lacks stay."""
    steps = {old: new for old, new in table.items() if old != new}
    if steps and mask.box:
        lookup = np.arange(256, dtype=np.uint8)
        for old, new in steps.items():
            lookup[old] = new
        view = mask.labelled
        for k in range(view.shape[2]):  # slice by slice, without a second volume
            view[..., k] = lookup[view[..., k]]


@dataclass(frozen=True)
class Islands:
    """Small connected pieces of one label.

    Attributes:
        count: pieces below the limit, the largest piece of the label excluded.
        volume_mm3: of these together.
    """

    count: int
    volume_mm3: float


def small_pieces(label: np.ndarray, voxel_mm3: float, limit_mm3: float) -> tuple[np.ndarray | None, Islands]:
    """26-connected pieces of a binary mask below a volume, never the largest one.

    Real vertebrae have small detached tips of processes, so what to do about these is the caller's choice.

    Args:
        label: 3-D bool.

    Returns:
        Their voxels (bool, None where there are none), and what they amount to.
    """
    pieces, count = cc3d.connected_components(label, connectivity=26, return_N=True)
    if count < 2:
        return None, Islands(0, 0.0)
    voxels = cc3d.statistics(pieces, no_slice_conversion=True)["voxel_counts"].astype(np.int64)
    small = voxels * voxel_mm3 < limit_mm3
    small[0] = False
    small[1 + np.argmax(voxels[1:])] = False
    if not small.any():
        return None, Islands(0, 0.0)
    return small[pieces], Islands(int(small.sum()), float(voxels[small].sum() * voxel_mm3))


def voxel_mm3(affine: np.ndarray) -> float:
    """Volume of one voxel."""
    return float(abs(np.linalg.det(np.asarray(affine, float)[:3, :3])))


def spacing_text(affine: np.ndarray) -> str:
    """Voxel size for tables, e.g. "1x1x2.5"."""
    return "x".join(f"{s:.4g}" for s in spacing_mm(affine))
