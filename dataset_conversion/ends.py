"""The ends of what is labelled in a scan: vertebrae that the field of view cuts, and what lies beyond the last ones.

Data sets differ here. VerSe leaves vertebrae in background that are not whole, CTSpine1K and TotalSegmentator label
them, CSI2014 and xVertSeg label a fixed range and leave its neighbours in background, whole as they are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import edt
import numpy as np

from nnunet_spine.anatomy import sort_cranio_caudal
from nnunet_spine.dataset_conversion.examine import Bones, Examined
from nnunet_spine.dataset_conversion.label_sets import spans
from nnunet_spine.dataset_conversion.sources import Grid
from nnunet_spine.geometry import spacing_mm

CRANIAL, CAUDAL = "cranial", "caudal"
SHELL_MM = 2.0
"""Background that stays around labelled bone, so that its outline is learned; about half a joint space."""

_NEIGHBOURS = 2  # levels over which the direction of the spine is taken at its ends
_NOTHING_BEYOND = {CRANIAL: {"C1"}, CAUDAL: {"L5", "L6"}}  # skull and sacrum are background in every data set


@dataclass(frozen=True)
class End:
    """One end of the labelled spine.

    Attributes:
        side: "cranial" or "caudal".
        level: the last labelled vertebra.
        point_mm: its centroid, RAS.
        outward: unit vector along the spine, away from the labelled part.
    """

    side: str
    level: str
    point_mm: np.ndarray
    outward: np.ndarray


def ends_of(points_mm: Mapping[str, Sequence[float]]) -> tuple[End, ...]:
    """Both ends of the labelled spine; none where nothing is labelled.

    Args:
        points_mm: level name -> centroid, RAS. A single vertebra has the directions of the world's z axis.
    """
    names = sort_cranio_caudal(points_mm)
    if not names:
        return ()
    points = np.array([points_mm[name] for name in names], float)
    out = []
    for side, order in ((CRANIAL, points), (CAUDAL, points[::-1])):
        along = order[0] - order[min(_NEIGHBOURS, len(order) - 1)]
        length = float(np.linalg.norm(along))
        up = np.array([0.0, 0.0, 1.0 if side == CRANIAL else -1.0])
        out.append(End(side, names[0 if side == CRANIAL else -1], order[0], along / length if length > 0 else up))
    return tuple(out)


def open_ends(points_mm: Mapping[str, Sequence[float]]) -> tuple[End, ...]:
    """Those ends beyond which there may be vertebrae: above C1 is the skull, below L5 and L6 the sacrum."""
    return tuple(end for end in ends_of(points_mm) if end.level not in _NOTHING_BEYOND[end.side])


def cut_levels(
    boxes: Mapping[str, tuple[slice, slice, slice]], grid: Grid, points_mm: Mapping[str, Sequence[float]]
) -> dict[str, str]:
    """Vertebrae that reach the face of the volume through which the spine leaves it: name -> "cranial" or "caudal".

    Processes that a narrow field of view cuts at its sides do not count.

    Args:
        boxes: level name -> bounding box in the mask.
        grid: of the mask.
        points_mm: level name -> centroid, RAS.
    """
    axes = np.asarray(grid.affine, float)[:3, :3] / spacing_mm(grid.affine)
    found = {}
    for end in ends_of(points_mm):
        cosines = end.outward @ axes
        axis = int(np.argmax(np.abs(cosines)))
        high = cosines[axis] > 0
        for name, box in boxes.items():
            if box[axis].stop == grid.shape[axis] if high else box[axis].start == 0:
                found.setdefault(name, end.side)
    return {name: found[name] for name in sort_cranio_caudal(found)}


def mark_beyond(labels: np.ndarray, grid: Grid, end: End, value: int, ignored: Collection[int] = ()) -> int:
    """Give the background beyond one end of the labelled spine a value, in place.

    Beyond is what lies past the plane through the last vertebra's centroid, across the spine, and more than 2 mm from
    any label: processes and joints of the next vertebra reach down beside the body of the last one.

    Args:
        labels: 3-D uint8.
        grid: of the mask.
        end: which.
        value: to be given.
        ignored: values that are no bone, beside `value`.

    Returns:
        Number of voxels.
    """
    affine, spacing = np.asarray(grid.affine, float), spacing_mm(grid.affine)
    slope = end.outward @ affine[:3, :3]  # mm along the spine per voxel
    start = float(end.outward @ (affine[:3, 3] - end.point_mm))
    plane = start + slope[0] * np.arange(labels.shape[0])[:, None] + slope[1] * np.arange(labels.shape[1])
    is_bone = np.ones(256, bool)
    is_bone[[0, value, *ignored]] = False
    seen = [np.zeros(n, bool) for n in labels.shape]  # where there is bone beyond the plane, along each axis
    count = 0
    for k in range(labels.shape[2]):
        beyond, view = plane + slope[2] * k > 0, labels[..., k]
        if (bone := beyond & is_bone[view]).any():
            seen[0] |= bone.any(1)
            seen[1] |= bone.any(0)
            seen[2][k] = True
        free = beyond & (view == 0)
        view[free] = value
        count += int(np.count_nonzero(free))
    if seen[2].any():
        margin = np.ceil(2 * SHELL_MM / spacing).astype(int)
        where = [np.flatnonzero(along) for along in seen]
        near = tuple(slice(max(0, i[0] - m), i[-1] + 1 + m) for i, m in zip(where, margin, strict=True))
        part = labels[near]
        distance = edt.edt(np.asfortranarray(~is_bone[part]), anisotropy=tuple(spacing), parallel=1)
        shell = (part == value) & (distance <= SHELL_MM)
        part[shell] = 0
        count -= int(np.count_nonzero(shell))
    return count


def treat_ends(seen: Examined, border: str, unlabelled: str) -> Examined:
    """A scan whose cut vertebrae and surroundings are treated as the user wants; its mask is changed in place.

    Args:
        seen: the scan.
        border: of vertebrae that are cut by the field of view: "keep", "drop" (background) or "ignore".
        unlabelled: of what lies beyond the labelled vertebrae: "background" or "ignore".
    """
    if seen.bones.mask is None or seen.grid is None:
        return seen
    boxes = {new: seen.bones.labels.boxes[old] for old, new in seen.renamed.items()}
    points_mm = {new: seen.bones.measured[old].mask_mm for old, new in seen.renamed.items()}
    cut = cut_levels(boxes, seen.grid, points_mm)
    flags = [f"cut by the field of view: {spans([*cut])}, {_done(border)}"] if cut else []
    ends = open_ends(points_mm)
    seen = replace(seen, border=tuple(cut))
    if unlabelled == "ignore" and (beyond := _ignore_beyond(seen, ends)):
        flags.append(f"ignored beyond {', '.join(beyond)}")
    if cut and border != "keep":
        seen = _without(seen, [old for old, new in seen.renamed.items() if new in cut], border)
    return replace(seen, flags=(*seen.flags, *flags))


def _done(border: str) -> str:
    return {"keep": "kept", "drop": "made background", "ignore": "ignored"}[border]


def _ignore_beyond(seen: Examined, ends: Sequence[End]) -> list[str]:
    mask, labels = seen.bones.mask, seen.bones.labels
    value = next(v for v in range(255, 0, -1) if v not in {*labels.values.values(), *labels.ignored})
    beyond = [end.level for end in ends if mark_beyond(mask.array, seen.grid, end, value, labels.ignored)]
    if beyond:
        labels.ignored.append(value)
        mask.box = tuple(slice(0, n) for n in mask.array.shape)
    return beyond


def _without(seen: Examined, names: Sequence[str], how: str) -> Examined:
    """The scan without some of its vertebrae, by their names in the sources."""
    labels, mask = seen.bones.labels, seen.bones.mask
    for name in names:
        value, box = labels.values.pop(name), labels.boxes.pop(name)
        if how == "ignore":
            labels.ignored.append(value)
        else:
            part = mask.array[box]
            part[part == value] = 0
    measured = {name: point for name, point in seen.bones.measured.items() if name not in names}
    bones: Bones = replace(seen.bones, measured=measured)
    return replace(seen, bones=bones, renamed={old: new for old, new in seen.renamed.items() if old not in names})
