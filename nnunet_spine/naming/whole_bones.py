"""Find the bones of a mask, name them by their chain, write the names on whole bones.

The outline of a mask stays as it is: only names change. `relabel` corrects a mask and leaves it alone where the
evidence does not carry a change; `name_bones` names a fresh prediction, always, and says how sure it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID
from nnunet_spine.instances import Bone, Bones, find_bones
from nnunet_spine.labelling import Labelling, label_vertebrae
from nnunet_spine.naming.surroundings import look_around
from nnunet_spine.naming.witness import anchors, detections

SURE = 0.5
"""Probability that all names are right, from which a mask is changed."""

NAMES_ALONE = "only the mask's own names tell the levels, and all may be shifted"
_FEWEST_VOXELS = 0.02  # of a bone, from which a second name in it is said

Scan = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class NamedBone:
    """One bone of a mask before and after.

    Attributes:
        bone: the bone.
        names: level -> share of its voxels that carried the name, most first; empty where labels are no names.
        name: the level it has now; None where it has none: it is then not in the map.
        probability: of that name; None where nothing was decided.
        runner_up: the next best level, None for "not a vertebra".
        margin: probability minus that of the runner-up.
    """

    bone: Bone
    names: Mapping[str, float]
    name: str | None
    probability: float | None
    runner_up: str | None
    margin: float | None

    @property
    def changed(self) -> bool:
        """Whether the bone is called otherwise, or carried a second name."""
        return dict(self.names) != ({self.name: 1.0} if self.name else {})


@dataclass(frozen=True)
class Relabelled:
    """A mask with one name per bone.

    Attributes:
        labels: nnU-Net ids, uint8; the array that came in where nothing changed.
        bones: from head to foot.
        changes: one sentence per bone or piece that changed.
        unsure: why the names were left as they were; "" where they were decided.
        labelling: the decision; None where there was nothing to decide.
        loose_voxels: voxels of pieces that belong to no bone, which are removed.
    """

    labels: np.ndarray
    bones: tuple[NamedBone, ...]
    changes: tuple[str, ...]
    unsure: str
    labelling: Labelling | None
    loose_voxels: int = 0


def relabel(
    labels: np.ndarray,
    affine: np.ndarray,
    *,
    named: bool = True,
    scan: Scan | None = None,
    normal: bool = False,
    sure: float = SURE,
) -> Relabelled:
    """Give every bone of a mask one name that fits its neighbours.

    >>> mask = np.zeros((24, 24, 66), np.uint8)
    >>> for level, top in ((20, 44), (21, 22), (22, 0)):  # L1 to L3, L1 on top
    ...     mask[4:20, 4:20, top : top + 18] = level
    >>> mask[4:20, 4:12, 22:40] = 22  # half of L2 is called L3
    >>> [bone.name for bone in relabel(mask, np.diag([1.5, 1.5, 1.5, 1.0])).bones]
    ['L1', 'L2', 'L3']

    Args:
        labels: 3-D uint8; nnU-Net ids, or any numbers where they are no names.
        affine: 4 x 4, RAS mm.
        named: whether the labels are names; plain instances or a binary spine are not, and only their spacing speaks.
        scan: the CT, Hounsfield units, with its affine; its grid may be another one. Ribs and a sacrum in it speak too.
        normal: only spines of 12 thoracic and 5 lumbar levels.
        sure: probability that all names are right, from which they are written.

    Returns:
        An unchanged mask where it is right, empty, or where nothing can be told.
    """
    bones = find_bones(labels, affine)
    if not bones.bones:
        return Relabelled(labels, (), (), "no vertebra in the mask", None)
    kind = "vertebrae" if named else "spine"
    labelling = _decide(bones, affine, kind, scan, normal)
    decided = _named(bones, labelling, kind)
    if unsure := _doubt(decided, labelling, named, sure):
        kept = tuple(replace(bone, name=_most(bone.names)) for bone in decided)
        return Relabelled(labels, kept, (), unsure, labelling)
    return _result(labels, bones, decided, labelling, named)


def name_bones(
    labels: np.ndarray,
    affine: np.ndarray,
    *,
    kind: str = "vertebrae",
    scan: Scan | None = None,
    normal: bool = False,
) -> Relabelled:
    """Name every bone of a fresh prediction as well as can be; how sure that is stands in the result's labelling.

    What is no vertebra (a sacrum that was taken for one, a false detection) leaves the map and has no name.

    >>> mask = np.zeros((24, 24, 66), np.uint8)
    >>> for region, top in ((2, 44), (3, 22), (3, 0)):
    ...     mask[4:20, 4:20, top : top + 18] = region
    >>> [bone.name for bone in name_bones(mask, np.diag([1.5, 1.5, 1.5, 1.0]), kind="regions").bones]
    ['T12', 'L1', 'L2']

    Args:
        labels: 3-D uint8: nnU-Net ids, regions (1 cervical, 2 thoracic, 3 lumbar), or a spine or plain instances.
        affine: 4 x 4, RAS mm.
        kind: "vertebrae", "regions" or "spine": what the labels say.
        scan: see `relabel`.
        normal: only spines of 12 thoracic and 5 lumbar levels.
    """
    bones = find_bones(labels, affine)
    if not bones.bones:
        return Relabelled(np.zeros_like(labels), (), (), "no vertebra in the mask", None)
    labelling = _decide(bones, affine, kind, scan, normal)
    return _result(labels, bones, _named(bones, labelling, kind), labelling, kind == "vertebrae")


def _decide(bones: Bones, affine: np.ndarray, kind: str, scan: Scan | None, normal: bool) -> Labelling:
    around = None if scan is None else look_around(bones, affine, *scan)
    seen = detections(bones.bones, kind, around)
    labelling = label_vertebrae(seen, method="rules", normal=normal, in_order=True)
    labelling = replace(labelling, names=labelling.names[: len(bones.bones)])  # without the sacrum that was seen
    if kind == "vertebrae" and not labelling.ambiguous and not anchors(bones.bones, labelling, around):
        return replace(labelling, ambiguous=NAMES_ALONE)
    return labelling


def _named(bones: Bones, labelling: Labelling, kind: str) -> list[NamedBone]:
    """Bones with their names; one that is no vertebra is a part of its neighbour where it carries that one's name."""
    names = [name.name for name in labelling.names]
    out = []
    for i, (bone, n) in enumerate(zip(bones.bones, labelling.names, strict=True)):
        carried = _names(bone) if kind == "vertebrae" else {}
        name = n.name if n.name in BY_NAME else None
        if n.name is None and _most(carried) in (*names[max(0, i - 1) : i], *names[i + 1 : i + 2]):
            name = _most(carried)
        out.append(NamedBone(bone, carried, name, n.probability, n.runner_up, n.margin))
    return out


def _result(
    labels: np.ndarray, bones: Bones, decided: list[NamedBone], labelling: Labelling, named: bool
) -> Relabelled:
    right = named and not any(bone.changed for bone in decided)
    changes = [_sentence(b) for b in decided if b.changed or not named]
    loose = 0 if right else sum(count for count, _ in bones.loose)
    if loose:
        changes.append(f"{loose} voxels in {len(bones.loose)} pieces that belong to no bone: removed")
    out = _write(labels, bones, decided) if changes else labels
    return Relabelled(out, tuple(decided), tuple(changes), "", labelling, loose)


def _names(bone: Bone) -> dict[str, float]:
    total = sum(bone.votes.values())
    shares = {BY_NNUNET_ID[v].name: c / total for v, c in bone.votes.items() if v in BY_NNUNET_ID}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _most(names: Mapping[str, float]) -> str | None:
    return next(iter(names), None)


def _doubt(decided: list[NamedBone], labelling: Labelling, named: bool, sure: float) -> str:
    """Why the names should not be written; "" where they should."""
    if not named and labelling.ambiguous:
        return labelling.ambiguous
    if named and not any(bone.changed for bone in decided):
        return ""
    if labelling.probability is not None and labelling.probability < sure:
        return f"all names are right with probability {labelling.probability:.2f} only"
    if odd := [str(bone.bone.number) for bone in decided if bone.name is None]:
        return f"bone {', '.join(odd)} (from head to foot) is no vertebra, or has no level that fits"
    return ""


def _sentence(bone: NamedBone) -> str:
    had = ", ".join(f"{name} {share:.0%}" for name, share in bone.names.items() if share >= _FEWEST_VOXELS)
    return f"{had or f'bone {bone.bone.number}'}: {bone.name or 'no vertebra, removed'}"


def _write(labels: np.ndarray, bones: Bones, decided: list[NamedBone]) -> np.ndarray:
    lookup = np.zeros(256, np.uint8)
    for bone in decided:
        lookup[bone.bone.number] = BY_NAME[bone.name].nnunet_id if bone.name else 0
    out = np.empty_like(labels, dtype=np.uint8)
    for k in range(labels.shape[2]):
        out[..., k] = lookup[bones.instances[..., k]]
    return out
