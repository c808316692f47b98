"""The parts of a spine that a scan shows, each with the line through its bodies, from a mask of the first stage."""

from dataclasses import dataclass

import cc3d
import edt
import numpy as np

from nnunet_spine import geometry
from nnunet_spine.anatomy import REGION_IDS, REGIONS, SPACING_MM
from nnunet_spine.instances.centre_line import centre_line
from nnunet_spine.instances.grid import grid_around

STEP_MM = 2.0
REACH_MM = 8.0  # half the widest gap between neighbouring vertebrae of one part
SMALLEST_CM3 = 1.0

REGION_SPACING_MM = {
    REGION_IDS[region]: float(np.mean([mm for name, mm in SPACING_MM.items() if name[0] == region]))
    for region in REGIONS
}
"""Mean distance between the bodies of neighbours, by region."""
ANY_SPACING_MM = float(np.mean(list(SPACING_MM.values())))


@dataclass(frozen=True)
class Part:
    """A connected stretch of a spine.

    Attributes:
        line_mm: points through the bodies, from head to foot, about `STEP_MM` apart; (n, 3) RAS mm.
        region: of each point, 1 cervical, 2 thoracic, 3 lumbar, 0 unknown; (n,).
        box_mm: lowest and highest corner of its mask; (2, 3) RAS mm.
    """

    line_mm: np.ndarray
    region: np.ndarray
    box_mm: np.ndarray

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(np.diff(self.line_mm, axis=0), axis=1).sum())


def spine_parts(
    mask: np.ndarray, affine: np.ndarray, *, regions: bool = True, smallest_cm3: float = SMALLEST_CM3
) -> tuple[Part, ...]:
    """Chains of neighbouring vertebrae in a mask.

    Source: Masuzawa et al. 2020 cut a box from the first stage's result; how is not said. Ours: pieces within 16 mm of
    each other are one part.

    >>> mask = np.zeros((24, 24, 60), np.uint8)
    >>> mask[4:20, 4:20, 32:52], mask[4:20, 4:20, 8:28] = 2, 3  # thoracic above lumbar
    >>> [sorted(set(part.region.tolist())) for part in spine_parts(mask, np.eye(4))]
    [[2, 3]]

    Args:
        mask: 3-D unsigned integers, 0 background; with `regions` 1 cervical, 2 thoracic, 3 lumbar, else any.
        affine: 4 x 4, RAS mm.
        regions: whether the values are regions.
        smallest_cm3: volume of a part below which it is none.

    Returns:
        From head to foot; empty where the scan shows no spine.
    """
    box = geometry.bounding_box(mask)
    if box is None:
        return ()
    grid = grid_around(box, affine, STEP_MM)
    values = grid.sample(mask, affine)
    bone = values > 0
    near = edt.edt(np.asfortranarray(~bone), anisotropy=(STEP_MM,) * 3, parallel=1) <= REACH_MM
    chains = cc3d.connected_components(near, connectivity=6)
    parts = []
    for chain in range(1, int(chains.max()) + 1):
        own = bone & (chains == chain)
        if np.count_nonzero(own) * STEP_MM**3 < 1000 * smallest_cm3:
            continue
        line = _smooth(centre_line(own, STEP_MM))
        region = _region_of_slices(np.where(own, values, 0), line) if regions else np.zeros(len(line), np.uint8)
        corners = np.array([[s.start, s.stop - 1] for s in geometry.bounding_box(own)]).T
        parts.append(Part(geometry.to_world(grid.affine, line), region, geometry.to_world(grid.affine, corners)))
    return tuple(sorted(parts, key=lambda part: -part.line_mm[0, 2]))


def _smooth(line: np.ndarray, reach: int = 4) -> np.ndarray:
    """Mean over nine points, fewer at the ends."""
    n = len(line)
    reaches = [min(i, reach, n - 1 - i) for i in range(n)]
    return np.array([line[i - r : i + r + 1].mean(0) for i, r in enumerate(reaches)]).reshape(n, 3)


def _region_of_slices(values: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The most frequent region of each slice along the line; of the nearest slice that has one."""
    counts = np.stack([(values == region).sum((0, 1)) for region in sorted(REGION_SPACING_MM)], 1)
    counts = counts[np.clip(np.rint(line[:, 2]).astype(int), 0, len(counts) - 1)]
    known = np.flatnonzero(counts.any(1))
    if not len(known):
        return np.zeros(len(line), np.uint8)
    nearest = known[np.abs(np.arange(len(line))[:, None] - known).argmin(1)]
    return (1 + counts[nearest].argmax(1)).astype(np.uint8)
