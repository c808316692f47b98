"""Vertebra points in world millimetres: measured in a mask, or read from the annotation files of VerSe.

Two points are in use and differ by 8-15 mm (VerSe repository, issues 3 and 4): the centroid of the whole vertebra mask
and the centre of the vertebral body. Both are measured here; compare like with like.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import edt
import nibabel as nib
import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.files import read_json
from nnunet_spine.geometry import axis_codes, bounding_box, spacing_mm, to_index, to_world

BODY_RADIUS_MM = 6.0
HIT_RATE = 0.8
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
    largest ball that fits, so that the result is never empty. Grids much finer than 1 mm are sampled at about 1 mm.

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


@dataclass(frozen=True)
class Annotation:
    """Points from a centroid file.

    Attributes:
        points_mm: label value -> world RAS mm.
        frame: how the file's numbers were understood: "voxel", "verse19" or "verse20".
        hit_rate: share of the labels (C1 excluded) whose point lies in or within 5 mm of the label.
    """

    points_mm: dict[int, tuple[float, float, float]]
    frame: str
    hit_rate: float


def read_points(path: str | Path) -> tuple[str, dict[int, np.ndarray]]:
    """The numbers of a VerSe centroid file of any variant, as they stand.

    Accepts a list, or an object that holds one; keys in any case; labels as numbers or numeric text; the direction
    element missing or anywhere. Points with NaN are dropped; of two points for a label the first counts.

    Returns:
        Axis codes of the direction element ("" where there is none), and label value -> (3,) numbers.

    Raises:
        InputError: not JSON, or no list of points in it.
    """
    codes, points = "", {}
    for item in _elements(read_json(path), path):
        item = {str(key).lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
        if "direction" in item:
            codes = "".join(item["direction"]).upper()
        try:
            label, xyz = float(item["label"]), np.array([float(item[axis]) for axis in "xyz"])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(xyz).all() and label == int(label):
            points.setdefault(int(label), xyz)
    if codes and sorted(codes.translate(str.maketrans("RPI", "LAS"))) != ["A", "L", "S"]:
        codes = ""
    return codes, points


def _elements(content: object, path: str | Path) -> list:
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list) and value]
        direction = [{"direction": content["direction"]}] if "direction" in content else []
        points = [value for value in lists if isinstance(value[0], dict)]
        if points:
            return direction + points[0]
    raise InputError("no list of centroids", "restore the file, or remove it: centroids come from the mask", path)


def frames(
    codes: str, points: Mapping[int, np.ndarray], shape: tuple[int, ...], affine: np.ndarray
) -> dict[str, dict[int, np.ndarray]]:
    """Every understanding of a file's numbers, as voxel indices of the image (0-based, integer = voxel centre).

    "voxel" are indices along the array axes, reoriented from `codes` where given (subject-based files); "verse19" and
    "verse20" are millimetres from the superior-anterior-right and the anterior-superior-left faces (challenge files).
    """
    own = axis_codes(affine)
    spacing = spacing_mm(affine)
    out = {"voxel": {}, "verse19": {}, "verse20": {}}
    for label, xyz in points.items():
        out["voxel"][label] = _from_faces(xyz, codes or own, own, shape, np.ones(3))
        out["verse19"][label] = _from_faces(xyz, "IPL", own, shape, spacing)
        out["verse20"][label] = _from_faces(xyz, "PIR", own, shape, spacing)
    return out


def _from_faces(xyz: np.ndarray, codes: str, own: str, shape: tuple[int, ...], step: np.ndarray) -> np.ndarray:
    """Distances along the directions `codes`, counted from the opposite faces -> indices on a grid with codes `own`."""
    source = nib.orientations.axcodes2ornt(codes)
    target = nib.orientations.axcodes2ornt(own)
    index = np.empty(3)
    for axis in range(3):
        position = int(np.flatnonzero(source[:, 0] == target[axis, 0])[0])
        value = xyz[position] / step[axis]
        index[axis] = value if source[position, 1] == target[axis, 1] else shape[axis] - 1 - value
    return index


def read_annotation(
    path: str | Path,
    labels: np.ndarray,
    affine: np.ndarray,
    centroids: Mapping[int, Centroid],
    *,
    ring_labels: Iterable[int] = (1,),
) -> Annotation:
    """Read a VerSe centroid file and find the frame of its numbers by holding them against the mask.

    Args:
        path: the file.
        labels: 3-D mask with the label values of the file.
        affine: of the mask and the image, RAS mm.
        centroids: of the mask, to break ties.
        ring_labels: not asked for a hit: C1's point lies inside its ring.

    Raises:
        InputError: no points, or in no frame do 80 % of them lie at their vertebra.
    """
    codes, points = read_points(path)
    if not points:
        raise InputError("no centroids in the file", "restore it, or remove it: centroids come from the mask", path)
    scores = {}
    for frame, indices in frames(codes, points, labels.shape, affine).items():
        asked = [label for label in indices if label in centroids and label not in ring_labels]
        hits = [_near(labels, label, indices[label], affine) for label in asked]
        away = [np.linalg.norm(to_world(affine, indices[a]) - centroids[a].mask_mm) for a in asked]
        # Without a label to ask, a file with a direction element is taken at its word.
        rate = float(np.mean(hits)) if hits else float(frame == "voxel" and bool(codes))
        scores[frame] = (rate, -float(np.mean(away)) if away else 0.0)
    frame = max(scores, key=scores.get)
    if scores[frame][0] < HIT_RATE:
        raise InputError(
            f"the centroids fit the mask in no known frame (best: {100 * scores[frame][0]:.0f} %, {frame})",
            "check the file; the centroids of the mask are used",
            path,
        )
    world = {
        label: tuple(to_world(affine, index).tolist())
        for label, index in frames(codes, points, labels.shape, affine)[frame].items()
    }
    return Annotation(world, frame, scores[frame][0])


def _near(labels: np.ndarray, value: int, index: np.ndarray, affine: np.ndarray, distance_mm: float = 5.0) -> bool:
    """Whether a voxel of the label lies within a distance; a whole-mask centroid may lie in the spinal canal."""
    spacing = spacing_mm(affine)
    low = np.maximum(np.ceil(index - distance_mm / spacing), 0).astype(int)
    high = np.minimum(np.floor(index + distance_mm / spacing), np.array(labels.shape) - 1).astype(int)
    if (high < low).any():
        return False
    hits = np.argwhere(labels[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] == value) + low
    return bool(hits.size) and bool((np.linalg.norm((hits - index) * spacing, axis=1) <= distance_mm).any())


def to_voxel(affine: np.ndarray, point_mm: Iterable[float]) -> np.ndarray:
    """World mm -> rounded voxel index, int (3,)."""
    return np.rint(to_index(affine, np.asarray(list(point_mm), float))).astype(int)
