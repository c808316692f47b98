"""Masks on the grid of their image: geometry, label values, small islands."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cc3d
import nibabel as nib
import numpy as np

from nnunet_spine.dataset_conversion.sources import Grid
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, bounding_box, corner_distance_mm, resample_nearest, spacing_mm
from nnunet_spine.io.masks import GRID_TOLERANCE_MM, MaskFile


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


def fit_to_image(stored: MaskFile, image: Grid, *, resample: bool = False) -> Mask:
    """Bring a mask to the grid of its image.

    Affines that agree within 0.1 mm at every corner are taken as equal. Otherwise axes are permuted and flipped where
    that gives the same grid; else the mask is resampled with nearest neighbour through world space. Both are flagged.

    Args:
        resample: also resample a mask whose shape differs.

    Raises:
        InputError: shapes differ (without `resample`), or labels would be lost because the grids lie apart.
    """
    labels, affine, flags = stored.labels, stored.affine, list(stored.remarks)
    same_shape = labels.shape == image.shape
    if same_shape and corner_distance_mm(image.shape, affine, image.affine) <= GRID_TOLERANCE_MM:
        distance = corner_distance_mm(image.shape, affine, image.affine)
        if distance > 1e-4:
            flags.append(f"mask affine replaced by the image's, {distance:.2g} mm apart")
        return Mask(labels, flags)
    turned = _turned(stored, image)
    codes = f"{axis_codes(affine)} to {axis_codes(image.affine)}"
    if turned is not None:
        return Mask(turned, [*flags, f"mask reoriented from {codes}"])
    if not same_shape and not resample:
        raise InputError(
            f"mask of shape {labels.shape} for an image of shape {image.shape}",
            "check the pair, or resample the mask with --resample",
            stored.path,
        )
    moved = resample_nearest(labels, affine, image.shape, image.affine)
    _require_kept(stored, moved, image)
    distance = corner_distance_mm(image.shape, affine, image.affine)
    return Mask(moved, [*flags, f"mask resampled, corners {distance:.3g} mm apart, {codes}"])


def _turned(stored: MaskFile, image: Grid) -> np.ndarray | None:
    """The mask with permuted and flipped axes where these give exactly the image's grid."""
    steps = nib.orientations.ornt_transform(nib.io_orientation(stored.affine), nib.io_orientation(image.affine))
    affine = stored.affine @ nib.orientations.inv_ornt_aff(steps, stored.labels.shape)
    turned = nib.orientations.apply_orientation(stored.labels, steps)
    if turned.shape != image.shape or corner_distance_mm(image.shape, affine, image.affine) > GRID_TOLERANCE_MM:
        return None
    return np.asfortranarray(turned)


def _require_kept(stored: MaskFile, moved: np.ndarray, image: Grid) -> None:
    before, after = (
        np.count_nonzero(array) * voxel_mm3(affine)
        for array, affine in ((stored.labels, stored.affine), (moved, image.affine))
    )
    if after < 0.9 * before:
        raise InputError(
            f"the mask lies elsewhere than its image: {100 * (1 - after / before):.0f} % of the labelled volume is "
            "outside",
            "check that the files belong together and that both headers are right",
            stored.path,
        )


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
