"""Labels against grey values: bone is brighter than what surrounds it, so a misplaced mask shows.

A scan is looked at in some ten thousand voxels, so that it need not be in memory: `sites` says which, the caller reads
them (`io.streams.voxels_at`), `contrast` judges.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_spine.plausibility.finding import Finding

_SITES = 20_000
_NEAR_MM = (4.0, 25.0)
_ON_BONE = 0.6  # chance that a labelled voxel is brighter than one nearby; 0.5 is none, right masks have 0.75 to 1
_CLEARER = 0.05
_FEWEST = 200


@dataclass(frozen=True)
class Contrast:
    """Grey values in the labels against those around them.

    Attributes:
        inside, near: median values.
        chance: that a labelled voxel is brighter than one nearby, 0 to 1; 0.5 means no relation.
        n: voxels compared, the fewer of both kinds.
    """

    inside: float
    near: float
    chance: float
    n: int

    def __str__(self) -> str:
        return f"{self.inside:.0f} against {self.near:.0f} around, brighter in {100 * self.chance:.0f} %"


def sites(
    labels: np.ndarray, spacing_mm: np.ndarray, *, ignored: Collection[int] = (), count: int = _SITES, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Voxels to look at: in the labels, and 4 to 25 mm beside them where there is no label.

    Args:
        labels: 3-D, 0 background.
        spacing_mm: voxel size, (3,).
        ignored: labels that are neither bone nor background.
        count: voxels of each kind at most.
        seed: of the draw.

    Returns:
        Flat indices in file order (first axis fastest), sorted: inside, near; empty for an empty mask.
    """
    random = np.random.default_rng(seed)
    inside = np.zeros(0, np.int64)
    if labels.any():
        flat = labels.ravel(order="F")
        if ignored:  # perhaps nearly everything
            is_bone = np.ones(int(labels.max()) + 1, bool)
            is_bone[[0, *(value for value in ignored if value < is_bone.size)]] = False
            flat = is_bone[flat]
        inside = np.flatnonzero(flat)
    if inside.size > count:
        inside = np.sort(random.choice(inside, count, replace=False))
    direction = random.normal(size=(inside.size, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    step = direction * random.uniform(*_NEAR_MM, (inside.size, 1)) / spacing_mm
    index = np.stack(np.unravel_index(inside, labels.shape, order="F"), -1) + np.rint(step).astype(int)
    index = index[np.all((index >= 0) & (index < labels.shape), axis=1)]
    index = index[labels[tuple(index.T)] == 0]
    return inside, np.unique(np.ravel_multi_index(tuple(index.T), labels.shape, order="F"))


def contrast(inside: np.ndarray, near: np.ndarray) -> Contrast | None:
    """Compare the values found at `sites`; None where one kind is missing."""
    if not inside.size or not near.size:
        return None
    ordered = np.sort(near)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    chance = float(below.mean() / (2 * near.size))
    return Contrast(float(np.median(inside)), float(np.median(near)), chance, min(inside.size, near.size))


def placement_finding(found: Contrast | None) -> Finding | None:
    """Whether labels lie on bone at all: "mask-place" where they are no brighter than their surroundings."""
    if found is None or found.n < _FEWEST or found.chance >= _ON_BONE:
        return None
    sentence = (
        f"labelled voxels are no brighter than those around them ({found}): another scan's mask, or a wrong header"
    )
    return Finding("mask-place", sentence, figures={"chance": found.chance, "inside": found.inside, "near": found.near})


def choose_placement(candidates: Mapping[str, Contrast | None], grids: str) -> tuple[str | None, Finding]:
    """Which of several ways to lay a mask over its image the grey values support.

    Args:
        candidates: way -> contrast of the labels laid that way; None where no label lands in the image.
        grids: the two headers in words, for the message.

    Returns:
        The way whose labels are clearly brighter than their surroundings, and clearly more so than with any other; None
        where that is none. And what to say about it ("mask-grid"), which stops only in the latter case.
    """
    chances = {way: found.chance if found and found.n >= _FEWEST else 0.0 for way, found in candidates.items()}
    shown = ", ".join(f"{way}: {found or 'no label in the image'}" for way, found in candidates.items())
    figures = {f"chance {way}": chance for way, chance in chances.items()}
    best, second = sorted(chances, key=chances.get, reverse=True)[:2]
    if chances[best] >= _ON_BONE and chances[best] - chances[second] >= _CLEARER:
        return best, Finding(
            "mask-grid", f"{grids}; grey values under the labels decide for {best} ({shown})", figures=figures
        )
    cure = "correct the wrong header, or say which to believe"
    return None, Finding(
        "mask-grid", f"{grids}; grey values under the labels do not decide ({shown})", True, cure, figures
    )
