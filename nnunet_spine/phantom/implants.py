"""Pedicle screws with rods and streaks, and cement."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.grid import Grid
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Capsule

METAL_HU = 3071.0


@dataclass(frozen=True)
class Implants:
    """What was implanted.

    Attributes:
        screw_levels: levels with a pair of pedicle screws, cranial to caudal.
        cement_levels: levels with cement in the body.
        metal: solids of screws and rods.
        cement: solids of the cement.
        cement_hu: its density.
        streak_phase: start angle of the streaks.
    """

    screw_levels: tuple[str, ...] = ()
    cement_levels: tuple[str, ...] = ()
    metal: tuple[Capsule, ...] = ()
    cement: tuple[Capsule, ...] = ()
    cement_hu: float = 0.0
    streak_phase: float = 0.0


def draw_implants(
    rng: np.random.Generator,
    frames: Frames,
    levels: tuple[str, ...],
    dims: tuple[Dimensions, ...],
    seen: list[int],
    screws: bool,
    cement: bool,
) -> Implants:
    """Implants among the levels `seen` (indices); none where no thoracic or lumbar level is seen."""
    seen = [i for i in seen if levels[i][0] in "TL" and levels[i] not in ("T1", "T2", "T3", "T4", "T5")]
    metal, balls, screw_levels, cement_levels = [], [], (), ()
    if screws and seen:
        n = min(int(rng.integers(2, 5)), len(seen))
        first = int(rng.integers(0, len(seen) - n + 1))
        chosen = seen[first : first + n]
        screw_levels = tuple(levels[i] for i in chosen)
        metal = _screws_and_rods(rng, frames, dims, chosen)
    if cement and seen:
        free = [i for i in seen if levels[i] not in screw_levels] or seen
        chosen = sorted(rng.choice(free, min(len(free), int(rng.integers(1, 3))), replace=False).tolist())
        cement_levels = tuple(levels[i] for i in chosen)
        for i in chosen:
            balls += _cement(rng, frames, dims[i], i)
    return Implants(
        screw_levels,
        cement_levels,
        tuple(metal),
        tuple(balls),
        float(rng.uniform(1200, 2200)),
        float(rng.uniform(0, 2 * np.pi)),
    )


def _screws_and_rods(
    rng: np.random.Generator, frames: Frames, dims: tuple[Dimensions, ...], chosen: list[int]
) -> list[Capsule]:
    radius, metal = rng.uniform(2.5, 3.5), []
    for side in (1, -1):
        heads = []
        for i in chosen:
            d = dims[i]
            lateral = side * (d.canal_width / 2 + min(d.pedicle / 2, 6.5))
            pedicle = np.array([lateral, -d.depth / 2 - 2, 0.2 * d.height])
            inward = np.deg2rad(rng.uniform(5, 15))
            forward = np.array([-side * np.sin(inward), np.cos(inward), -0.05])
            length = rng.uniform(40, 50) * min(d.depth / 33, 1.05)
            points = frames.to_world(i, np.array([pedicle - 18 * forward, pedicle + (length - 18) * forward]))
            slim = min(radius, max(d.pedicle / 2, 2.3))
            metal.append(Capsule(points[0], points[1], slim, slim * 0.8))
            metal.append(Capsule(points[0], points[0] + 0.1, 6.0, 6.0))
            heads.append(points[0])
        metal += [Capsule(a, b, 2.8, 2.8) for a, b in pairwise(heads)]
    return metal


def _cement(rng: np.random.Generator, frames: Frames, d: Dimensions, i: int) -> list[Capsule]:
    reach = np.array([d.width, d.depth, d.height]) / 2 - np.array([9.0, 9.0, 7.0])
    reach = np.maximum(reach, 1.0)
    points = frames.to_world(i, rng.uniform(-1, 1, (5, 3)) * reach)
    radii = rng.uniform(4, min(9, 0.42 * d.height), 5)
    return [Capsule(a, b, r, s) for a, b, r, s in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)]


def paint_implants(image: np.ndarray, grid: Grid, implants: Implants) -> None:
    """Paint cement, metal and streaks into HU (in place)."""
    for solid in implants.cement:
        _paint(image, grid, solid, implants.cement_hu)
    for solid in implants.metal:
        _streaks(image, grid, solid, implants.streak_phase)
    for solid in implants.metal:
        _paint(image, grid, solid, METAL_HU)


def _paint(image: np.ndarray, grid: Grid, solid: Capsule, hu: float) -> None:
    spacing = float(np.mean(grid.spacing_mm))
    box = grid.box(*solid.bounds(), spacing)
    if box is not None:
        share = np.clip(0.5 - solid.distance(grid.axes(box)) / spacing, 0, 1)
        image[box] += share * (np.float32(hu) - image[box])


def _streaks(image: np.ndarray, grid: Grid, solid: Capsule, phase: float, reach_mm: float = 60.0) -> None:
    """Bright and dark rays, cos(k theta) / r, in the axial slices the metal crosses."""
    low, high = solid.bounds()
    middle = (solid.start_mm + solid.end_mm) / 2
    box = grid.box(np.array([*(middle[:2] - reach_mm), low[2]]), np.array([*(middle[:2] + reach_mm), high[2]]))
    if box is None:
        return
    x, y, z = grid.axes(box)
    dx, dy = x - np.float32(middle[0]), y - np.float32(middle[1])
    radius = np.sqrt(dx**2 + dy**2)
    rays = np.cos(9 * np.arctan2(dy, dx) + np.float32(phase)) * 1800 / (radius + 8)
    rays *= np.clip(1 - radius / reach_mm, 0, 1)
    fade = np.clip(1.2 - np.abs(z - np.float32(middle[2])) / max((high[2] - low[2]) / 2, 1e-3), 0, 1)
    image[box] += rays * fade.astype(np.float32)
