"""Spines made of blobs, and oracles that stand for the network of a walk: perfect ones and such that err as told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_spine.anatomy import SPACING_MM, spine_sequence
from nnunet_spine.geometry import reorient, to_index

VOXEL_MM = 3.0
PATCH = (40, 40, 40)
REGION = {"C": 1, "T": 2, "L": 3}


def blob_spine(
    rng: np.random.Generator, first: int = 0, last: int = 24, codes: str = "RAS"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bodies and processes along a curved line.

    Args:
        first, last: of the 24 levels, half open.
        codes: orientation of the arrays.

    Returns:
        Ranks (1 at the head, uint8), regions (1 to 3) and the affine.
    """
    names = spine_sequence()[first:last]
    way = np.cumsum([0.0, *(SPACING_MM[name] for name in names[:-1])]) * rng.uniform(0.9, 1.1)
    bend, phase = rng.uniform(-25, 25, 2), rng.uniform(0, np.pi, 2)
    x, y = (b * np.sin(way / 170 + p) for b, p in zip(bend, phase, strict=True))
    bodies = np.stack([x, y, -way], 1)
    radius = np.array([{"C": 8.0, "T": 12.0, "L": 17.0}[name[0]] for name in names])
    low = bodies.min(0) - (55, 75, 40)
    shape = np.ceil((bodies.max(0) - low + (55, 45, 40)) / VOXEL_MM).astype(int)
    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = low
    ranks, depth = np.zeros(shape, np.uint8), np.full(shape, np.inf, np.float32)
    for number, (body, r, name) in enumerate(zip(bodies, radius, names, strict=True), start=1):
        height = 0.42 * SPACING_MM[name]
        for centre, axes in (
            (body, (r * 1.25, r, height)),
            (body - (0, r + 8, 0.3 * height), (r * 1.6, 10, 6)),  # arch
            (body - (0, r + 20, 0.7 * height), (4.5, 14, 6)),  # spinous process
        ):
            start = np.maximum(np.floor(to_index(affine, centre - np.array(axes))).astype(int), 0)
            stop = np.minimum(np.ceil(to_index(affine, centre + np.array(axes))).astype(int) + 1, shape)
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            index = np.meshgrid(*(np.arange(a, b) for a, b in zip(start, stop, strict=True)), indexing="ij")
            points = np.stack(index, -1) * VOXEL_MM + low
            inside = (((points - centre) / axes) ** 2).sum(-1).astype(np.float32)
            nearer = (inside <= 1) & (inside < depth[box])
            ranks[box][nearer] = number
            depth[box][nearer] = inside[nearer]
    regions = np.array([0, *(REGION[name[0]] for name in names)], np.uint8)[ranks]
    turned, turned_affine = reorient(ranks, affine, codes)
    return np.ascontiguousarray(turned), np.ascontiguousarray(reorient(regions, affine, codes)[0]), turned_affine


@dataclass
class Oracle:
    """Answers with the next vertebra of a patch whose image is the ranks: the first with less than half in memory.

    Attributes:
        upwards: the first from the foot.
        blind: ranks it never sees.
        merged: ranks it takes for one with the next.
        partial: share of a vertebra's voxels it returns, from the head.
        passes: counts the calls.
    """

    upwards: bool = False
    blind: Sequence[int] = ()
    merged: Sequence[int] = ()
    partial: float = 1.0
    passes: int = field(default=0, init=False)

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.passes += len(patches)
        answers = [self.answer(image.astype(int), memory > 0) for image, memory in patches]
        return np.stack([a for a, _ in answers]), np.array([c for _, c in answers])

    def answer(self, ranks: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, float]:
        count = np.bincount(ranks.ravel(), minlength=2)
        known = np.bincount(ranks[memory], minlength=len(count))
        open_ = [r for r in range(1, len(count)) if count[r] and known[r] < 0.5 * count[r] and r not in self.blind]
        if not open_:
            return np.zeros(ranks.shape, np.float32), 1.0
        chosen = max(open_) if self.upwards else min(open_)
        mask = ranks == chosen
        if chosen in self.merged:
            mask |= ranks == chosen + 1
        if self.partial < 1:
            rest = np.argwhere(mask & ~memory)
            mask = np.zeros_like(mask)
            mask[tuple(rest[: max(1, round(self.partial * count[chosen]))].T)] = True
        return mask.astype(np.float32), 1.0


class Restless(Oracle):
    """Never comes to rest: its answer is always in the same corner of the patch."""

    def answer(self, ranks: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, float]:
        out = np.zeros(ranks.shape, np.float32)
        out[:10, :10, :10] = 1
        return out, 1.0


class Jumping(Oracle):
    """Takes any vertebra of the patch that is not in memory."""

    def answer(self, ranks: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, float]:
        there = sorted(set(np.unique(ranks[~memory]).tolist()) - {0})
        chosen = there[(self.passes * 7) % len(there)] if there else -1
        return (ranks == chosen).astype(np.float32), 1.0


class Forgetful(Oracle):
    """Does not look at the memory."""

    def answer(self, ranks: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, float]:
        return super().answer(ranks, np.zeros_like(memory))


class Everywhere(Oracle):
    """Finds something wherever it looks."""

    def answer(self, ranks: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, float]:
        return np.ones(ranks.shape, np.float32), 1.0
