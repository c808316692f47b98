"""What a network that is led from vertebra to vertebra is trained to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Walking:
    """Targets of a network that segments the next vertebra, given those already found (`training.next_vertebra`).

    Attributes:
        upwards: from foot to head; else from head to foot.
        empty: share of patches in which every vertebra has been found, so that the target is empty.
        anywhere: share of patches that are read from anywhere in the scan, the others from around a vertebra.
        centred: share of targets that are the vertebra nearest to the middle of the patch, the others any in view.
        smallest_mm3: a vertebra of which the patch shows less is no target.
        corruption: share of memories that are made faulty, as those of a walk may be; in training only.
        completeness: weight of the loss of the output that tells whether the whole vertebra is in view; 0 has no such
            output.
    """

    upwards: bool = False
    empty: float = 1 / 3
    anywhere: float = 1 / 3
    centred: float = 0.8
    smallest_mm3: float = 1000.0
    corruption: float = 0.3
    completeness: float = 0.1

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        return {}
