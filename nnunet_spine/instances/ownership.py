"""To which bone each piece of a label map belongs, and which pieces are cut."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry
from nnunet_spine.instances.fragments import Fragments
from nnunet_spine.instances.scene import Scene, filled_between, middle_of

_HOLDS = 0.25  # share of a core that makes a piece part of the bone
_FOREIGN = 0.18  # of another bone's territory, from which what a piece holds of it is cut off, if the bone lacks it
_COMPLETE = 0.8  # of a bone's territory, from which its own pieces are all of it
_SHARE = 0.2  # of a piece without a core, from which it is divided
_GAP = 0.6  # filling of the disc below which two cores are apart
_DENS_GAP = 0.35  # the same for the two topmost cores: the dens of C2 fills less of the disc than its body
_OWN_VOLUME = 0.2  # of the median of the nearest bones, from which a piece without a core may be one of its own
_NEAREST = 3  # bones beside a piece, whose size counts: a cervical vertebra is a quarter of a lumbar one
_OUTER = 0.2  # of the first or last interval, from its middle outwards: beyond, a sliver may be the next bone
_FARTHEST_MM = 75.0  # from the line to a piece of a vertebra; what lies beyond is of a rib or the pelvis
_ATLAS = 0.6  # of the topmost interval, where a ring without a core may lie
_BESIDE = (-0.1, 0.5)  # where the middle of a bone's loose arch may lie, in heights above its top and below its bottom


@dataclass(frozen=True)
class Owners:
    """Who gets what.

    Attributes:
        bone: bone of each piece that stays whole (cores count from 1, bones without a core from -1 downwards); None
            where it belongs to none.
        cuts: for each piece that is divided: territory -> core that gets it.
    """

    bone: dict[int, int | None]
    cuts: dict[int, dict[int, int]]


def find_owners(scene: Scene, fragments: Fragments, voxel_mm3: float, crumb_mm3: float, edge: set[int]) -> Owners:
    """Decide on every piece of a label map; the rules stand in `bones`.

    Args:
        scene: the map on the working grid.
        fragments: its pieces on its own grid.
        voxel_mm3: volume of a voxel of that grid.
        crumb_mm3: smaller pieces found no bone.
        edge: pieces that reach a face of the volume.
    """
    n_pieces, n_cores = len(fragments.labels), len(scene.intervals)
    held = _count(scene.ids, scene.cores, n_pieces, n_cores)
    land = _count(scene.ids, scene.territories, n_pieces, n_cores)
    slivers = _slivers(scene, fragments, crumb_mm3 / voxel_mm3, edge)
    found = _by_cores(scene, fragments, held, land, slivers)
    names = _names_of_bones(found, fragments, held)
    working = np.maximum(land.sum(1), 1)
    volumes = land.sum(0)[1:] * scene.grid.step_mm**3 / voxel_mm3
    left = set(range(1, n_pieces)) - found.bone.keys() - found.cuts.keys()
    for piece in sorted(left, key=lambda p: -fragments.voxels[p]):
        if scene.away_mm[piece] > _FARTHEST_MM:
            found.bone[piece] = None
            continue
        bone = _beside_its_name(piece, scene, fragments, names)
        large = fragments.voxels[piece] >= _OWN_VOLUME * _usual_volume(piece, scene, volumes)
        enough = large and _outside_the_chain(piece, scene)
        if bone is None and fragments.labels[piece] not in names and (enough or piece in slivers):
            bone = min((b for b in found.bone.values() if b is not None), default=0)
            bone = min(bone, 0) - 1
            names[int(fragments.labels[piece])] = {bone}
        no_crumb = fragments.voxels[piece] * voxel_mm3 >= crumb_mm3
        if bone is None and land[piece].any():
            parts = np.flatnonzero(land[piece] >= _SHARE * working[piece]).tolist()
            if len(parts) > 1 and no_crumb:
                found.cuts[piece] = {k: k for k in parts}
                continue
            bone = int(land[piece].argmax())
        if bone is None and no_crumb:
            bone = _nearest_bone(piece, scene, found)
        found.bone[piece] = bone
    return found


def _usual_volume(piece: int, scene: Scene, volumes: np.ndarray) -> float:
    """Median volume (voxels) of the bones nearest along the line; infinite where there are none."""
    if not scene.intervals:
        return np.inf
    at_mm = 0.0 if np.isnan(scene.line_mm[piece]) else scene.line_mm[piece]
    nearest = np.argsort([abs(i.middle_mm - at_mm) for i in scene.intervals])[:_NEAREST]
    return float(np.median(volumes[nearest]))


def _slivers(scene: Scene, fragments: Fragments, crumb_voxels: float, edge: set[int]) -> set[int]:
    """Pieces that may be what the field of view leaves of a bone: at an end, at a face, the only one of their name."""
    names, counts = np.unique(fragments.labels[1:], return_counts=True)
    single = set(names[counts == 1].tolist())
    return {
        piece
        for piece in edge
        if fragments.labels[piece] in single and fragments.voxels[piece] >= crumb_voxels and _at_an_end(piece, scene)
    }


def _by_cores(scene: Scene, fragments: Fragments, held: np.ndarray, land: np.ndarray, slivers: set[int]) -> Owners:
    """The pieces that hold cores, and what is cut off them because another bone lacks it."""
    size, working = np.maximum(held.sum(0), 1), np.maximum(land.sum(1), 1)
    holders: dict[int, dict[int, int]] = {}
    for piece in np.flatnonzero(held.any(1)).tolist():
        holds = np.flatnonzero((held[piece] >= _HOLDS * size) & (held[piece] > 0)).tolist()
        if main := [k for k in holds if held[piece, k] >= 0.5 * size[k]]:
            holds = main  # a smaller share of another core is left to what that bone lacks
        if not holds and held[piece].max() >= 0.5 * working[piece] and piece not in slivers:
            holds = [int(held[piece].argmax())]
        if holds:
            holders[piece] = _joined(holds, scene, fragments)
    owned = np.zeros(held.shape[1])
    for piece, gets in holders.items():
        for territory, bone in gets.items():
            owned[bone] += land[piece, territory]
    lacking = owned < _COMPLETE * land.sum(0)
    found = Owners({}, {})
    for piece, gets in holders.items():
        foreign = np.flatnonzero(lacking & (land[piece] >= _FOREIGN * land.sum(0)) & (land[piece] > 0)).tolist()
        gets.update((k, k) for k in foreign if k not in gets)
        if len(set(gets.values())) > 1:
            found.cuts[piece] = gets
        else:
            found.bone[piece] = next(iter(gets.values()))
    return found


def _count(ids: np.ndarray, values: np.ndarray, n_pieces: int, n_cores: int) -> np.ndarray:
    """Working voxels of each piece by core, (n_pieces, n_cores + 1); column 0 counts those of none."""
    inside = ids > 0
    flat = ids[inside].astype(np.int64) * (n_cores + 1) + values[inside]
    return np.bincount(flat, minlength=n_pieces * (n_cores + 1)).reshape(n_pieces, n_cores + 1) * [0, *[1] * n_cores]


def _joined(cores: list[int], scene: Scene, fragments: Fragments) -> dict[int, int]:
    """Of the cores in one piece, which are the same bone: core -> the lowest core of its bone (of C2, its body)."""
    only_label = len(set(fragments.labels[1:].tolist())) == 1
    groups = [[cores[0]]]
    for previous, core in pairwise(cores):
        above, below = scene.intervals[previous - 1], scene.intervals[core - 1]
        gap = filled_between(scene.profile, above.stop_mm - 4, below.start_mm + 4).min()
        body = min(np.median(filled_between(scene.profile, *middle_of(i))) for i in (above, below))
        least = _DENS_GAP if previous <= 2 else _GAP
        if only_label or gap < least * body or core - previous > 1:
            groups.append([])
        groups[-1].append(core)
    return {core: group[-1] for group in groups for core in group}


def _names_of_bones(found: Owners, fragments: Fragments, held: np.ndarray) -> dict[int, set[int]]:
    """Label -> bones whose core it fills most."""
    out: dict[int, set[int]] = {}
    for core in range(1, held.shape[1]):
        pieces = [p for p, bone in found.bone.items() if bone == core]
        pieces += [p for p, gets in found.cuts.items() if core in gets]
        if pieces:
            votes: dict[int, float] = {}
            for p in pieces:
                votes[int(fragments.labels[p])] = votes.get(int(fragments.labels[p]), 0) + held[p, core]
            out.setdefault(max(votes, key=votes.get), set()).add(core)
    return out


def _beside_its_name(piece: int, scene: Scene, fragments: Fragments, names: dict[int, set[int]]) -> int | None:
    """The bone of a piece's name, if the piece lies where the arch of that bone may lie."""
    for core in sorted(names.get(int(fragments.labels[piece]), ())):
        if core < 0:
            return core
        interval = scene.intervals[core - 1]
        place = (scene.line_mm[piece] - interval.start_mm) / interval.length_mm
        if _BESIDE[0] <= place <= 1 + _BESIDE[1]:
            return core
    return None


def _outside_the_chain(piece: int, scene: Scene) -> bool:
    """Whether a piece lies above, below or in a gap of the chain."""
    at_mm = scene.line_mm[piece]
    if not scene.intervals or np.isnan(at_mm):
        return True
    top = scene.intervals[0]
    if at_mm < top.start_mm + _ATLAS * top.length_mm:
        return True  # the ring of C1 lies around the dens
    return not any(i.start_mm <= at_mm < i.stop_mm for i in scene.intervals)


def _at_an_end(piece: int, scene: Scene) -> bool:
    """Whether a piece lies in the outer part of the first or the last interval, or beyond."""
    at_mm = scene.line_mm[piece]
    if not scene.intervals or np.isnan(at_mm):
        return True
    top, bottom = scene.intervals[0], scene.intervals[-1]
    reach = _OUTER
    return at_mm < top.middle_mm - reach * top.length_mm or at_mm > bottom.middle_mm + reach * bottom.length_mm


def _nearest_bone(piece: int, scene: Scene, found: Owners) -> int | None:
    """The bone within 5 mm of a piece that touches none."""
    own = scene.ids == piece
    box = geometry.bounding_box(own)
    if box is None:
        return None
    reach = int(np.ceil(5.0 / scene.grid.step_mm))
    wide = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
    around = ndimage.binary_dilation(own[wide], iterations=reach)
    near = scene.ids[wide][around & ~own[wide]]
    counts = np.bincount(near[near > 0])
    for other in np.argsort(-counts)[: np.count_nonzero(counts)].tolist():
        if found.bone.get(other) is not None:
            return found.bone[other]
        if other in found.cuts:
            at_mm = scene.line_mm[piece]
            return min(found.cuts[other].values(), key=lambda core: abs(scene.intervals[core - 1].middle_mm - at_mm))
    return None
