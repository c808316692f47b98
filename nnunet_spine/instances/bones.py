"""Bones from a label map: the vertebrae along the centre line, and to which of them each piece of the map belongs.

1. On an isotropic grid the centre line through the bodies is found (`centre_line`), cross-sections along it are read
   (`profile`), and an exact chain says where each vertebra begins and ends (`chain`).
2. The middle of each interval is the core of a bone. A connected piece of one label that holds a large part of one core
   belongs to that bone; pieces that share a core are one bone, though they carry different names.
3. A piece that holds several cores is cut between them, each voxel to the core with the shortest way through the mask
   (`territory`); so is a piece that holds a large part of another bone which lacks it. It stays whole where the mask
   shows no gap between two cores of one name: the dens of C2.
4. A piece without a core (an arch that hangs on nothing, the rest of a bone) goes to the bone of its name if it lies
   beside it, else to the bone with the shortest way to it. With a name that no bone has it is a bone of its own where
   the chain has none: a large piece (C1), or what the field of view leaves of a vertebra. Crumbs apart are loose,
   and so is what lies far from the line.

Pieces are decided as a whole, so the outline of the bones stays that of the mask, voxel for voxel.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry
from nnunet_spine.instances.fragments import Fragments, find_fragments
from nnunet_spine.instances.grid import grid_around
from nnunet_spine.instances.ownership import Owners, find_owners
from nnunet_spine.instances.scene import Scene

CRUMB_MM3 = 100.0
MOST_BONES = 60  # more is noise, not a spine


@dataclass(frozen=True)
class Bone:
    """One vertebra, whatever it is called.

    Attributes:
        number: value in the instance map, 1 at the top.
        body_mm: centre of the body on the centre line, or of all its voxels where the line does not meet it; RAS mm.
        height_mm: length of its stretch of the line, disc included; None without a core.
        volume_mm3: of all its voxels.
        votes: label value -> voxels of the bone that carry it.
        core_votes: the same around its body's centre; empty without a core.
        cut: whether it reaches a face of the volume, so that part of it may be out of view.
    """

    number: int
    body_mm: tuple[float, float, float]
    height_mm: float | None
    volume_mm3: float
    votes: dict[int, int]
    core_votes: dict[int, int]
    cut: bool


@dataclass(frozen=True)
class Bones:
    """The bones of a label map.

    Attributes:
        instances: number of the bone of each voxel, uint8, 0 background; loose pieces are 0.
        bones: from top to bottom.
        loose: voxel count and label of each piece that belongs to no bone.
    """

    instances: np.ndarray
    bones: tuple[Bone, ...]
    loose: tuple[tuple[int, int], ...] = ()


def find_bones(labels: np.ndarray, affine: np.ndarray, *, crumb_mm3: float = CRUMB_MM3) -> Bones:
    """Vertebrae of a label map as instances.

    >>> mask = np.zeros((20, 20, 44), np.uint8)
    >>> mask[2:18, 2:18, 24:42] = 20
    >>> mask[2:18, 2:18, 2:20] = 21
    >>> mask[2:18, 2:9, 2:20] = 20  # half of the lower body carries the upper one's name
    >>> [sorted(bone.votes) for bone in find_bones(mask, np.diag([1.5, 1.5, 1.5, 1.0])).bones]
    [[20], [20, 21]]

    Args:
        labels: 3-D unsigned integers, 0 background: levels, regions, a spine, or instances; names may be wrong, several
            in one bone, or one in several bones.
        affine: 4x4, RAS mm.
        crumb_mm3: pieces below this size that touch no bone are loose.

    Returns:
        Empty for an empty map. What is no spine gives bones too; whether they can be named is for the labelling to say.
    """
    box = geometry.bounding_box(labels)
    if box is None:
        return Bones(np.zeros(labels.shape, np.uint8), ())
    part, part_affine = labels[box], np.array(affine, float)
    part_affine[:3, 3] = geometry.to_world(affine, [s.start for s in box])
    voxel_mm3 = float(abs(np.linalg.det(part_affine[:3, :3])))
    fragments = find_fragments(part)
    grid = grid_around(tuple(slice(0, n) for n in part.shape), part_affine)
    scene = Scene.of(part, part_affine, fragments, grid)
    edge = _at_faces(fragments.ids, box, labels.shape)
    found = find_owners(scene, fragments, voxel_mm3, crumb_mm3, edge)
    numbers, order = _from_top_to_bottom(found, scene, fragments)
    out = np.zeros(labels.shape, np.uint8)
    inner = out[box]
    lookup = np.zeros(len(fragments.labels), np.uint8)
    for piece, bone in found.bone.items():
        lookup[piece] = numbers.get(bone, 0)
    for k in range(part.shape[2]):
        inner[..., k] = lookup[fragments.ids[..., k]]
    for piece, gets in found.cuts.items():
        _cut(inner, fragments, piece, {land: numbers.get(core, 0) for land, core in gets.items()}, scene, part_affine)
    loose = [
        (int(fragments.voxels[p]), int(fragments.labels[p]))
        for p in range(1, len(fragments.labels))
        if p not in found.cuts and found.bone.get(p) not in numbers
    ]
    return Bones(out, _describe(inner, part, part_affine, box, labels.shape, scene, order), tuple(loose))


def _from_top_to_bottom(found: Owners, scene: Scene, fragments: Fragments) -> tuple[dict[int, int], list[int]]:
    """Numbers from 1 of all bones that have a voxel, by position along the line."""
    used = {bone for bone in found.bone.values() if bone is not None}
    used |= {core for gets in found.cuts.values() for core in gets.values()}

    def position(bone: int) -> float:
        if bone > 0:
            return scene.intervals[bone - 1].middle_mm
        pieces = [p for p, b in found.bone.items() if b == bone]
        z = np.nonzero(scene.ids == max(pieces, key=lambda p: fragments.voxels[p]))[2]
        if scene.profile is None:
            return -float(z.mean())
        line_z = scene.profile.points[:, 2]
        if z.mean() > line_z[0] - 2 or np.isnan(scene.line_mm[pieces[0]]):
            return -1.0
        return float(scene.line_mm[pieces[0]])

    order = sorted(used, key=position)[:MOST_BONES]
    return {bone: k for k, bone in enumerate(order, start=1)}, order


def _cut(
    inner: np.ndarray, fragments: Fragments, piece: int, gets: dict[int, int], scene: Scene, affine: np.ndarray
) -> None:
    """Divide one piece, in place: each territory to the bone that gets it, others to the nearest that does.

    Args:
        gets: territory -> number of the bone.
    """
    own = scene.ids == piece
    box = geometry.bounding_box(own)
    lookup = np.zeros(len(scene.intervals) + 1, np.int32)
    lookup[list(gets)] = list(gets.values())
    parts = np.where(own[box], lookup[scene.territories[box]], 0)
    nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    parts = parts[tuple(nearest)]
    # every voxel of the piece takes the part of the working voxel it lies in
    for k in range(inner.shape[2]):
        here = np.argwhere(fragments.ids[..., k] == piece)
        if len(here):
            world = geometry.to_world(affine, np.column_stack([here, np.full(len(here), k)]))
            at = np.rint(scene.grid.index(world)).astype(int) - [s.start for s in box]
            inner[here[:, 0], here[:, 1], k] = parts[tuple(np.clip(at, 0, np.array(parts.shape) - 1).T)]


def _describe(
    inner: np.ndarray,
    part: np.ndarray,
    affine: np.ndarray,
    box: tuple[slice, slice, slice],
    shape: tuple[int, ...],
    scene: Scene,
    order: list[int],
) -> tuple[Bone, ...]:
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    n, top = len(order) + 1, int(part.max()) + 1
    votes = np.zeros((n, top), np.int64)
    sums = np.zeros((n, 3))
    for k in range(part.shape[2]):
        index = np.argwhere(inner[..., k])
        if len(index):
            numbers = inner[index[:, 0], index[:, 1], k].astype(np.int64)
            votes += np.bincount(numbers * top + part[index[:, 0], index[:, 1], k], minlength=n * top).reshape(n, top)
            for axis, values in enumerate((index[:, 0], index[:, 1], np.full(len(index), k))):
                sums[:, axis] += np.bincount(numbers, values, minlength=n)
    faces = _at_faces(inner, box, shape)
    out = []
    for number, bone in enumerate(order, start=1):
        total = int(votes[number].sum())
        middle = geometry.to_world(affine, sums[number] / max(total, 1))
        height, core_votes = None, {}
        if bone > 0:
            interval = scene.intervals[bone - 1]
            height = interval.length_mm
            at = int(np.clip(round(interval.middle_mm), 0, len(scene.profile.points) - 1))
            middle = geometry.to_world(scene.grid.affine, scene.profile.points[at])
            found, counts = np.unique(scene.labels[scene.cores == bone], return_counts=True)
            core_votes = {int(v): int(c) for v, c in zip(found, counts, strict=True) if v}
        own = {int(v): int(c) for v, c in enumerate(votes[number]) if c}
        out.append(Bone(number, tuple(middle.tolist()), height, total * voxel_mm3, own, core_votes, number in faces))
    return tuple(out)


def _at_faces(ids: np.ndarray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> set[int]:
    """Numbers that reach a face of the volume; `ids` fills the box of it."""
    out: set[int] = set()
    for axis in range(3):
        for reaches, at in ((box[axis].start == 0, 0), (box[axis].stop == shape[axis], -1)):
            if reaches:
                out |= set(np.unique(np.take(ids, at, axis)).tolist())
    return out - {0}
