"""The walk from vertebra to vertebra on one scan, as a generator: it asks for patches and is sent what they show.

So the walks of several scans can share the batches of one network, see `run`.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from nnunet_spine.geometry import spacing_mm, to_index, to_world
from nnunet_spine.traversal.fragment import Fragment, find_crumbs, find_fragment, voxel_mm3
from nnunet_spine.traversal.guides import FreeGuide, Guide, LineGuide
from nnunet_spine.traversal.parts import Part
from nnunet_spine.traversal.record import Decision, Instance, Walk
from nnunet_spine.traversal.rules import Rules

Answer = tuple[np.ndarray, float | None]
"""Probability of the next vertebra on the patch, and its completeness if the network tells."""
Looking = Generator[np.ndarray, Answer, Fragment | None]

_CRUMB = 255  # in the instance map: in the memory, but no vertebra
_START_MARGINS = 5.0  # of the face where further vertebrae may come before the first


class _Stop(Exception):
    """A limit is reached."""


@dataclass
class _Found:
    """A vertebra while the walk goes on; `pieces` grows where the rest of it is found later."""

    pieces: list[Fragment]
    passes: int
    settled: bool
    part: int
    cut: bool = field(init=False)

    def __post_init__(self):
        self.cut = self.pieces[0].cut

    @property
    def volume_mm3(self) -> float:
        return sum(piece.volume_mm3 for piece in self.pieces)


class Walker:
    """One walk.

    Args:
        shape: of the scan, three axes.
        affine: of the scan, 4 x 4, RAS mm.
        patch_size: voxels.
        parts: of the spine; None searches the whole scan.
        rules: see there.

    Attributes:
        labels: instance map, uint8, in order of finding; the memory is where it is not 0.
    """

    def __init__(
        self,
        shape: Sequence[int],
        affine: np.ndarray,
        patch_size: Sequence[int],
        parts: Sequence[Part] | None,
        rules: Rules,
    ):
        self.labels = np.zeros(tuple(shape), np.uint8)
        self.affine, self.patch_size = np.asarray(affine, float), np.array(patch_size, int)
        self.parts, self.rules = parts, rules
        self.found: list[_Found] = []
        self.decisions: list[Decision] = []
        self.passes = self.passes_before = 0
        self.settled = True
        self.shown: tuple[np.ndarray, np.ndarray] | None = None  # last answer, and where its patch lies
        up = np.linalg.inv(self.affine)[:3, 2] * spacing_mm(affine)  # towards the head, along the axes of the array
        self.behind = -up if rules.upwards else up

    def run(self) -> Generator[np.ndarray, Answer, Walk]:
        """Yields the first voxel of each patch (it may lie outside the scan) and expects an `Answer`."""
        stopped = ""
        try:
            for number, guide in enumerate(self._guides()):
                yield from self._walk(guide, number)
        except _Stop as stop:
            stopped = str(stop)
            self._say("limit", stopped, np.array(self.labels.shape) / 2)
        return self._result(stopped)

    def _guides(self) -> list[Guide]:
        shape, patch, upwards = self.labels.shape, self.patch_size, self.rules.upwards
        if self.parts is None:
            return [FreeGuide(shape, self.affine, patch, upwards)]
        parts = self.parts[::-1] if upwards else self.parts
        if self.rules.mode == "jump":
            return [LineGuide(part, self.affine, patch, upwards) for part in parts]
        corners = [to_index(self.affine, part.box_mm) for part in parts]
        boxes = [np.clip([c.min(0), c.max(0)], 0, np.array(shape) - 1) for c in corners]
        return [FreeGuide(shape, self.affine, patch, upwards, box) for box in boxes]

    # -- from vertebra to vertebra -------------------------------------------------------------------------------------

    def _walk(self, guide: Guide, part: int) -> Generator[np.ndarray, Answer, None]:
        for place in guide.places():
            found = yield from self._settle(place, self.rules.start_mm3, first=True)
            if found is None:
                self._say("nothing", "no vertebra where the walk could start", place)
                continue
            while found is not None:
                self._commit(found, guide, part)
                found = yield from self._next(guide)
            if self.rules.mode == "reference":
                break
        for left_mm, where in zip(guide.left_over_mm(), ("before the first", "after the last"), strict=True):
            if left_mm > guide.step_mm:
                middle = np.array(self.labels.shape) / 2 if guide.last is None else guide.last.box_centre
                self._say("left over", f"{left_mm:.0f} mm of spine {where} vertebra, without one", middle)

    def _next(self, guide: Guide) -> Looking:
        """The vertebra after the last one, None where the walk along it ends."""
        if self.rules.mode == "reference":
            found = yield from self._settle(guide.last.box_centre, self.rules.continue_mm3)
            if found is not None and np.linalg.norm(found.centre_mm - guide.last.centre_mm) > self.rules.farthest_mm:
                self._say("jump", f"refused: {self._distance(found, guide)}", found.box_centre)
                return None
            return found
        found = yield from self._settle(guide.ahead(1), self.rules.continue_mm3)
        if found is None:
            self._say("nothing", "no vertebra where the next one should be", guide.ahead(1))
            if not guide.has_room(2):
                return None
            self._say("again", "the patch moved on by one vertebra", guide.ahead(2))
            found = yield from self._settle(guide.ahead(2), self.rules.continue_mm3)
        if found is None or guide.distance_mm(found) <= self.rules.gap * guide.step_mm:
            return found
        self._say("gap", self._distance(found, guide), found.box_centre)
        nearer = yield from self._settle(guide.ahead(0), self.rules.continue_mm3)
        if nearer is not None and guide.distance_mm(nearer) < guide.distance_mm(found) - guide.step_mm / 2:
            self._say("again", "the patch moved back and shows a nearer vertebra", nearer.box_centre)
            return nearer
        if guide.distance_mm(found) <= self.rules.farthest_mm:
            return found
        self._say("jump", f"looked again there: {self._distance(found, guide)}", found.box_centre)
        return (yield from self._settle(found.box_centre, self.rules.start_mm3, first=True))

    def _distance(self, found: Fragment, guide: Guide) -> str:
        return f"{guide.distance_mm(found):.0f} mm to the next vertebra, where {guide.step_mm:.0f} mm were expected"

    # -- one vertebra --------------------------------------------------------------------------------------------------

    def _settle(self, centre: np.ndarray, smallest_mm3: float, *, first: bool = False) -> Looking:
        """Move the patch until it shows a vertebra as it should; None where it shows none."""
        rules, self.settled = self.rules, True
        margin_behind = rules.margin_mm * (_START_MARGINS if first else 1)
        before = centre
        for move in range(rules.most_moves + 1):
            found = yield from self._look_past_crumbs(centre, smallest_mm3)
            if found is None:
                return None
            if rules.mode == "jump" and found.lies_inside(rules.margin_mm, margin_behind, self.behind):
                return found
            moved = np.abs(found.box_centre - centre).max()
            if moved <= rules.converged_voxels and (move or (rules.mode == "jump" and not first)):
                return found
            before, centre = centre, found.box_centre
        self.settled = False
        self._say("unsettled", f"the patch moved {rules.most_moves} times and came to no rest", centre)
        return (yield from self._look_past_crumbs((before + centre) / 2, smallest_mm3))

    def _look_past_crumbs(self, centre: np.ndarray, smallest_mm3: float) -> Looking:
        """What the patch shows, if it is large enough; small pieces are set aside, and it is asked again."""
        jumps = self.rules.mode == "jump"
        for _ in range(1 + (self.rules.most_crumbs if jumps else 0)):
            found = yield from self._look(centre)
            if found is not None:
                enough = min(self.rules.cut_mm3, smallest_mm3) if jumps and found.cut else smallest_mm3
                if found.volume_mm3 >= enough:
                    return found
            if not jumps:
                return None
            box, crumbs = find_crumbs(*self.shown, self.labels, threshold=self.rules.threshold)
            if not crumbs.any():
                return None
            self.labels[box][crumbs] = _CRUMB
            mm3 = np.count_nonzero(crumbs) * voxel_mm3(self.affine)
            self._say("crumb", f"{mm3:.0f} mm³ set aside: too small for a vertebra", centre)
        return None

    def _look(self, centre: np.ndarray) -> Looking:
        if self.passes == self.rules.most_passes:
            raise _Stop(f"{self.passes} passes of the network")
        self.passes += 1
        start = np.rint(centre - (self.patch_size - 1) / 2).astype(int)
        probability, completeness = yield start
        self.shown = probability, start
        return find_fragment(
            probability,
            start,
            self.labels,
            self.affine,
            threshold=self.rules.threshold,
            smallest_mm3=self.rules.fragment_mm3,
            completeness=completeness,
        )

    def _commit(self, piece: Fragment, guide: Guide, part: int) -> None:
        passes, self.passes_before = self.passes - self.passes_before, self.passes
        whole = self._rest_of(piece)
        if whole is not None:
            self.labels[piece.box][piece.mask] = whole + 1
            self.found[whole].pieces.append(piece)
            self.found[whole].passes += passes
            self._say("joined", f"{piece.volume_mm3:.0f} mm³ beside it: the rest of it", piece.box_centre, whole)
            if guide.last is None:
                guide.went_to(piece)
            return
        if len(self.found) == self.rules.most_instances:
            raise _Stop(f"{len(self.found)} vertebrae")
        self.labels[piece.box][piece.mask] = len(self.found) + 1
        self.found.append(_Found([piece], passes, self.settled, part))
        self._say("found", f"after {passes} passes", piece.box_centre, len(self.found) - 1)
        if guide.last is not None and guide.distance_mm(piece) < 0:
            self._say("behind", "lies behind the vertebra found before it", piece.box_centre, len(self.found) - 1)
            return
        guide.went_to(piece)

    def _rest_of(self, piece: Fragment) -> int | None:
        """Index of the vertebra of which this is a piece, None where it is one of its own."""
        if piece.cut:
            return None
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in piece.box)
        grown = np.pad(piece.mask, [(s.start - a.start, 1) for s, a in zip(piece.box, around, strict=True)])
        grown = grown[tuple(slice(n) for n in self.labels[around].shape)]
        beside = self.labels[around][ndimage.binary_dilation(grown, np.ones((3, 3, 3)))]
        counts = np.bincount(beside[beside != _CRUMB], minlength=1)[1:]
        if not counts.any():
            return None
        whole = int(counts.argmax())
        return whole if piece.volume_mm3 < self.rules.rest * self.found[whole].volume_mm3 else None

    # -- result --------------------------------------------------------------------------------------------------------

    def _say(self, kind: str, text: str, index: np.ndarray, instance: int | None = None) -> None:
        position = tuple(np.round(to_world(self.affine, index), 1).tolist())
        self.decisions.append(Decision(self.passes, kind, text, position, instance))

    def _result(self, stopped: str) -> Walk:
        """Number the vertebrae from head to foot."""
        middle = [np.average([p.centre_mm for p in f.pieces], 0, [p.volume_mm3 for p in f.pieces]) for f in self.found]
        n_parts = max((f.part for f in self.found), default=0)
        parts = [n_parts - f.part if self.rules.upwards else f.part for f in self.found]
        order = sorted(range(len(self.found)), key=lambda i: (parts[i], -middle[i][2]))
        numbers = np.zeros(256, np.uint8)
        for number, i in enumerate(order, start=1):
            numbers[i + 1] = number
        instances = []
        for i in order:
            box, probability = _joined(self.found[i].pieces)
            known = [p.completeness for p in self.found[i].pieces if p.completeness is not None]
            instances.append(
                Instance(
                    number=int(numbers[i + 1]),
                    centre_mm=tuple(middle[i].tolist()),
                    volume_mm3=self.found[i].volume_mm3,
                    completeness=float(max(known)) if known else 0.5 if self.found[i].cut else 1.0,
                    cut=self.found[i].cut,
                    passes=self.found[i].passes,
                    settled=self.found[i].settled,
                    part=parts[i],
                    box=box,
                    probability=probability,
                )
            )
        decisions = tuple(
            replace(d, instance=None if d.instance is None else int(numbers[d.instance + 1])) for d in self.decisions
        )
        return Walk(numbers[self.labels], tuple(instances), decisions, self.passes, stopped)


def _joined(pieces: list[Fragment]) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """The box of all pieces and the probability in it."""
    low = np.min([p.start for p in pieces], 0)
    high = np.max([p.start + p.mask.shape for p in pieces], 0)
    out = np.zeros(high - low, np.float16)
    for p in pieces:
        inner = tuple(slice(a, a + n) for a, n in zip(p.start - low, p.mask.shape, strict=True))
        out[inner] = np.maximum(out[inner], p.probability)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), out
