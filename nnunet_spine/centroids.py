"""Vertebra points in world millimetres, measured in a mask.

Two points are in use and differ by 8-15 mm (VerSe repository, issues 3 and 4): the centroid of the whole vertebra mask
and the centre of the vertebral body. Both are measured here; compare like with like.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cc3d
import edt
import numpy as np

from nnunet_spine.geometry import bounding_box, spacing_mm, to_world

BODY_RADIUS_MM = 6.0
_SHRINK = 0.75
_TIE_MM = 1e-3  # distances equal up to rounding count as equal, so that flipping the axes cannot change the result


@dataclass(frozen=True)
class Centroid:
    """Points of one label, world RAS mm.

    Attributes:
        mask_mm: centre of mass of the whole label.
        body_mm: centre of the vertebral body, see `body_centre`.
        volume_mm3: of the label.
        touches_border: whether the label reaches a face of the volume, so that the vertebra may be cut off.
    """

    mask_mm: tuple[float, float, float]
    body_mm: tuple[float, float, float]
    volume_mm3: float
    touches_border: bool


def measure(
    labels: np.ndarray,
    affine: np.ndarray,
    boxes: Mapping[int, tuple[slice, slice, slice]] | None = None,
    *,
    without_body: Iterable[int] = (1,),
) -> dict[int, Centroid]:
    """Points of every label in a mask.

    Args:
        labels: 3-D integers, 0 background.
        affine: 4x4, RAS mm.
        boxes: label value -> bounding box, where known; found here otherwise.
        without_body: labels whose body centre is the mask centroid; C1 has no body.

    Returns:
        Label value -> points; empty for an empty mask.

    Example:
        >>> labels = np.zeros((30, 30, 30), np.uint8)
        >>> labels[5:16, 5:16, 5:16] = 20
        >>> [round(float(mm), 3) for mm in measure(labels, np.eye(4))[20].mask_mm]
        [10.0, 10.0, 10.0]
    """
    spacing, voxel_mm3 = spacing_mm(affine), float(abs(np.linalg.det(np.asarray(affine, float)[:3, :3])))
    out = {}
    for value, box in (label_boxes(labels) if boxes is None else boxes).items():
        one = labels[box] == value
        start = np.array([s.start for s in box], float)
        centre, count = mask_centroid(one)
        body = centre if value in without_body else body_centre(one, spacing)
        border = any(s.start == 0 or s.stop == n for s, n in zip(box, labels.shape, strict=True))
        out[value] = Centroid(
            tuple(to_world(affine, centre + start).tolist()),
            tuple(to_world(affine, body + start).tolist()),
            count * voxel_mm3,
            border,
        )
    return out


def label_boxes(labels: np.ndarray) -> dict[int, tuple[slice, slice, slice]]:
    """Bounding box of each label in a 3-D integer mask, background excluded."""
    outer = bounding_box(labels)
    if outer is None:
        return {}
    inner = labels[outer]
    out = {}
    for value in _present(inner):
        box = bounding_box(inner == value)
        out[value] = tuple(slice(o.start + b.start, o.start + b.stop) for o, b in zip(outer, box, strict=True))
    return out


def _present(labels: np.ndarray) -> list[int]:
    values = set()
    for k in range(labels.shape[2]):
        values.update(np.unique(labels[..., k]).tolist())
    return sorted(values - {0})


def mask_centroid(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Centre of mass of a non-empty 3-D bool array in voxel indices (3,), and its voxel count."""
    count = int(np.count_nonzero(mask))
    centre = []
    for axis in range(3):
        profile = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        centre.append(float(profile @ np.arange(mask.shape[axis])) / count)
    return np.array(centre), count


def body_centre(mask: np.ndarray, spacing: np.ndarray, radius_mm: float = BODY_RADIUS_MM) -> np.ndarray:
    """Centre of the vertebral body: centre of mass after opening with a ball, which removes arch and processes.

    Where nothing as thick as the ball exists (small cervical bodies) the radius shrinks to three quarters of the
    largest ball that fits, so that the result is never empty. Of several thick parts (lateral masses beside a cervical
    body) only the largest counts. Grids much finer than 1 mm are sampled at about 1 mm.

    Args:
        mask: non-empty 3-D bool.
        spacing: voxel size, (3,) mm.
        radius_mm: of the ball.

    Returns:
        Voxel indices (3,).
    """
    thin, start, step = _thinned(mask, spacing)
    if not thin.any():  # a sliver between the samples
        return mask_centroid(mask)[0]
    spacing = np.asarray(spacing, float) * step
    thin = np.asfortranarray(np.pad(thin, 1))  # outside the volume there is background
    centre = _opened_centre(thin, spacing, radius_mm)
    return start + step * (centre - 1)


def _opened_centre(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    reach_mm = radius_mm / _SHRINK
    candidates = _thick(mask, spacing, radius_mm)
    box = bounding_box(candidates)
    if box is not None:
        # Distances up to `reach_mm` are right for the candidates in this box, and no ball around them leaves it.
        margin = (np.ceil(reach_mm / spacing) + 1).astype(int)
        box = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
        part, candidates = np.asfortranarray(mask[box]), candidates[box]
        inside = edt.edt(part, anisotropy=tuple(spacing), parallel=1)
        if inside[candidates].max() >= reach_mm:
            core = candidates & (inside > radius_mm + _TIE_MM)
            return _dilated_centre(core, part, spacing, radius_mm) + [s.start for s in box]
    inside = edt.edt(mask, anisotropy=tuple(spacing), parallel=1)
    radius_mm = min(radius_mm, _SHRINK * float(inside.max()))
    return _dilated_centre(inside > radius_mm + _TIE_MM, mask, spacing, radius_mm)


def _dilated_centre(core: np.ndarray, mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    pieces = cc3d.connected_components(core, connectivity=26)
    if (last := int(pieces.max())) > 1:
        voxels = np.bincount(pieces.ravel(order="K"), minlength=last + 1)
        core = pieces == 1 + np.argmax(voxels[1:])
    opened = edt.edt(~core, anisotropy=tuple(spacing), parallel=1) <= radius_mm + _TIE_MM
    return mask_centroid(opened & mask)[0]


def _thick(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    """Voxels with a radius of mask to both sides along each axis: all voxels where a ball fits, and some more."""
    out = mask.copy(order="K")
    for axis in range(3):
        reach = int((radius_mm - _TIE_MM) / spacing[axis])
        run, length = mask.swapaxes(0, axis), 1  # run[i]: voxels i to i + length - 1 are all mask
        while length < 2 * reach + 1:
            more = min(length, 2 * reach + 1 - length)
            run = run[:-more] & run[more:] if run.shape[0] > more else run[:0]
            length += more
        view = out.swapaxes(0, axis)
        view[:reach] = False
        view[reach : reach + run.shape[0]] &= run
        view[reach + run.shape[0] :] = False
    return out


def _thinned(mask: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every n-th voxel, n odd so that the samples lie symmetric in the box whichever way its axes run."""
    steps, starts = [], []
    for n, size in zip(mask.shape, spacing, strict=True):
        step = max(1, min(n, int(1.25 / size)))
        step -= step % 2 == 0
        # Odd n: the middle voxel is a sample. Even n: the middle lies between two samples, half a step from each.
        first = ((n - 1) // 2 if n % 2 else (n - step) // 2) % step
        steps.append(step)
        starts.append(first)
    view = mask[tuple(slice(first, None, step) for first, step in zip(starts, steps, strict=True))]
    return np.asfortranarray(view), np.array(starts, float), np.array(steps, float)
