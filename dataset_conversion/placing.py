"""Masks brought to the grid of their image, by their headers or by what the image shows."""

from collections.abc import Callable
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from nnunet_spine.dataset_conversion.masks import voxel_mm3
from nnunet_spine.dataset_conversion.sources import Fitting, Grid, OpenImage
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, corner_distance_mm, resample_nearest, spacing_mm
from nnunet_spine.io.masks import GRID_TOLERANCE_MM, MaskFile
from nnunet_spine.plausibility import Contrast, Finding, choose_placement, contrast, sites

HEADER, VOXELS = "its header", "its voxels"
BELIEVE = {"header": HEADER, "voxels": VOXELS}


@dataclass(frozen=True)
class Placed:
    """A mask on the grid of its image.

    Attributes:
        labels: uint8, first axis fastest in memory.
        flags: what was repaired.
        findings: what speaks for another place.
    """

    labels: np.ndarray
    flags: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def fit_to_image(stored: MaskFile, image: OpenImage, fitting: Fitting) -> Placed:
    """Bring a mask to the grid of its image.

    Affines that agree within 0.1 mm at every corner are taken as equal. Axes are permuted and flipped where that gives
    the same grid. Else the mask has the image's shape and another header, and the grey values under the labels say
    whether it lies by that or voxel for voxel on the image; or it is resampled with nearest neighbour through world
    space, on request where its shape differs. All of it is flagged.

    Raises:
        InputError: shapes differ (without `resample`), or labels would be lost because the grids lie apart.
    """
    grid, flags = image.grid, list(stored.remarks)
    same_shape = stored.labels.shape == grid.shape
    distance = corner_distance_mm(grid.shape, stored.affine, grid.affine)
    if same_shape and distance <= GRID_TOLERANCE_MM:
        if distance > 1e-4:
            flags.append(f"mask affine replaced by the image's, {distance:.2g} mm apart")
        return Placed(stored.labels, tuple(flags))
    turned = _turned(stored, grid)
    codes = f"{axis_codes(stored.affine)} to {axis_codes(grid.affine)}"
    if turned is not None:
        return Placed(turned, (*flags, f"mask reoriented from {codes}"))
    if not same_shape and not fitting.resample:
        raise InputError(
            f"mask of shape {stored.labels.shape} for an image of shape {grid.shape}",
            "check the pair, or resample the mask with --resample",
            stored.path,
        )
    by_header = f"mask resampled, corners {distance:.3g} mm apart, {codes}"
    by_voxels = f"mask laid on the image voxel for voxel, header {distance:.3g} mm apart"
    # Within a voxel both ways cover the same bone, and the header is the finer statement.
    if not same_shape or distance <= spacing_mm(grid.affine).max():
        return Placed(_resampled(stored, grid), (*flags, by_header))
    if fitting.believe != "auto":
        labels = stored.labels if fitting.believe == "voxels" else _resampled(stored, grid)
        return Placed(labels, (*flags, by_voxels if fitting.believe == "voxels" else by_header))
    moved = resample_nearest(stored.labels, stored.affine, grid.shape, grid.affine)
    way, finding = choose_placement(
        _contrasts({HEADER: moved, VOXELS: stored.labels}, image),
        f"mask and image have one shape and headers up to {distance:.3g} mm apart",
    )
    if way == VOXELS:
        return Placed(stored.labels, (*flags, by_voxels), (finding,))
    _require_kept(stored, moved, grid)
    return Placed(moved, (*flags, by_header), (finding,))


def _contrasts(ways: dict[str, np.ndarray], image: OpenImage) -> dict[str, Contrast | None]:
    """Grey values in and around the labels for each way, the image read once."""
    spacing = spacing_mm(image.grid.affine)
    looked_at = {way: sites(labels, spacing) for way, labels in ways.items()}
    values = read_once(image.values_at, [indices for pair in looked_at.values() for indices in pair])
    pairs = zip(values[::2], values[1::2], strict=True)
    return {way: contrast(*pair) for way, pair in zip(looked_at, pairs, strict=True)}


def read_once(values_at: Callable[[np.ndarray], np.ndarray], groups: list[np.ndarray]) -> list[np.ndarray]:
    """Values for each of several groups of flat indices, all asked for together."""
    every = np.unique(np.concatenate(groups)) if groups else np.zeros(0, np.int64)
    values = values_at(every)
    return [values[np.searchsorted(every, indices)] for indices in groups]


def _resampled(stored: MaskFile, grid: Grid) -> np.ndarray:
    moved = resample_nearest(stored.labels, stored.affine, grid.shape, grid.affine)
    _require_kept(stored, moved, grid)
    return moved


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
            "check that the files belong together and that both headers are right; --mask-grid voxels lays a mask "
            "of the image's shape on it voxel for voxel",
            stored.path,
        )
