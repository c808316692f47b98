"""What speaks for the names of bones: the names that their voxels carry, and what a scan shows beside them.

Names in a mask come in runs: a network that takes one vertebra for its neighbour goes on with the next. Bones whose
names are off by the same number of levels are therefore one witness, whose word grows with their number to a point.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nnunet_spine.anatomy import BY_NNUNET_ID, spine_sequence
from nnunet_spine.errors import InputError
from nnunet_spine.instances import Bone
from nnunet_spine.labelling import Detection, Labelling
from nnunet_spine.labelling.detections import STATES
from nnunet_spine.naming.surroundings import Surroundings

_DOUBT = 0.1  # share of the evidence that is spread over the neighbours of the name a bone carries
_WITNESS = 4.0  # bones' worth of evidence that a run of names has at most
_LEAST = 0.01  # of a share, so that one bone does not rule out a level
_ANY_REGION = (1 / 3, 1 / 3, 1 / 3)
_USUAL = spine_sequence()
_PLACE = {name: float(i) for i, name in enumerate(_USUAL)} | {
    "T13": _USUAL.index("T12") + 0.5,
    "L6": _USUAL.index("L5") + 1.0,
}

# Share of vertebrae from which bone leads 50 mm to the side: ribs, and near the ends the first rib and the ilium.
_BESIDE = {
    **dict.fromkeys(("C1", "C2", "C3", "C4", "C5"), 0.08), "C6": 0.5, "C7": 0.8,
    **dict.fromkeys(("T1", "T2", "T3"), 0.95), **dict.fromkeys(("T4", "T5", "T6", "T7", "T8", "T9"), 0.8),
    **dict.fromkeys(("T10", "T11", "T12", "T13"), 0.95),
    "L1": 0.18, "L2": 0.1, "L3": 0.1, "L4": 0.3, "L5": 0.7, "L6": 0.7, "S1": 0.8,
}  # fmt: skip
_DARK, _BRIGHT = 0.27, 0.35  # brightness of the way aside: surely none, surely some


KINDS = ("vertebrae", "regions", "spine")
"""What the labels of a mask say: the level, the region, or nothing."""


def detections(bones: Sequence[Bone], kind: str, around: Surroundings | None = None) -> list[Detection]:
    """Bones, and a sacrum where one is seen, as the labelling takes them.

    Args:
        bones: from head to foot.
        kind: of `KINDS`.
        around: what a scan shows.

    Raises:
        InputError: another kind.
    """
    if kind not in KINDS:
        raise InputError(f"kind '{kind}'; expected one of {', '.join(KINDS)}")
    shares = [_shares(bone) if kind == "vertebrae" else {} for bone in bones]
    weights = _weights(shares)
    out = []
    for i, bone in enumerate(bones):
        scores = np.zeros(len(STATES))
        if shares[i]:
            scores += weights[i] * np.log(np.maximum([_spread(shares[i]).get(name, 0.0) for name in STATES], _LEAST))
        if around is not None:
            scores += _beside(around.aside[i])
        levels = dict(zip(STATES, np.exp(scores - scores.max()).tolist(), strict=True)) if scores.any() else None
        regions = _regions(bone) if kind == "regions" else _ANY_REGION if kind == "vertebrae" or levels else None
        out.append(Detection(bone.body_mm, regions, levels, completeness=0.5 if bone.cut else 1.0))
    if around is not None and around.sacrum_mm is not None:
        out.append(Detection(around.sacrum_mm, _ANY_REGION, {"S1": 1.0}))
    return out


def _regions(bone: Bone) -> tuple[float, float, float]:
    """Shares of the region ids 1 to 3 among the voxels around the body's centre, or among all where it has none."""
    votes = bone.core_votes or bone.votes
    counts = np.array([votes.get(value, 0) for value in (1, 2, 3)], float)
    return tuple((counts / counts.sum()).tolist()) if counts.any() else _ANY_REGION


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


def _weights(shares: list[dict[str, float]]) -> list[float]:
    """Weight of each bone's names: less than 1 where many bones are off by the same number of levels."""
    offsets = [round(_PLACE[max(s, key=s.get)] - i) if s else None for i, s in enumerate(shares)]
    count = Counter(offsets)
    return [min(1.0, _WITNESS / count[offset]) if offset is not None else 0.0 for offset in offsets]


def _spread(shares: dict[str, float]) -> dict[str, float]:
    out = {name: (1 - _DOUBT) * share for name, share in shares.items()}
    for name, share in shares.items():
        for other in _neighbours(name):
            out[other] = out.get(other, 0.0) + _DOUBT / 2 * share
    return out


def _neighbours(name: str) -> list[str]:
    if name not in _USUAL:
        return {"T13": ["T12", "L1"], "L6": ["L5"]}[name]
    at = _USUAL.index(name)
    return list(_USUAL[max(0, at - 1) : at] + _USUAL[at + 1 : at + 2])


def _beside(aside: np.ndarray) -> np.ndarray:
    """(27,) log scores of the states from the ways to both sides, which agree as a rule and count as one."""
    known = aside[np.isfinite(aside)]
    if not known.size:
        return np.zeros(len(STATES))
    some = float(np.clip((known.mean() - _DARK) / (_BRIGHT - _DARK), 0, 1))
    share = np.array([_BESIDE[name] for name in STATES])
    return np.log(some * share + (1 - some) * (1 - share))


def anchors(bones: Sequence[Bone], labelling: Labelling, around: Surroundings | None) -> tuple[str, ...]:
    """What in view fixes the count besides names: the first bone of the spine, the last rib, the sacrum.

    Args:
        bones: from head to foot.
        labelling: their names.
        around: what a scan shows.
    """
    names = [name.name for name in labelling.names]
    found = ["C1"] if names and names[0] == "C1" and not bones[0].cut else []
    if around is not None:
        aside = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in around.aside])
        low = [i for i in range(1, len(names)) if (names[i - 1] or "")[:1] == "T" and (names[i] or "")[:1] == "L"]
        found += ["T/L"] if any(aside[i - 1] > _BRIGHT and aside[i] < _BRIGHT for i in low) else []
        found += ["L/S"] if around.sacrum_mm is not None and (names[-1] or "")[:1] == "L" else []
    return tuple(found)
