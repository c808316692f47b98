"""Label maps on one grid: reading, reorienting, resampling by nearest neighbour."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine import geometry
from nnunet_spine.errors import InputError
from nnunet_spine.io import itk
from nnunet_spine.io.label_folders import read_structures
from nnunet_spine.io.label_ids import LabelTable
from nnunet_spine.io.masks import GRID_TOLERANCE_MM, read_mask
from nnunet_spine.io.streams import volume_info
from nnunet_spine.plausibility import Finding, header_findings, settle, shear_finding

_REMARKABLE_LOSS = 0.001
_ONE_GRID = 0.5  # overlap from which two label maps of one shape show the same scan
_SAMPLE = 100_000  # voxels that decide which share of the labels lies outside


@dataclass(frozen=True)
class LabelMap:
    """A label map in the world.

    Attributes:
        labels: uint8 nnU-Net ids, stored axis order.
        affine: voxel index -> RAS mm.
        notes: what was done to it on reading.
    """

    labels: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()


def read_label_map(
    path: str | Path, table: LabelTable, role: str, kind: str = "vertebrae", accept: Collection[str] = ()
) -> LabelMap:
    """Read a mask (`io.masks.read_mask`), check its header, and bring its values to those of a kind of dataset of ours.

    Args:
        path: a file; or a folder with one file per vertebra, as TotalSegmentator writes them, which needs no table.
        table: what the values of a file mean.
        kind: see `LabelTable.to_ids`.
        role: "prediction" or "reference", for notes and messages.
        accept: keys of `plausibility.KEYS` that note a contradiction in the header and do not stop.

    Raises:
        InputError: unreadable, truncated, not whole numbers, values that the table lacks, or a header that gives voxels
            of two sizes.
    """
    mask = read_structures(Path(path)) if Path(path).is_dir() else read_mask(path)
    try:
        dropped = table.to_ids(mask.labels, kind)
    except InputError as error:
        raise InputError(error.found, error.cure.format(role=role), path) from None
    flags = settle(_header_findings(Path(path), mask.affine), accept, path)
    notes = [f"{role}: {text}" for text in (mask.repair, *flags) if text]
    if dropped:
        shown = ", ".join(dropped) if len(dropped) < 4 else f"{len(dropped)} structures that are no vertebrae"
        notes.append(f"{role}: {shown} left out")
    return LabelMap(mask.labels, mask.affine, tuple(notes))


def _header_findings(path: Path, affine: np.ndarray) -> list[Finding]:
    if path.is_dir() or itk.is_itk_name(path):  # ITK's formats hold one place only
        return [shear] if (shear := shear_finding(affine)) else []
    info = volume_info(path)
    return header_findings(info.header, info.shape)


def to_grid(moving: LabelMap, shape: tuple[int, ...], affine: np.ndarray, role: str = "prediction") -> LabelMap:
    """A label map on another grid of the same world.

    Corners that agree within 0.1 mm are the same grid. Otherwise axes are permuted and flipped where that gives the
    grid; else values are taken from the nearest voxel. Both are noted.

    Raises:
        InputError: the volumes, or all labels and the target volume, lie apart.
    """
    same = moving.labels.shape == tuple(shape)
    if same and geometry.corner_distance_mm(shape, moving.affine, affine) <= GRID_TOLERANCE_MM:
        return LabelMap(moving.labels, affine, moving.notes)
    own, wanted = geometry.axis_codes(moving.affine), geometry.axis_codes(affine)
    turned, turned_affine = geometry.reorient(moving.labels, moving.affine, wanted)
    if turned.shape == tuple(shape) and geometry.corner_distance_mm(shape, turned_affine, affine) <= GRID_TOLERANCE_MM:
        return LabelMap(np.asfortranarray(turned), affine, (*moving.notes, f"{role} reoriented from {own} to {wanted}"))
    note = f"{role} resampled by nearest neighbour from {describe_grid(moving.labels.shape, moving.affine)}"
    labels, kept = _resample(moving, shape, affine)
    if kept < 1 - _REMARKABLE_LOSS:
        note += f"; {100 * (1 - kept):.2g} % of its labelled volume lies outside"
    if turned.shape == tuple(shape):
        distance = geometry.corner_distance_mm(shape, turned_affine, affine)
        note += f"; same number of voxels, {distance:.3g} mm apart: check its header"
    return LabelMap(labels, affine, (*moving.notes, note))


def match(prediction: LabelMap, reference: LabelMap, accept: Collection[str] = ()) -> LabelMap:
    """A prediction on the grid of its reference, as `to_grid` brings it there.

    Where both have the same shape and their headers place them apart, one header may have been lost on the way. The
    labels tell: if they overlap voxel for voxel, and by the headers less than by half, they are taken voxel for voxel,
    with a note that gives both overlaps. Where the volumes do not even touch, the user has to say so.

    Args:
        accept: with "mask-grid", labels that overlap voxel for voxel count so although the volumes lie apart.

    Raises:
        InputError: the volumes lie apart.
    """
    shape, affine = reference.labels.shape, reference.affine
    distance = geometry.corner_distance_mm(shape, prediction.affine, affine)
    if prediction.labels.shape != shape or distance <= GRID_TOLERANCE_MM:
        return to_grid(prediction, shape, affine)
    stored = _overlap(prediction.labels, reference.labels)
    try:
        placed = to_grid(prediction, shape, affine)
    except InputError as error:
        if stored < _ONE_GRID:
            raise
        if "mask-grid" not in accept:
            evidence = f"voxel for voxel the labels overlap by {stored:.2f} (Dice), so that a header was probably lost"
            cure = f"{error.cure}, or score them voxel for voxel with --accept mask-grid"
            raise InputError(f"{error.found}; {evidence}", cure) from None
        placed = None
    by_headers = _overlap(placed.labels, reference.labels) if placed else 0.0
    if placed and (stored < _ONE_GRID or by_headers >= _ONE_GRID):
        return placed
    note = (
        f"headers place prediction and reference up to {distance:.3g} mm apart; their labels overlap by {stored:.2f} "
        f"(Dice) voxel for voxel and by {by_headers:.2f} as the headers say: taken voxel for voxel, check both headers"
    )
    return LabelMap(prediction.labels, affine, (*prediction.notes, note))


def _overlap(labels: np.ndarray, others: np.ndarray) -> float:
    """Dice of what is labelled at all; 0 where nothing is."""
    both = sum(np.count_nonzero(np.logical_and(labels[..., k], others[..., k])) for k in range(labels.shape[2]))
    total = np.count_nonzero(labels) + np.count_nonzero(others)
    return 2 * both / total if total else 0.0


def isotropic_grid(shape: tuple[int, ...], affine: np.ndarray, spacing_mm: float) -> tuple[tuple[int, ...], np.ndarray]:
    """The grid of another voxel size with the same axes and centre, as VerSe's script resamples to 1 mm.

    As many voxels as there (`resample_nib` in utils/data_utilities.py), at least one. The exact middle stays in place;
    the script keeps the voxel before the middle where a length is even, which depends on how the file is stored.
    """
    shape = np.asarray(shape)
    new = tuple(int(n) for n in np.maximum(np.rint(shape * geometry.spacing_mm(affine) / spacing_mm), 1))
    out = np.array(affine, float)
    out[:3, :3] *= spacing_mm / geometry.spacing_mm(affine)
    out[:3, 3] += volume_centre(shape, affine) - volume_centre(new, out)
    return new, out


def volume_centre(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Middle of a volume, world RAS mm (3,)."""
    return geometry.to_world(affine, (np.asarray(shape) - 1) / 2)


def describe_grid(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """E.g. "122x101x112 voxels of 3x3x3 mm, RAS"."""
    size, step = "x".join(map(str, shape)), "x".join(f"{s:.3g}" for s in geometry.spacing_mm(affine))
    return f"{size} voxels of {step} mm, {geometry.axis_codes(affine)}"


def _resample(moving: LabelMap, shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels on the grid, and the share of labelled voxels whose centre lies in it."""
    out = np.zeros(shape, np.uint8, order="F")
    if not touch(moving.labels.shape, moving.affine, shape, affine):
        raise InputError("different world frame: prediction and reference do not overlap", "check their headers")
    box = geometry.bounding_box(moving.labels)
    if box is None:
        return out, 1.0
    labelled = np.flatnonzero(moving.labels[box])
    sample = labelled[:: 1 + labelled.size // _SAMPLE]
    voxels = np.stack(np.unravel_index(sample, moving.labels[box].shape), -1) + [s.start for s in box]
    index = geometry.to_index(affine, geometry.to_world(moving.affine, voxels))
    kept = float(np.all((index > -0.5) & (index < np.asarray(shape) - 0.5), axis=1).mean())
    if kept == 0:
        raise InputError("different world frame: no label lies inside the other volume", "check their headers")
    # One voxel of the source more to each side: the outermost labels reach half a voxel beyond their centres.
    padded = np.array(moving.affine, float)
    padded[:3, 3] = geometry.to_world(moving.affine, [s.start - 1 for s in box])
    part = geometry.covered_box(shape, affine, tuple(s.stop - s.start + 2 for s in box), padded)
    shifted = np.array(affine, float)
    shifted[:3, 3] = geometry.to_world(affine, [s.start for s in part])
    size = tuple(s.stop - s.start for s in part)
    out[part] = geometry.resample_nearest(moving.labels, moving.affine, size, shifted)
    return out, kept


def touch(shape: tuple[int, ...], affine: np.ndarray, other: tuple[int, ...], other_affine: np.ndarray) -> bool:
    """Whether two volumes share a point, by a lattice of 33 points along each axis of the second one."""
    steps = [np.linspace(-0.5, n - 0.5, 33) for n in other]
    index = geometry.to_index(affine, geometry.to_world(other_affine, np.stack(np.meshgrid(*steps), -1)))
    return bool(np.all((index >= -0.5) & (index <= np.asarray(shape) - 0.5), axis=-1).any())
