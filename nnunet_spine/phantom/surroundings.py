"""Bones and organs around the spine: sacrum, ribs, skull, torso, lungs, aorta."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Body, Capsule

N_SACRAL = 5
SACRAL_SCALE = np.array([1.0, 0.85, 0.7, 0.55, 0.42])
RIB_LENGTH = {"T1": 0.45, "T2": 0.7, "T11": 0.35, "T12": 0.22, "T13": 0.15}


@dataclass(frozen=True)
class Torso:
    """Outline of the body as one ellipse per height.

    Attributes:
        z_mm: (k,) heights, ascending.
        x_mm, y_mm: (k,) centres.
        half_width_mm, half_depth_mm: (k,) semi-axes.
    """

    z_mm: np.ndarray
    x_mm: np.ndarray
    y_mm: np.ndarray
    half_width_mm: np.ndarray
    half_depth_mm: np.ndarray

    def at(self, z_mm: np.ndarray) -> tuple[np.ndarray, ...]:
        """x, y of the centre, half width, half depth at heights (m,), each (m,) mm."""
        values = (self.x_mm, self.y_mm, self.half_width_mm, self.half_depth_mm)
        return tuple(np.interp(z_mm, self.z_mm, v) for v in values)


def sacral_spacing_mm(last: Dimensions) -> np.ndarray:
    """Distances (5,): last lumbar to S1, then between successive sacral segments."""
    return np.concatenate([[0.98 * last.spacing], 0.5 * last.spacing * (SACRAL_SCALE[1:] + SACRAL_SCALE[:-1]) * 0.88])


def sacrum_solids(frames: Frames, last: Dimensions) -> list:
    """Five fused, shrinking segments with alae and a median crest; the last five of `frames`."""
    solids, first = [], len(frames) - N_SACRAL
    for k, scale in enumerate(SACRAL_SCALE):
        i = first + k
        width, depth = last.width * (0.35 + 0.65 * scale), last.depth * 0.9 * scale
        height = last.spacing * scale * (0.85 if k == 0 else 1.0)
        solids.append(Body(frames.centres_mm[i], frames.axes[i], width, depth, height, waist=0.05, rounding_mm=1.0))

        def bar(start: tuple, end: tuple, r0: float, r1: float, i: int = i) -> None:
            points = frames.to_world(i, np.array([start, end]))
            solids.append(Capsule(points[0], points[1], r0, r1))

        back = -depth / 2 - 20 * scale
        reach = last.width * (1.08 if k == 0 else 1.0 * scale)
        for side in (1, -1):
            for w in (5 * scale, -5 * scale):
                bar((side * width / 3, -2, w), (side * reach, -10 * scale - 4, w - 2), 8.5 * scale + 1, 7 * scale + 1)
            bar((side * width / 2, -depth / 2, 0), (side * width / 3, back, 0), 4 * scale + 1.5, 3)
            bar((side * width / 3, back, 0), (0, back - 2, -3), 3, 3)
        if k < 4:
            bar((0, back - 2, 2), (0, back - 12 * scale, -6 * scale), 3, 3)
    return solids


def ilium_solids(frames: Frames, last: Dimensions) -> list:
    """The wings of the pelvis beside the sacrum, as fans of bars."""
    s1, solids = len(frames) - N_SACRAL, []
    reach = last.width * 1.08 + 10
    for side in (1, -1):
        hub = frames.to_world(s1, np.array([side * reach, -22.0, -18.0]))
        for angle in np.deg2rad(np.arange(-40, 91, 13)):
            out = np.array([side * (18 + 30 * np.cos(angle)), 75 * np.cos(angle) - 20, 62 * np.sin(angle) + 12])
            solids.append(Capsule(hub, hub + out, 7.0, 4.5))
    return solids


def skull_centre_mm(frames: Frames) -> np.ndarray:
    """Middle of the head above C1, (3,) mm."""
    return frames.to_world(0, np.array([0.0, 16.0, 91.0]))


def condyle_solids(frames: Frames) -> list:
    """The two joints by which the skull rests on C1."""
    ends = [frames.to_world(0, np.array([(s * 18.5, -5, 14), (s * 22, -4, 24)])) for s in (1, -1)]
    return [Capsule(low, high, 5.0, 7.0) for low, high in ends]


def rib_solids(frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...], torso: Torso, rng) -> list:
    """Both ribs of every thoracic level, from the body's upper corner around the torso, as chains of bars."""
    solids = []
    for i, (level, d) in enumerate(zip(levels, dims, strict=True)):
        if level[0] != "T":
            continue
        length, drop = RIB_LENGTH.get(level, 1.0), rng.uniform(45, 60)
        for side in (1, -1):
            points = _rib_line(frames, i, d, torso, side, length * rng.uniform(0.95, 1.05), drop)
            radii = np.linspace(3.6, 4.4, len(points))
            solids += [Capsule(a, b, r, r) for a, b, r in zip(points[:-1], points[1:], radii, strict=False)]
    return solids


def _rib_line(
    frames: Frames, i: int, d: Dimensions, torso: Torso, side: int, length: float, drop_mm: float
) -> np.ndarray:
    """(m, 3) points: neck past the transverse process, then along an ellipse 14 mm inside the skin."""
    canal_middle = -d.depth / 2 - d.canal_depth / 2
    neck = [
        (side * (d.width / 2 + 1.5), -d.depth / 2 + 3, d.height / 2 - 1),
        (side * (d.transverse / 2 - 2), canal_middle - 4, d.height / 2 - 2),
        (side * (d.transverse / 2 + 9), canal_middle - 9, d.height / 2 - 4),
    ]
    neck = frames.to_world(i, np.array(neck))
    x, y, half_width, half_depth = (float(v) for v in torso.at(neck[2, 2] - 20))
    a, b = half_width - 14, half_depth - 16
    start = np.arctan2((neck[2, 1] - y) / b, abs(neck[2, 0] - x) / a)
    stop = start + length * (np.deg2rad(62) - start)
    t = np.linspace(0, 1, max(int(26 * length), 5))[1:]
    angle = start + (stop - start) * t
    radius = np.hypot((neck[2, 1] - y) / b, (neck[2, 0] - x) / a)
    radius = radius + (1 - radius) * np.clip(t * length / 0.22, 0, 1)
    line = np.stack(
        [
            x + side * a * radius * np.cos(angle),
            y + b * radius * np.sin(angle),
            neck[2, 2] - drop_mm * length * np.sin(t * length * np.pi / 2),
        ],
        -1,
    )
    return np.concatenate([neck, line])


def draw_torso(
    rng: np.random.Generator, frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...]
) -> Torso:
    """Body outline that follows the spine: neck, shoulders, chest, waist, hips."""
    fat = rng.uniform(0.9, 1.25)
    table = {  # level: distance of the skin behind the body centre, half width, half depth
        "C1": (62, 68, 78),
        "C4": (58, 62, 66),
        "C6": (66, 72, 68),
        "T1": (78, 165, 82),
        "T3": (76, 185, 95),
        "T7": (78, 172, 112),
        "T11": (76, 158, 116),
        "L2": (80, 150, 112),
        "L4": (84, 165, 115),
    }
    index = [i for i, level in enumerate(levels) if level in table]
    rows = np.array([table[levels[i]] for i in index], float)
    index.append(len(frames) - 2)
    rows = np.concatenate([rows, [(75, 180, 118)]])
    centres = frames.centres_mm[index]
    behind = rows[:, 0] * (0.8 + 0.2 * fat)
    depth = rows[:, 2] * fat
    # The back is smoother than the spine beneath it.
    order = np.argsort(centres[:, 2])
    y = (centres[:, 1] - behind + depth)[order]
    x = 0.5 * (centres[:, 0] + np.mean(centres[:, 0]))[order]
    z, a, b = centres[order, 2], rows[order, 1] * fat, depth[order]
    fine = np.linspace(z[0] - 150, z[-1] + 60, 240)
    kernel = np.hanning(21)
    smooth = [
        np.convolve(np.pad(np.interp(fine, z, v), 10, mode="edge"), kernel / kernel.sum(), mode="valid")
        for v in (x, y, a, b)
    ]
    return Torso(fine, *smooth)
