"""Soft tissue, gas and contrast medium in front of, beside and behind the spine."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Capsule, Ellipsoid
from nnunet_spine.phantom.surroundings import Torso
from nnunet_spine.phantom.wide.skeleton import bar, chain, mm


@dataclass(frozen=True)
class Filled:
    """A solid of one density.

    Attributes:
        solid: its shape.
        hu: mean density.
        texture: standard deviation of a slow variation, HU.
        only_within: leave voxels below this density as they are: -500 keeps lungs and the air around the patient.
    """

    solid: Capsule | Ellipsoid
    hu: float
    texture: float = 0.0
    only_within: float = -500.0


def draw_organs(
    rng: np.random.Generator,
    frames: Frames,
    levels: tuple[str, ...],
    dims: tuple[Dimensions, ...],
    torso: Torso,
) -> list[Filled]:
    """Heart, great vessels with calcifications, liver, spleen, stomach, kidneys, bowel, bladder, muscles, airways.

    Densities of vessels and hollow organs go from plain to full of contrast medium or gas.
    """
    contrast = rng.random() < 0.6
    blood = float(rng.uniform(120, 520)) if contrast else float(rng.uniform(20, 60))
    return [
        *_muscles(rng, frames, levels, dims),
        *_heart(rng, frames, levels, torso, blood),
        *_abdomen(rng, frames, levels, torso, blood, contrast),
        *_bowel(rng, frames, levels, torso),
        *_vessels(rng, frames, levels, dims, blood),
        *_airways(rng, frames, levels),
    ]


def _world(frames: Frames, levels: tuple[str, ...], level: str, right: float, anterior: float, up: float) -> np.ndarray:
    """A point beside a level's centre along the world's axes; T12 is T11 in spines that have none."""
    level = level if level in levels else "T11"
    return frames.centres_mm[levels.index(level)] + np.array([right, anterior, up])


def _muscles(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...]) -> list:
    """Fat around the spine and muscle in it, or the other way round."""
    found, fat = [], rng.uniform(-120, -60)
    muscle, wasted = rng.uniform(30, 75), rng.random() < 0.4
    lower = [i for i, level in enumerate(levels) if level[0] == "L" or level in ("T11", "T12", "T13")]
    trunk = [i for i, level in enumerate(levels) if level[0] in "TL"]
    around = rng.random() < 0.6
    for side in (1, -1):
        if around:
            path = np.array([frames.to_world(i, np.array([side * 30, 12.0, 0.0])) for i in lower])
            found += [Filled(c, fat, 15) for c in chain(path, rng.uniform(18, 34))]
            behind = np.array(
                [frames.to_world(i, np.array([side * 26, -dims[i].depth / 2 - 38, 0.0])) for i in trunk[::2]]
            )
            found += [Filled(c, fat, 15) for c in chain(behind, rng.uniform(16, 30))]
        psoas = np.array([frames.to_world(i, np.array([side * (dims[i].width / 2 + 12), 4.0, 0.0])) for i in lower])
        found += [Filled(c, muscle, 10) for c in chain(psoas, rng.uniform(8, 19))]
        erector = np.array(
            [frames.to_world(i, np.array([side * 24, -dims[i].depth / 2 - 34, 0.0])) for i in trunk[::2]]
        )
        found += [Filled(c, muscle - (60 if wasted else 0), 25) for c in chain(erector, rng.uniform(10, 20))]
    return found


def _heart(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], torso: Torso, blood: float) -> list:
    middle = _world(frames, levels, "T7", rng.uniform(-35, 5), rng.uniform(55, 85), rng.uniform(-20, 20))
    half = np.array([rng.uniform(42, 65), rng.uniform(32, 48), rng.uniform(38, 60)])
    found = [Filled(Ellipsoid(middle, half), rng.uniform(30, 110), 10, -2000)]
    for _ in range(4):
        at = middle + rng.uniform(-0.45, 0.45, 3) * half
        found.append(Filled(Ellipsoid(at, half * rng.uniform(0.25, 0.5, 3)), blood * rng.uniform(0.6, 1.2), 10, -2000))
    for _ in range(int(rng.integers(6, 20))):  # vessels of the lungs
        start = middle + mm(rng.choice([-1, 1]) * rng.uniform(10, 40), -rng.uniform(10, 40), rng.uniform(-20, 50))
        end = start + rng.normal(0, 1, 3) * [45, 30, 50]
        found.append(Filled(bar(start, end, rng.uniform(2, 7), 1.5), blood * rng.uniform(0.5, 1.1), 0, -2000))
    return found


def _abdomen(
    rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], torso: Torso, blood: float, contrast: bool
) -> list:
    soft = rng.uniform(35, 70) + (rng.uniform(0, 90) if contrast else 0)
    kidney = rng.uniform(100, 320) if contrast else rng.uniform(20, 45)
    found = []
    for level, right, anterior, half in (
        ("T11", 75, 45, (75, 70, 70)),  # liver
        ("T11", -95, 5, (30, 45, 45)),  # spleen
    ):
        centre = _world(frames, levels, level, right + rng.uniform(-15, 15), anterior, rng.uniform(-25, 25))
        found.append(Filled(Ellipsoid(centre, np.array(half) * rng.uniform(0.8, 1.15, 3)), soft, 12))
    for side in (1, -1):
        centre = _world(frames, levels, "L1", side * rng.uniform(50, 68), rng.uniform(-15, 12), rng.uniform(-30, 20))
        half = np.array([rng.uniform(20, 28), rng.uniform(20, 28), rng.uniform(45, 60)])
        found.append(Filled(Ellipsoid(centre, half), kidney, 20))
        pelvis = blood if rng.random() < 0.5 else rng.uniform(0, 900)  # excreted contrast medium is brighter than bone
        found.append(Filled(Ellipsoid(centre - [side * 12, 0, 0], half * 0.35), pelvis, 20))
    stomach = _world(frames, levels, "T12", -rng.uniform(30, 80), rng.uniform(50, 90), rng.uniform(-20, 40))
    filling = float(rng.choice([-950.0, 40.0, rng.uniform(100, 700)]))
    found.append(Filled(Ellipsoid(stomach, rng.uniform(22, 50, 3)), filling, 15))
    bladder = frames.centres_mm[-1] + mm(rng.uniform(-10, 10), rng.uniform(50, 80), rng.uniform(-50, 0))
    found.append(Filled(Ellipsoid(bladder, rng.uniform(25, 50, 3)), rng.choice([5.0, rng.uniform(100, 600)]), 5))
    return found


def _bowel(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], torso: Torso) -> list:
    """Loops of gas, stool, fluid or contrast medium in the belly and the lower pelvis, among fat."""
    low = frames.centres_mm[-1][2] - 20
    high = _world(frames, levels, "T12", 0, 0, 0)[2]
    found = []
    cx, cy, a, b = (float(v) for v in torso.at((low + high) / 2))
    if rng.random() < 0.8:
        middle = np.array([cx, cy + 0.35 * b, (low + high) / 2])
        belly = Ellipsoid(middle, np.array([0.8 * a, 0.5 * b, (high - low) / 2]))
        found.append(Filled(belly, rng.uniform(-115, -70), 25))
    for _ in range(int(rng.integers(8, 26))):
        z = rng.uniform(low, high)
        spine_y = float(np.interp(z, frames.centres_mm[::-1, 2], frames.centres_mm[::-1, 1]))
        at = np.array([cx + rng.uniform(-0.75, 0.75) * a, rng.uniform(spine_y + 45, cy + 0.8 * b), z])
        points = at + np.cumsum(rng.normal(0, 1, (int(rng.integers(2, 6)), 3)) * [22, 14, 22], 0)
        points[:, 1] = np.maximum(points[:, 1], spine_y + 45)
        kind, radius = rng.random(), rng.uniform(7, 24)
        hu = rng.uniform(-980, -850) if kind < 0.35 else rng.uniform(10, 60) if kind < 0.75 else rng.uniform(100, 900)
        for solid in chain(points, radius):
            found.append(Filled(solid, rng.uniform(20, 60), 20))
            inner = bar(solid.start_mm, solid.end_mm, max(radius - rng.uniform(1.5, 4), 2))
            found.append(Filled(inner, hu, 40 if hu > 0 else 0))
    return found


def _vessels(
    rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...], blood: float
) -> list:
    """Aorta with arch and calcified plaques, vena cava, iliac and neck vessels."""
    trunk = [i for i, level in enumerate(levels) if level[0] in "TL" and level not in ("T1", "T2", "T3")]
    shift = np.linspace(-rng.uniform(14, 30), -rng.uniform(-4, 12), len(trunk))
    gap, radius = rng.uniform(10, 20), rng.uniform(8, 17)
    path = np.array(
        [
            frames.to_world(i, np.array([x, dims[i].depth / 2 + gap * 0.55 + radius * 0.5, 0.0]))
            for i, x in zip(trunk, shift, strict=True)
        ]
    )
    aorta = chain(path, radius)
    arch = path[0] + np.array([[0, 0, 0], [8, 18, 22], [22, 45, 20], [30, 60, -10], [24, 55, -60]])
    aorta += chain(arch, radius * 1.15)
    end = path[-1]
    found = [Filled(solid, blood, 8, -2000) for solid in aorta]
    for side in (1, -1):
        iliac = end + np.array([[0, 0, 0], [side * 25, 0, -35], [side * 60, 20, -90], [side * 85, 70, -140]])
        found += [Filled(solid, blood * rng.uniform(0.7, 1), 8) for solid in chain(iliac, rng.uniform(5, 9))]
        neck = [i for i, level in enumerate(levels) if level[0] == "C"]
        carotid = np.array([frames.to_world(i, np.array([side * rng.uniform(22, 32), 24.0, 0.0])) for i in neck])
        found += [Filled(solid, blood * rng.uniform(0.6, 1.1), 5) for solid in chain(carotid, rng.uniform(3, 7))]
        artery = np.array(
            [frames.to_world(i, np.array([side * (dims[i].width / 2 + 5.6), -3.0, 0.0])) for i in neck[1:]]
        )
        found += [Filled(solid, blood, 0) for solid in chain(artery, 1.6)]
    cava = path[len(path) // 2 :] + mm(rng.uniform(26, 38), rng.uniform(-6, 4), 0)
    found += [Filled(solid, blood * rng.uniform(0.3, 1.0) + 20, 8) for solid in chain(cava, rng.uniform(7, 13))]
    for _ in range(int(rng.poisson(rng.choice([0, 3, 12])))):
        solid = aorta[int(rng.integers(len(aorta)))]
        direction = rng.normal(0, 1, 3)
        at = solid.start_mm + direction / np.linalg.norm(direction) * radius
        found.append(Filled(bar(at, at + rng.normal(0, 5, 3), rng.uniform(0.8, 2.5)), rng.uniform(400, 1300), 0))
    return found


def _airways(rng: np.random.Generator, frames: Frames, levels: tuple[str, ...]) -> list:
    """Pharynx, larynx and gullet; the trachea is in the torso."""
    neck = [i for i, level in enumerate(levels) if level[0] == "C" or level in ("T1", "T2")]
    ahead = rng.uniform(20, 34)
    path = np.array([frames.to_world(i, np.array([0.0, ahead, 0.0])) for i in neck])
    found = [Filled(solid, -950.0, 0) for solid in chain(path, rng.uniform(4, 9))]
    if rng.random() < 0.4:  # tube in the airway
        found += [Filled(solid, rng.uniform(200, 900), 0) for solid in chain(path[2:], 3.5)]
    return found
