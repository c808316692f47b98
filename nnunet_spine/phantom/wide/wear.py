"""What age does to a spine: thin discs, osteophytes, bridges, dents; and bodies of unusual size."""

from dataclasses import dataclass, replace

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Capsule

NO_GAP_MM = 0.2


@dataclass(frozen=True)
class Wear:
    """Wear of the disc below each level.

    Attributes:
        discs: (n,) 0 for a healthy disc, 1 for one that is gone.
        joint_space_mm: between neighbouring bones.
    """

    discs: np.ndarray
    joint_space_mm: float


def draw_wear(rng: np.random.Generator, n: int) -> Wear:
    """Wear of n levels: none in some patients, most discs in others."""
    share = rng.choice([0.0, 0.15, 0.5, 0.9], p=[0.25, 0.35, 0.25, 0.15])
    discs = np.where(rng.random(n) < share, rng.beta(1.5, 1.2, n), 0.0)
    return Wear(discs, float(rng.uniform(NO_GAP_MM, 1.2)))


def vary_dimensions(rng: np.random.Generator, dims: tuple[Dimensions, ...], wear: Wear) -> tuple[Dimensions, ...]:
    """Wider ranges for every dimension, and distances between bodies that shrink with the disc.

    Args:
        dims: n levels, cranial to caudal.

    Returns:
        The n levels. A disc that is gone leaves bodies that touch.
    """
    scale = rng.uniform(0.78, 1.2)
    patient = {name: rng.uniform(0.85, 1.15) for name in vars(dims[0])}
    changed = []
    for d in dims:
        values = {name: value * scale * patient[name] * rng.normal(1, 0.03) for name, value in vars(d).items()}
        values["spacing"] = d.spacing * scale * rng.normal(1, 0.02)
        values["height"] = min(values["height"], 0.93 * values["spacing"])
        values["spinous_angle_deg"] = d.spinous_angle_deg + rng.normal(0, 6)
        values["spinous"] *= rng.uniform(0.7, 1.2)
        changed.append(Dimensions(**values))
    thin = []
    for i, d in enumerate(changed):
        gap = d.spacing - (d.height + changed[min(i + 1, len(changed) - 1)].height) / 2
        thin.append(replace(d, spacing=d.spacing - wear.discs[i] * max(gap - NO_GAP_MM, 0) if i > 1 else d.spacing))
    return tuple(thin)


def osteophytes(rng: np.random.Generator, frames: Frames, i: int, d: Dimensions, wear: Wear) -> list[Capsule]:
    """Spurs at the rims of a body next to worn discs, and bridges to the level below."""
    solids = []
    for up, worn in ((1, wear.discs[i - 1] if i else 0.0), (-1, wear.discs[i])):
        for _ in range(int(rng.poisson(4 * worn))):
            angle = rng.uniform(-0.35 * np.pi, 1.35 * np.pi)  # all around but the canal
            rim = np.array([d.width / 2 * np.cos(angle), d.depth / 2 * np.sin(angle), up * (d.height / 2 - 1.5)])
            outward = np.array([np.cos(angle), np.sin(angle), up * rng.uniform(0, 1.2)])
            reach = rng.uniform(1, 7) * (2.2 if rng.random() < 0.1 else 1)
            points = frames.to_world(i, np.array([rim * [0.9, 0.9, 1], rim + reach * outward]))
            solids.append(Capsule(points[0], points[1], rng.uniform(2, 3.2), rng.uniform(1.2, 2)))
    return solids


def dents(rng: np.random.Generator, frames: Frames, i: int, d: Dimensions, wear: Wear) -> list[Capsule]:
    """Dents in the endplates, as solids to be taken out (Schmorl's nodes)."""
    if rng.random() > 0.08 + 0.3 * wear.discs[i]:
        return []
    radius, up = rng.uniform(2.5, 6), rng.choice([-1, 1])
    at = np.array([rng.uniform(-0.25, 0.25) * d.width, rng.uniform(-0.3, 0.25) * d.depth, up * d.height / 2])
    point = frames.to_world(i, at)
    return [Capsule(point, point + rng.normal(0, 3, 3), radius, radius * 0.8)]
