"""How the walk from vertebra to vertebra goes: its order, its thresholds and its limits."""

from dataclasses import dataclass

from nnunet_spine.errors import InputError

MODES = ("jump", "reference")


@dataclass(frozen=True)
class Rules:
    """How a walk goes.

    "reference" is the behaviour of public code for Lessmann et al. 2019 (SPIDER-Baseline-IIS): a sliding search in half
    patches, then the patch follows the fragment until it moves at most two voxels, then the same patch again with the
    new memory; a part of a spine ends where nothing new is found. "jump" is ours: the patch goes to where the next
    vertebra should be, one pass is enough where the fragment lies well inside the patch, and where nothing is found the
    search goes on. Masuzawa et al. 2020, who name the method, print none of the numbers; the thresholds are those of
    the public code, in mm³ instead of voxels of 1 mm.

    Attributes:
        mode: "jump" or "reference".
        upwards: from foot to head, as the network was trained; else from head to foot.
        threshold: probability from which a voxel is vertebra.
        fragment_mm3: smaller connected pieces are dropped, unless the edge of the scan cuts them.
        start_mm3, continue_mm3: new volume from which a walk starts, and from which it goes on.
        cut_mm3: "jump" takes what the edge of the scan cuts from this volume on.
        most_crumbs: in one place, "jump" sets aside smaller pieces, which the network would answer with again and
            again, and looks once more; so often. They are no vertebrae.
        converged_voxels: the patch has come to rest when it moves by no more along each axis.
        most_moves: after so many the last two places are averaged and the result is taken as it is.
        most_instances, most_passes: of a scan.
        farthest_mm: a next vertebra further away is a jump: "reference" refuses it, "jump" looks once more, there.
        gap: a next vertebra further away than so many expected distances leaves a gap, where "jump" looks once more.
        margin_mm: "jump" accepts a fragment that stays so far from the faces of the patch; at the start of a walk
            several times as far from the face where further vertebrae may come before it.
        rest: a fragment beside a vertebra and of less than this share of its volume is the rest of it.
    """

    mode: str = "jump"
    upwards: bool = False
    threshold: float = 0.5
    fragment_mm3: float = 500.0
    start_mm3: float = 1000.0
    continue_mm3: float = 500.0
    cut_mm3: float = 100.0
    most_crumbs: int = 2
    converged_voxels: float = 2.0
    most_moves: int = 10
    most_instances: int = 26
    most_passes: int = 300
    farthest_mm: float = 60.0
    gap: float = 1.6
    margin_mm: float = 4.0
    rest: float = 0.35

    def __post_init__(self):
        if self.mode not in MODES:
            raise InputError(f"walk in mode '{self.mode}'; expected one of {', '.join(MODES)}")
        if not 0 < self.threshold < 1:
            raise InputError(f"threshold {self.threshold:g}; expected a probability between 0 and 1")
        if not (1 <= self.most_instances <= 254 and self.most_passes >= 1 and self.most_moves >= 1):
            raise InputError("a walk without passes, moves or instances (at most 254)", "give limits of at least 1")
