"""Bones that are not spine, but have its density: what a network must learn to leave out."""

from itertools import pairwise

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Capsule, Ellipsoid
from nnunet_spine.phantom.surroundings import N_SACRAL, Torso


def mm(*coordinates: float) -> np.ndarray:
    """A point or a step, (3,)."""
    return np.array(coordinates, float)


def bar(start: np.ndarray, end: np.ndarray, radius: float, end_radius: float | None = None, spread=None) -> Capsule:
    """A capsule between two points, or a plate with half its extent across as `spread`."""
    spread = None if spread is None else np.asarray(spread, float)
    return Capsule(np.asarray(start, float), np.asarray(end, float), radius, end_radius or radius, spread)


def chain(points: np.ndarray, radius: float, spread=None) -> list[Capsule]:
    """Bars between successive points."""
    return [bar(a, b, radius, spread=spread) for a, b in pairwise(points)]


def other_bones(
    rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], last: Dimensions, torso: Torso
) -> list:
    """Sternum, shoulders, arms, jaw, hyoid bone, lower pelvis and femora, as solids."""
    size = last.width / 48
    return [
        *_sternum(rng, frames, levels, torso),
        *_shoulders_and_arms(rng, frames, levels, torso),
        *_jaw(rng, frames, levels),
        *_hips(rng, frames, size),
    ]


def _at(frames: Frames, levels: tuple[str, ...], level: str) -> np.ndarray:
    return frames.centres_mm[levels.index(level)]


def _front(torso: Torso, z: float, x: float = 0.0, depth: float = 14.0) -> np.ndarray:
    """A point `depth` mm behind the skin of the chest, x mm from its middle."""
    cx, cy, a, b = (float(v) for v in torso.at(z))
    return np.array([cx + x, cy + (b - depth) * np.sqrt(max(1 - (x / a) ** 2, 0.1)), z])


def _sternum(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], torso: Torso) -> list:
    top, bottom = _at(frames, levels, "T3")[2], _at(frames, levels, "T9")[2]
    depth = rng.uniform(8, 26)
    heights = np.linspace(top, bottom, 7)
    points = np.array([_front(torso, z, depth=depth) for z in heights])
    solids = []
    for k, (a, b) in enumerate(pairwise(points)):
        solids.append(bar(a, b, rng.uniform(4, 6), spread=(24 if k == 0 else 15 if k < 5 else 6, 0, 0)))
    for side in (1, -1):  # cartilage, calcified or not, joins it to the ribs
        for z in heights[1:6]:
            end = _front(torso, z + rng.uniform(-12, 4), side * rng.uniform(55, 90), depth)
            solids.append(bar(_front(torso, z, side * 16, depth), end, rng.uniform(2.5, 4.5)))
    return solids


def _shoulders_and_arms(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], torso: Torso) -> list:
    t1, t2, t7 = (_at(frames, levels, name) for name in ("T1", "T2", "T7"))
    raised, solids = rng.random() < 0.5, []
    for side in (1, -1):
        cx, cy, a, _ = (float(v) for v in torso.at(t2[2]))
        joint = np.array([cx + side * (a - rng.uniform(0, 22)), cy - rng.uniform(0, 35), t1[2] + rng.uniform(-25, 25)])
        inner = _front(torso, t2[2] + 5, side * 22, 22)
        middle = (inner + joint) / 2 + [0, rng.uniform(5, 22), rng.uniform(0, 14)]
        solids += chain(np.array([inner, middle, joint + mm(0, 12, 12)]), rng.uniform(4.5, 6.5))
        # Scapula: a thin plate behind the ribs with its spine and socket.
        tip = np.array([cx + side * 0.62 * a, t7[1] - rng.uniform(40, 62), t7[2] + rng.uniform(-10, 40)])
        corner = np.array([cx + side * 0.42 * a, t2[1] - rng.uniform(40, 62), t2[2] + rng.uniform(-15, 15)])
        solids += [bar(joint, tip, rng.uniform(3, 5)), bar(joint, corner, rng.uniform(3, 5)), bar(corner, tip, 3.0)]
        solids += [bar((joint + corner) / 2, (joint + tip) / 2, 2.2, spread=(0, 3, 22)), bar(joint, corner, 2.5)]
        solids.append(bar(joint + mm(0, -10, 16), corner + mm(0, -14, -12), 4.0))
        solids.append(Ellipsoid(joint, np.full(3, rng.uniform(20, 27))))
        elbow = joint + mm(side * rng.uniform(-10, 35), rng.uniform(-20, 30), (1 if raised else -1) * 290)
        solids.append(bar(joint, elbow, rng.uniform(9, 14)))
        if not raised:  # forearms and hands beside the hips or on the belly
            wrist = elbow + mm(side * rng.uniform(-90, 10), rng.uniform(0, 90), -rng.uniform(150, 240))
            solids += [bar(elbow, wrist, 7.0, 5.0), bar(elbow + mm(8, 12, 0), wrist + mm(6, 12, 0), 6.0, 5.0)]
            solids += [bar(wrist, wrist + mm(side * 9 * k - 18, 5, -rng.uniform(60, 95)), 4.0, 3.0) for k in range(4)]
    return solids


def _jaw(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...]) -> list:
    i = levels.index("C3")
    angle = np.linspace(-1.25, 1.25, 9)
    reach, drop = rng.uniform(62, 84), rng.uniform(-16, 16)
    local = np.stack([48 * np.sin(angle), 8 + reach * np.cos(angle), np.full(9, drop)], -1)
    arch = frames.to_world(i, local)
    solids = chain(arch, rng.uniform(5, 7), spread=(0, 0, 8))
    for end in (arch[0], arch[-1]):
        solids.append(bar(end, end + mm(0, -6, rng.uniform(35, 52)), 6.0))
    teeth = frames.to_world(i, local[2:7] * [0.85, 0.95, 1] + mm(0, 0, 14))
    solids += [Ellipsoid(t, np.array([4.5, 4.5, 8.0])) for t in teeth]
    hyoid = np.stack([18 * np.sin(angle[2:7]), 22 + 18 * np.cos(angle[2:7]), np.full(5, drop - 28)], -1)
    return solids + chain(frames.to_world(i, hyoid), 2.4)


def _hips(rng: np.random.Generator, frames: Frames, size: float) -> list:
    s1 = frames.centres_mm[len(frames) - N_SACRAL]
    solids = []
    for side in (1, -1):

        def point(x: float, y: float, z: float, side: int = side) -> np.ndarray:
            return s1 + size * np.array([side * x, y, z])

        hip = point(rng.uniform(82, 94), rng.uniform(-5, 30), -rng.uniform(85, 105))
        head = rng.uniform(21, 26) * size
        solids += [
            bar(point(58, -10, -30), hip + mm(0, 0, 22), 15.0 * size, 13.0 * size),  # ilium down to the hip
            bar(hip + size * np.array([-side * 14, 8, 12]), point(14, 48, -115), 8.0 * size, 7.0 * size),  # pubis
            bar(hip + size * np.array([0, -12, -16]), point(55, -25, -155), 12.0 * size, 14.0 * size),  # ischium
            bar(point(55, -20, -160), point(16, 42, -128), 7.0 * size),
            bar(point(70, -25, 8), hip + mm(0, 20, 30), 5.0 * size, 8.0 * size),
            Ellipsoid(hip, np.full(3, head)),
        ]
        trochanter = hip + size * np.array([side * 55, -10, -28])
        solids += [
            bar(hip, trochanter, 14.0 * size, 18.0 * size),
            bar(trochanter, trochanter - mm(0, 0, 300), 16.0 * size),
        ]
    return solids
