"""Which vertebrae of a walk a person should look at, judged by their neighbours."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nnunet_spine.traversal.record import Walk

LARGE, SMALL = 1.6, 0.5  # volume against both neighbours
LARGER, SMALLER = 2.5, 0.35  # against the only one
WIDE, NARROW = 1.6, 0.5  # distance against that of neighbours
SEVERAL_PARTS_MM = 80.0  # between vertebrae of one part


@dataclass(frozen=True)
class Doubt:
    """A reason to look at a vertebra.

    Attributes:
        instance: its number.
        kind: "large", "small", "gap", "close", "unsettled" or "incomplete".
        text: in words.
    """

    instance: int
    kind: str
    text: str


def doubts(walk: Walk) -> tuple[Doubt, ...]:
    """Vertebrae that may be two, a piece of one, or lie beside a missing one.

    >>> doubts(Walk(np.zeros((4, 4, 4), np.uint8), (), (), 0, ""))
    ()

    Args:
        walk: see `walk_spine`.

    Returns:
        From head to foot; empty where everything is as it should be.
    """
    found = list(walk.instances)
    volumes = np.array([v.volume_mm3 for v in found])
    steps = [_distance(a, b) if a.part == b.part else np.nan for a, b in pairwise(found)]
    out: list[Doubt] = []
    for i, vertebra in enumerate(found):
        beside = [j for j in (i - 1, i + 1) if 0 <= j < len(found) and not found[j].cut]
        if beside and not vertebra.cut:
            ratio = volumes[i] / volumes[beside]
            large, small = (LARGE, SMALL) if len(beside) == 2 else (LARGER, SMALLER)
            if (ratio > large).all():
                out.append(Doubt(vertebra.number, "large", f"{ratio.min():.1f} times its neighbours: two in one?"))
            elif (ratio < small).all():
                out.append(Doubt(vertebra.number, "small", f"{ratio.max():.2f} of its neighbours: a piece of one?"))
        if vertebra.cut or vertebra.completeness < 0.5:
            out.append(Doubt(vertebra.number, "incomplete", "part of it is out of view"))
        if not vertebra.settled:
            out.append(Doubt(vertebra.number, "unsettled", "the patch never came to rest on it"))
        if i < len(steps) and np.isfinite(steps[i]):
            others = [steps[j] for j in (i - 1, i + 1) if 0 <= j < len(steps) and np.isfinite(steps[j])]
            usual = float(np.mean(others)) if others else np.nan
            text = f"{steps[i]:.0f} mm to the next, {usual:.0f} mm beside it"
            if steps[i] > WIDE * usual or steps[i] > SEVERAL_PARTS_MM:
                out.append(Doubt(vertebra.number, "gap", f"{text}: one missing?"))
            elif steps[i] < NARROW * usual:
                out.append(Doubt(vertebra.number, "close", f"{text}: one of them is a piece?"))
    return tuple(out)


def _distance(a, b) -> float:
    return float(np.linalg.norm(np.subtract(a.centre_mm, b.centre_mm)))
