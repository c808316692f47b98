"""Names for the bones of a mask: find the bones, name them by their chain, write the names on whole bones.

The outline of a mask stays as it is: only names change. Where the evidence does not carry a name the mask is left
alone and said to be unsure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID
from nnunet_spine.instances import Bone, Bones, find_bones
from nnunet_spine.labelling import Detection, Labelling, label_vertebrae

SURE = 0.5
"""Probability that all names are right, from which a mask is changed."""

_DOUBT = 0.1  # share of the evidence that is spread over the neighbours of the name a bone carries
_FEWEST_VOXELS = 0.02  # of a bone, from which a second name in it is said


@dataclass(frozen=True)
class NamedBone:
    """One bone of a mask before and after.

    Attributes:
        bone: the bone.
        names: level -> share of its voxels that carried the name, most first; plain instances carry none.
        name: the level it has now; None where it has none.
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
        return self.name is not None and dict(self.names) != {self.name: 1.0}


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
        normal: only spines of 12 thoracic and 5 lumbar levels.
        sure: probability that all names are right, from which they are written.

    Returns:
        An unchanged mask where it is right, empty, or where nothing can be told.
    """
    bones = find_bones(labels, affine)
    if not bones.bones:
        return Relabelled(labels, (), (), "no vertebra in the mask", None)
    detections = [_detection(bone, named) for bone in bones.bones]
    labelling = label_vertebrae(detections, method="rules", normal=normal, in_order=True)
    unsure = _doubt(bones, labelling, named, sure)
    decided = [
        NamedBone(bone, _names(bone, named), _now(bone, name.name, named, bool(unsure)), name.probability,
                  name.runner_up, name.margin)
        for bone, name in zip(bones.bones, labelling.names, strict=True)
    ]  # fmt: skip
    if unsure:
        return Relabelled(labels, tuple(decided), (), unsure, labelling)
    loose = 0 if named and _right(decided) else sum(count for count, _ in bones.loose)
    changes = (
        [_sentence(b) for b in decided if b.changed] if named else [f"bone {b.bone.number}: {b.name}" for b in decided]
    )
    if loose:
        changes.append(f"{loose} voxels in {len(bones.loose)} pieces that belong to no bone: removed")
    return Relabelled(_write(labels, bones, decided) if changes else labels, tuple(decided), tuple(changes), "",
                      labelling, loose)  # fmt: skip


def _detection(bone: Bone, named: bool) -> Detection:
    """A bone as the labelling sees it: where its body is, and which names its voxels carry."""
    levels = None
    if named:
        shares = _shares(bone)
        levels = {name: (1 - _DOUBT) * share for name, share in shares.items()}
        for name, share in shares.items():
            for other in _beside(name):
                levels[other] = levels.get(other, 0.0) + _DOUBT / 2 * share
    return Detection(bone.body_mm, levels=levels, completeness=0.5 if bone.cut else 1.0)


def _shares(bone: Bone) -> dict[str, float]:
    """Level -> share of the bone's names; voxels around the body's centre count as much as all others together."""
    total, core = sum(bone.votes.values()), sum(bone.core_votes.values())
    out: dict[str, float] = {}
    for votes, size in ((bone.votes, total), (bone.core_votes, core)):
        for value, count in votes.items():
            if value in BY_NNUNET_ID:
                name = BY_NNUNET_ID[value].name
                out[name] = out.get(name, 0.0) + count / size / (2 if core else 1)
    return out


def _beside(name: str) -> list[str]:
    order = [level for level in BY_NAME if level not in ("T13", "L6")]
    if name not in order:
        return {"T13": ["T12", "L1"], "L6": ["L5"]}[name]
    at = order.index(name)
    return order[max(0, at - 1) : at] + order[at + 1 : at + 2]


def _names(bone: Bone, named: bool) -> dict[str, float]:
    total = sum(bone.votes.values())
    if not named:
        return {}
    shares = {BY_NNUNET_ID[v].name: c / total for v, c in bone.votes.items() if v in BY_NNUNET_ID}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _now(bone: Bone, name: str | None, named: bool, unsure: bool) -> str | None:
    """The level that the bone carries in the result: what its voxels say most where nothing is decided."""
    if name is not None and name in BY_NAME and not unsure:
        return name
    names = _names(bone, named)
    return max(names, key=names.get) if names else None


def _doubt(bones: Bones, labelling: Labelling, named: bool, sure: float) -> str:
    """Why the names should not be written; "" where they should."""
    if not named and labelling.ambiguous:
        return labelling.ambiguous
    if named and _right([NamedBone(b, _names(b, True), n.name, None, None, None)
                         for b, n in zip(bones.bones, labelling.names, strict=True)]):  # fmt: skip
        return ""
    if labelling.probability is not None and labelling.probability < sure:
        return f"all names are right with probability {labelling.probability:.2f} only"
    if any(name.name is None or name.name not in BY_NAME for name in labelling.names):
        odd = [b.number for b, n in zip(bones.bones, labelling.names, strict=True) if n.name not in BY_NAME]
        return f"bone {', '.join(map(str, odd))} (from head to foot) is no vertebra, or has no level that fits"
    return ""


def _right(bones: list[NamedBone]) -> bool:
    return not any(bone.changed for bone in bones)


def _sentence(bone: NamedBone) -> str:
    had = ", ".join(f"{name} {share:.0%}" for name, share in bone.names.items() if share >= _FEWEST_VOXELS)
    return f"{had or 'no name'}: {bone.name}"


def _write(labels: np.ndarray, bones: Bones, decided: list[NamedBone]) -> np.ndarray:
    lookup = np.zeros(256, np.uint8)
    for bone in decided:
        lookup[bone.bone.number] = BY_NAME[bone.name].nnunet_id if bone.name else 0
    out = np.empty_like(labels, dtype=np.uint8)
    for k in range(labels.shape[2]):
        out[..., k] = lookup[bones.instances[..., k]]
    return out
