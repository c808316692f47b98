"""The field of view: which box of the patient ends up in the volume."""

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.grid import Grid
from nnunet_spine.phantom.options import PhantomOptions
from nnunet_spine.phantom.pose import Frames


def extents_mm(frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 3) and (n, 3) of a box around each vertebra with its processes."""
    low, high = [], []
    for i, (level, d) in enumerate(zip(levels, dims, strict=True)):
        if level == "C1":
            local = np.array([(s * d.transverse / 2, v, w) for s in (1, -1) for v in (15, -36) for w in (10, -10)])
        else:
            slope = np.deg2rad(d.spinous_angle_deg)
            back = -d.depth / 2 - d.canal_depth - 6
            local = np.array(
                [(s * d.transverse / 2, back, w) for s in (1, -1) for w in (0.5 * d.spacing, -0.68 * d.spacing)]
                + [(0, d.depth / 2 + 1, w) for w in (d.height / 2 + 1, -d.height / 2 - 1)]
                + [(0, back - d.spinous * np.cos(slope), -0.5 * d.height - d.spinous * np.sin(slope) - 5)]
                + [(0, 0, d.height / 2 + 15)] * (level == "C2")
            )
        world = frames.to_world(i, local)
        low.append(world.min(0) - 3)
        high.append(world.max(0) + 3)
    return np.array(low), np.array(high)


def draw_spacing(rng: np.random.Generator, options: PhantomOptions) -> np.ndarray:
    """(3,) mm; for a range, one in-plane and one slice spacing, slices axial (3 of 4 times) or sagittal."""
    if not options.is_range:
        return np.array(options.spacing_mm, float)
    low, high = options.spacing_mm
    in_plane, between = np.sort(np.round(rng.uniform(low, high, 2), 2))
    spacing = np.full(3, in_plane)
    spacing[2 if rng.random() < 0.75 else 0] = between
    return spacing


def draw_grid(
    rng: np.random.Generator, options: PhantomOptions, low_mm: np.ndarray, high_mm: np.ndarray, crop: bool
) -> Grid:
    """Place the field of view around the spine.

    Args:
        low_mm, high_mm: (n, 3) box corners of every vertebra, cranial to caudal.
        crop: keep a random 35-90 % of the slices.
    """
    spacing = draw_spacing(rng, options)
    low_z, high_z = low_mm[-1, 2] - 45, high_mm[0, 2] + 20
    luck, slide, crop_to, crop_at = rng.random(3), rng.random(), rng.uniform(0.35, 0.9), rng.random()
    if options.shape is None:
        low, high = _box_around_levels(rng, options, low_mm, high_mm)
        shape = np.ceil((high - low) / spacing).astype(int) + 1
        first = low
    else:
        shape = np.array(options.shape)
        size = (shape - 1) * spacing
        slack = (high_z - low_z) - size[2]
        bottom = low_z + slide * slack
        within = (high_mm[:, 2] > bottom) & (low_mm[:, 2] < bottom + size[2])
        low, high = low_mm[within].min(0), high_mm[within].max(0)
        spare = np.maximum(size - (high - low), 0)
        middle = (low + high) / 2
        # The back is near the posterior edge, the belly in view as far as there is room.
        x = middle[0] - size[0] / 2 + (luck[0] - 0.5) * min(spare[0], 24)
        y = low[1] - np.clip(8 + 17 * luck[1], 0, spare[1] / 2) if spare[1] > 0 else middle[1] - size[1] / 2
        first = np.array([x, y, bottom])
    if crop:
        kept = max(round(crop_to * shape[2]), 16)
        first = first + np.array([0, 0, spacing[2] * round(crop_at * (shape[2] - kept))])
        shape = np.array([shape[0], shape[1], kept])
    return Grid(tuple(int(n) for n in shape), spacing, first)


def _box_around_levels(
    rng: np.random.Generator, options: PhantomOptions, low_mm: np.ndarray, high_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = len(low_mm)
    count = n if options.levels_in_view is None else min(int(rng.integers(*options.levels_in_view, endpoint=True)), n)
    # Beyond the ends, then clipped: as in clinical scans, many views begin at C1 or end at the last lumbar.
    anywhere = int(np.clip(rng.integers(-3, n - count + 4), 0, n - count))
    start = n - count if options.lowest_levels else anywhere
    low, high = low_mm[start : start + count].min(0), high_mm[start : start + count].max(0)
    before, behind = _wide_margins(rng) if options.domain == "wide" else _margins(rng)
    return low - before, high + behind


def _margins(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A field of view that just holds the spine: (3,) mm added before and behind along x, y, z."""
    wide = rng.uniform(6, 16, (2, 3))
    return wide[0] * [1, 1, 0.5], wide[1] * [1, 1.6, 0.5]


def _wide_margins(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """From a field of view that cuts processes off to one that holds the whole body."""
    kinds = np.array([(-12.0, 6.0), (6.0, 30.0), (30.0, 90.0), (90.0, 190.0)])
    around = kinds[rng.choice(4, p=[0.1, 0.3, 0.3, 0.3])]
    left, right, front = rng.uniform(*around, 3)
    # Half of the views go on to hips and thighs, or to the head.
    below = rng.uniform(60, 280) if rng.random() < 0.35 else rng.uniform(-20, 60)
    above = rng.uniform(40, 200) if rng.random() < 0.25 else rng.uniform(-20, 40)
    return np.array([left, rng.uniform(-10, 60), below]), np.array([right, max(front, 5.0), above])


def round_field(grid: Grid) -> np.ndarray:
    """(nx, ny) boolean disc that touches the nearer pair of sides."""
    x, y, _ = grid.axes()
    size = (np.array(grid.shape[:2]) - 1) * grid.spacing_mm[:2]
    middle = grid.first_mm[:2] + size / 2
    # A rectangle is cut at its corners only, as a reconstruction matrix is.
    radius = max(size) / 2
    return (((x - middle[0]) ** 2 + (y - middle[1]) ** 2) <= radius**2)[:, :, 0]
