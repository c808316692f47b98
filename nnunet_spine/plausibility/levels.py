"""Levels against the world: their order along the spine, which way is up, and which side is the front."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from nnunet_spine.anatomy import NAMES, SPACING_MM, sort_cranio_caudal
from nnunet_spine.plausibility.finding import Finding

_WIDE = 1.6  # times the usual distance: no neighbours any more
_STEP_MM = 4.0  # a level may lie this much on the wrong side of its neighbour before its place counts as wrong
_DEPTH_MM = 0.75  # of a body in front of its centroid; whole vertebrae have 5 to 15 mm, masks of bodies alone about 0
_CERTAIN_DEPTH_MM = 2.0
_MIRRORED_HEADER = "check the header's orientation against the scan in a viewer, and correct the affine"

Points = Mapping[str, Sequence[float]]


def level_findings(centroids_mm: Points, bodies_mm: Points | None = None) -> list[Finding]:
    """Whether the levels of one scan lie in the world as in a body.

    Lying prone, on a side or feet first changes none of this: the header turns the world with the patient.

    Args:
        centroids_mm: level name -> centroid of the whole vertebra, RAS mm.
        bodies_mm: level name -> centre of its body; lies in front of the centroid, except in C1, which is left out.

    Returns:
        "upside-down" (stops), "spine-axis" (stops), "level-order", "level-gap", and "front-back" (stops from 2 mm in
        three levels on), where they apply; nothing for fewer than two levels.
    """
    names = sort_cranio_caudal(centroids_mm)
    points = np.array([centroids_mm[n] for n in names], float)
    findings = _order(names, points) if len(names) > 1 else []
    if not findings and len(names) > 1:
        findings += _gaps(names, points)
    if bodies_mm and (front := _front(centroids_mm, bodies_mm)):
        findings.append(front)
    return findings


def _order(names: list[str], points: np.ndarray) -> list[Finding]:
    """Points (n, 3) in the order of the names, head to foot as the names say."""
    centred = points - points.mean(0)
    along = np.linalg.svd(centred, full_matrices=False)[2][0]
    position = centred @ along  # mm along the spine
    rank = np.arange(len(names)) - (len(names) - 1) / 2
    if position @ rank < 0:
        along, position = -along, -position
    # `along` now points the way that the names descend: in a body towards the feet.
    down = -float(along[2])
    span = float(position.max() - position.min())
    ends = f"{names[0]} at z = {points[0, 2]:.0f} mm, {names[-1]} at z = {points[-1, 2]:.0f} mm"
    swapped = [(a, b) for (a, b), step in zip(pairwise(names), np.diff(position), strict=True) if step < -_STEP_MM]
    findings = []
    if span > _STEP_MM and down < -0.5:
        if len(names) == 2:  # two levels: one swap, or all upside down
            swapped = [(names[0], names[1])]
        else:
            sentence = f"levels ascend from foot to head ({ends}): the scan is upside down, or named from the wrong end"
            findings.append(Finding("upside-down", sentence, True, _MIRRORED_HEADER, {"cosine": down}))
    elif span > _STEP_MM and down < 0.5:
        side = "left to right" if abs(along[0]) > abs(along[1]) else "front to back"
        sentence = f"the spine runs {span:.0f} mm from {side} and not from head to foot ({ends})"
        findings.append(Finding("spine-axis", sentence, True, _MIRRORED_HEADER, {"cosine": down}))
    if swapped:
        pairs = ", ".join(f"{b} lies above {a}" for a, b in swapped)
        findings.append(
            Finding("level-order", f"levels out of order along the spine: {pairs}", figures={"n": len(swapped)})
        )
    return findings


def _gaps(names: list[str], points: np.ndarray) -> list[Finding]:
    """Neighbours in the list that lie further apart than vertebrae do: what is between them has no name.

    Of regions nothing is known: they have no distance to each other.
    """
    wide = []
    if not SPACING_MM.keys() >= set(names[:-1]):
        return []
    for (a, b), step in zip(pairwise(names), np.linalg.norm(np.diff(points, axis=0), axis=1), strict=True):
        if step > _WIDE * SPACING_MM[a]:
            between = [n for n in NAMES[NAMES.index(a) + 1 : NAMES.index(b)] if n != "T13"]
            what = f"{between[0]} to {between[-1]}" if len(between) > 1 else between[0] if between else "a vertebra"
            wide.append(f"{what} between {a} and {b}, {step:.0f} mm apart")
    if not wide:
        return []
    return [Finding("level-gap", f"without a name: {'; '.join(wide)}", figures={"n": float(len(wide))})]


def _front(centroids_mm: Points, bodies_mm: Points) -> Finding | None:
    names = [n for n in sort_cranio_caudal(bodies_mm.keys() & centroids_mm.keys()) if n != "C1"]
    depths = np.array([bodies_mm[n][1] - centroids_mm[n][1] for n in names])  # y grows to the front
    behind = int((depths < -_DEPTH_MM).sum())
    if behind < 2 or (depths > _DEPTH_MM).sum() >= behind / 2:
        return None
    depth = float(np.median(-depths))
    sentence = (
        f"the bodies of {behind} of {len(names)} vertebrae lie {depth:.3g} mm behind their centroids: front is back"
    )
    certain = depth >= _CERTAIN_DEPTH_MM and behind > 2  # two may both be cut off by the field of view
    return Finding("front-back", sentence, certain, _MIRRORED_HEADER, {"depth_mm": depth, "n": float(behind)})
