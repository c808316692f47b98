"""What a walk along a spine found, and what it decided on the way."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

KINDS = ("found", "joined", "crumb", "nothing", "again", "gap", "jump", "behind", "unsettled", "left over", "limit")
"""Of decisions: a vertebra was found; a fragment was joined to the vertebra it belongs to; a piece too small for a
vertebra was set aside; nothing was there; the patch was moved for a second look; a distance leaves room for another
vertebra; a distance is too long; a vertebra lies behind the last one; the patch never came to rest; the first stage
shows more spine than the vertebrae found on it; the walk ended at a limit."""


@dataclass(frozen=True)
class Decision:
    """One decision of a walk.

    Attributes:
        at_pass: passes of the network until then.
        kind: one of `KINDS`.
        text: in words.
        position_mm: what it is about; RAS mm.
        instance: number of the vertebra concerned, None where there is none.
    """

    at_pass: int
    kind: str
    text: str
    position_mm: tuple[float, float, float]
    instance: int | None = None


@dataclass(frozen=True)
class Instance:
    """One vertebra of a walk.

    Attributes:
        number: value in the instance map, 1 at the head.
        centre_mm: centre of mass; RAS mm.
        volume_mm3: of its voxels.
        completeness: share of it that the network thinks is in view; 0.5 where the scan's edge cuts it and the network
            says nothing.
        cut: whether it reaches a face of the scan.
        passes: of the network until it was accepted.
        settled: whether the patch came to rest.
        part: of the spine, from 0.
        box: its voxels lie here.
        probability: of the vertebra in `box`, float16; 0 where another one has the voxel.
    """

    number: int
    centre_mm: tuple[float, float, float]
    volume_mm3: float
    completeness: float
    cut: bool
    passes: int
    settled: bool
    part: int
    box: tuple[slice, slice, slice]
    probability: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """For a report: plain values, without the array."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "probability"}
        return {**values, "box": [[s.start, s.stop] for s in self.box]}


@dataclass(frozen=True)
class Walk:
    """A walk along the spine of a scan.

    Attributes:
        labels: number of the vertebra of each voxel, uint8, 0 background.
        instances: from head to foot, part by part.
        decisions: in the order in which they were taken.
        passes: of the network.
        stopped: the limit at which it stopped; "" if it went to its end.
    """

    labels: np.ndarray
    instances: tuple[Instance, ...]
    decisions: tuple[Decision, ...]
    passes: int
    stopped: str

    @property
    def passes_per_vertebra(self) -> float:
        """NaN where there is none."""
        return self.passes / len(self.instances) if self.instances else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """For a report: plain values, without arrays."""
        return {
            "passes": self.passes,
            "stopped": self.stopped,
            "instances": [instance.as_dict() for instance in self.instances],
            "decisions": [asdict(decision) for decision in self.decisions],
        }
