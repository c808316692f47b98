"""Where to look for the next vertebra: along the line of a part, or, without one, anywhere and then straight on."""

from collections.abc import Iterator, Sequence

import numpy as np

from nnunet_spine.geometry import spacing_mm, to_index, to_world
from nnunet_spine.traversal.fragment import Fragment
from nnunet_spine.traversal.parts import ANY_SPACING_MM, REGION_SPACING_MM, Part

BEYOND_MM = 150.0  # that a line is continued at its ends
_END_MM = 20.0  # of the line, whose direction continues it
_PLAUSIBLE = 0.6, 1.6  # observed distances, in expected ones


class Guide:
    """What walks share: the distance to the next vertebra, expected from the last one.

    Attributes:
        last: the last vertebra of the walk, None before the first.
        step_mm: expected distance from it to the next.
    """

    def __init__(self):
        self.last: Fragment | None = None
        self.step_mm = ANY_SPACING_MM

    def went_to(self, fragment: Fragment) -> None:
        """The walk has come to a vertebra."""
        expected = self._expected_mm(fragment)
        observed = self.distance_mm(fragment) if self.last is not None else expected
        self.step_mm = float(np.clip(observed, _PLAUSIBLE[0] * expected, _PLAUSIBLE[1] * expected))
        self.last = fragment

    def _expected_mm(self, fragment: Fragment) -> float:
        return ANY_SPACING_MM

    def distance_mm(self, fragment: Fragment) -> float:
        """How far a fragment lies ahead of the last vertebra, negative behind it."""
        raise NotImplementedError

    def ahead(self, steps: float) -> np.ndarray:
        """Voxel index of the centre of the patch that many expected distances ahead of the last vertebra."""
        raise NotImplementedError

    def has_room(self, steps: float) -> bool:
        """Whether the spine may still go on so many expected distances ahead of the last vertebra."""
        raise NotImplementedError

    def places(self) -> Iterator[np.ndarray]:
        """Voxel indices of the centres of patches to search, beyond where the walk has come by then."""
        raise NotImplementedError

    def left_over_mm(self) -> tuple[float, float]:
        """What lies before the first and behind the last vertebra of the walk, beyond half a distance."""
        return 0.0, 0.0


class LineGuide(Guide):
    """Along the line of a part of a spine.

    Args:
        part: of a spine.
        affine: of the scan, 4 x 4, RAS mm.
        patch_size: voxels.
        upwards: from foot to head.
    """

    def __init__(self, part: Part, affine: np.ndarray, patch_size: Sequence[int], upwards: bool):
        super().__init__()
        points = part.line_mm[::-1] if upwards else part.line_mm
        self.affine, self.half_patch_mm = affine, float((np.array(patch_size) * spacing_mm(affine)).min()) / 2
        self.length_mm = part.length_mm
        self.region = part.region[::-1] if upwards else part.region
        ways = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        straight = np.array([0, 0, 1.0 if upwards else -1.0])
        begin = _direction(points[0], points[np.searchsorted(ways, min(_END_MM, ways[-1]))], straight)
        end = _direction(points[max(0, np.searchsorted(ways, ways[-1] - _END_MM) - 1)], points[-1], straight)
        before, after = np.arange(-BEYOND_MM, 0, 2.0), np.arange(2.0, BEYOND_MM, 2.0)
        self.ways = np.concatenate([before, ways, ways[-1] + after])
        self.points = np.concatenate([points[0] + before[:, None] * begin, points, points[-1] + after[:, None] * end])
        self.first_way_mm = self.length_mm
        self.offset_mm = np.zeros(3)  # from the line to the middle of a whole vertebra
        self.step_mm = self._table_mm(0.0)

    def _table_mm(self, way_mm: float) -> float:
        at = np.clip(round(way_mm / max(self.length_mm, 1e-6) * (len(self.region) - 1)), 0, len(self.region) - 1)
        return REGION_SPACING_MM.get(int(self.region[at]), ANY_SPACING_MM)

    def _expected_mm(self, fragment: Fragment) -> float:
        return self._table_mm(self._way_mm(fragment))

    def _way_mm(self, fragment: Fragment) -> float:
        return float(self.ways[np.linalg.norm(self.points - fragment.centre_mm, axis=1).argmin()])

    def _at(self, way_mm: float) -> np.ndarray:
        return np.array([np.interp(way_mm, self.ways, self.points[:, axis]) for axis in range(3)])

    def went_to(self, fragment: Fragment) -> None:
        super().went_to(fragment)
        self.first_way_mm = min(self.first_way_mm, self._way_mm(fragment))
        self.offset_mm = to_world(self.affine, fragment.box_centre) - self._at(self._way_mm(fragment))

    def distance_mm(self, fragment: Fragment) -> float:
        return self._way_mm(fragment) - self._way_mm(self.last)

    def ahead(self, steps: float) -> np.ndarray:
        return to_index(self.affine, self._at(self._way_mm(self.last) + steps * self.step_mm) + self.offset_mm)

    def has_room(self, steps: float) -> bool:
        return self._way_mm(self.last) + (steps - 0.5) * self.step_mm <= self.length_mm

    def places(self) -> Iterator[np.ndarray]:
        way = self.step_mm / 2
        while way <= max(self.length_mm, self.step_mm):
            yield to_index(self.affine, self._at(way) + self.offset_mm)
            passed = self._way_mm(self.last) + self.step_mm if self.last is not None else -np.inf
            way = max(way + self.half_patch_mm, passed)

    def left_over_mm(self) -> tuple[float, float]:
        if self.last is None:
            return self.length_mm, 0.0
        half = self.step_mm / 2
        return max(self.first_way_mm - half, 0.0), max(self.length_mm - self._way_mm(self.last) - half, 0.0)


class FreeGuide(Guide):
    """Without a line: half patches over a box, then straight on from the last two vertebrae.

    Args:
        shape: of the scan.
        affine: of the scan, 4 x 4, RAS mm.
        patch_size: voxels.
        upwards: from foot to head.
        box: of voxels to search, (2, 3) lowest and highest index; None is the scan.
    """

    def __init__(
        self,
        shape: Sequence[int],
        affine: np.ndarray,
        patch_size: Sequence[int],
        upwards: bool,
        box: np.ndarray | None = None,
    ):
        super().__init__()
        self.affine = affine
        self.straight = np.array([0, 0, 1.0 if upwards else -1.0])
        self.direction = self.straight
        low, high = (np.zeros(3), np.array(shape) - 1.0) if box is None else np.asarray(box, float)
        half = np.array(patch_size) / 2
        axes = [_half_steps(a, b, h) for a, b, h in zip(low, high, half, strict=True)]
        centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        world = to_world(affine, centres)
        middle = world.mean(0)
        slab_mm = float((half * spacing_mm(affine)).min())
        way_mm = world @ self.straight
        along = np.round((way_mm - way_mm.min()) / slab_mm)
        order = np.lexsort([np.linalg.norm((world - middle)[:, :2], axis=1), along])  # near the middle first
        self.centres, self.world = centres[order], world[order]

    def went_to(self, fragment: Fragment) -> None:
        if self.last is not None:
            self.direction = _direction(self.last.centre_mm, fragment.centre_mm, self.direction)
        super().went_to(fragment)

    def distance_mm(self, fragment: Fragment) -> float:
        return float((fragment.centre_mm - self.last.centre_mm) @ self.direction)

    def ahead(self, steps: float) -> np.ndarray:
        middle = to_world(self.affine, self.last.box_centre)
        return to_index(self.affine, middle + steps * self.step_mm * self.direction)

    def has_room(self, steps: float) -> bool:
        centre = to_world(self.affine, self.ahead(steps - 0.5))
        ends = self.world.max(0), self.world.min(0)
        return any(float((centre - end) @ self.straight) < 0 for end in ends)

    def places(self) -> Iterator[np.ndarray]:
        for centre, world in zip(self.centres, self.world, strict=True):
            if self.last is None or (world - self.last.centre_mm) @ self.straight > self.step_mm:
                yield centre


def _direction(start: np.ndarray, stop: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(stop - start)
    return (stop - start) / length if length > 1 else otherwise


def _half_steps(low: float, high: float, half: float) -> np.ndarray:
    """Centres of patches, half a patch apart, that cover a range; one in the middle where one is enough."""
    if high - low + 1 <= 2 * half:
        return np.array([(low + high) / 2])
    n = 1 + int(np.ceil((high - low + 1 - 2 * half) / half))
    return low - 0.5 + half + half * np.arange(n)
