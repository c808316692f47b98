"""How a walk agrees with a reference: what was found, missed, merged and split."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnunet_spine.traversal.record import Walk

HALF = 0.5  # of a vertebra, that an instance has to cover to hold it
PIECE = 0.2  # of a vertebra, that counts as a piece of it


@dataclass(frozen=True)
class Agreement:
    """A walk against a reference, names apart.

    Attributes:
        vertebrae: of the reference.
        found: those with an instance of which the intersection is more than half of the union.
        missed: those of which no instance covers half.
        merged: instances that cover half of two or more.
        split: those of which two or more instances cover a fifth.
        surplus: instances that cover half of none.
        in_order: whether the found ones were numbered from head to foot.
        dice: of each vertebra with its best instance, from head to foot.
        passes_per_vertebra: passes of the network, divided by the vertebrae of the reference; NaN without any.
    """

    vertebrae: int
    found: int
    missed: int
    merged: int
    split: int
    surplus: int
    in_order: bool
    dice: tuple[float, ...]
    passes_per_vertebra: float

    @property
    def mean_dice(self) -> float:
        """1 where neither reference nor walk has a vertebra, 0 where only the walk has some."""
        return float(np.mean(self.dice)) if self.dice else float(self.surplus == 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a report."""
        return {**asdict(self), "mean_dice": self.mean_dice}


def agreement(walk: Walk, reference: np.ndarray) -> Agreement:
    """Compare a walk with the vertebrae of a reference.

    Args:
        walk: see `walk_spine`.
        reference: place of each voxel's vertebra from the head, 1, 2, ...; 0 background; places may be left out.
    """
    size = int(reference.max()) + 1
    n = len(walk.instances) + 1
    joint = walk.labels.ravel().astype(np.int64) * size + reference.ravel()
    both = np.bincount(joint, minlength=n * size).reshape(n, size)
    sizes = both.sum(0)
    there = np.flatnonzero(sizes[1:]) + 1
    common, reference_size = both[1:, there], sizes[there]
    total = both[1:].sum(1)[:, None] + reference_size[None]
    share = common / np.maximum(reference_size, 1)
    dice = 2 * common / np.maximum(total, 1)
    matched = common > (total - common) / 2  # intersection over union above one half
    instance_of = matched.argmax(0)[matched.any(0)] if n > 1 else np.zeros(0, int)
    return Agreement(
        vertebrae=len(there),
        found=int(matched.any(0).sum()) if n > 1 else 0,
        missed=int((share < HALF).all(0).sum()) if n > 1 else len(there),
        merged=int(((share >= HALF).sum(1) > 1).sum()),
        split=int(((share >= PIECE).sum(0) > 1).sum()),
        surplus=int((share < HALF).all(1).sum()) if len(there) else n - 1,
        in_order=bool((np.diff(instance_of) > 0).all()),
        dice=tuple(dice.max(0).tolist()) if n > 1 else (0.0,) * len(there),
        passes_per_vertebra=walk.passes / len(there) if len(there) else float("nan"),
    )
