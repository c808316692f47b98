"""The parts of one vertebra, region by region, as solids in the world.

Local coordinates are (right, anterior, up) mm from the body centre.
"""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Body, Capsule, Tube

MIN_RADIUS_MM = 2.3


@dataclass(frozen=True)
class Vertebra:
    """Solids of one vertebra.

    Attributes:
        solids: their union is the bone.
        carved: canal and foramina, taken out of it.
    """

    solids: list
    carved: list


@dataclass(frozen=True)
class Fracture:
    """Compression fracture of one body.

    Attributes:
        level: its name.
        kind: "wedge" or "biconcave".
        grade: Genant grade 1 (20-25 % height loss), 2 (25-40 %) or 3 (above 40 %).
        loss: lost fraction of the anterior (wedge) or middle (biconcave) height.
    """

    level: str
    kind: str
    grade: int
    loss: float


class _Builder:
    """Collects solids given in local coordinates of one level."""

    def __init__(self, frames: Frames, i: int):
        self.frames, self.i = frames, i
        self.solids: list = []
        self.carved: list = []

    def bar(
        self, start: tuple, end: tuple, radius: float, end_radius: float | None = None, spread: float = 0.0
    ) -> None:
        """A capsule in the midline or on one side; with a spread, a plate that reaches so far up and down."""
        points = self.frames.to_world(self.i, np.array([start, end]))
        radii = [max(r, MIN_RADIUS_MM) for r in (radius, radius if end_radius is None else end_radius)]
        across = spread * self.frames.axes[self.i][:, 2] if spread else None
        self.solids.append(Capsule(points[0], points[1], *radii, across))

    def bars(
        self, start: tuple, end: tuple, radius: float, end_radius: float | None = None, spread: float = 0.0
    ) -> None:
        """The same on the right and, mirrored, on the left."""
        for side in (1, -1):
            self.bar((side * start[0], *start[1:]), (side * end[0], *end[1:]), radius, end_radius, spread)

    def hole(self, right: float, anterior: float, width: float, depth: float) -> None:
        centre = self.frames.to_world(self.i, np.array([right, anterior, 0.0]))
        self.carved.append(Tube(centre, self.frames.axes[self.i], width, depth))


def build_vertebra(level: str, d: Dimensions, frames: Frames, i: int, fracture: Fracture | None = None) -> Vertebra:
    """Solids of the vertebra `level`, which is number i of `frames`."""
    build = _Builder(frames, i)
    if level == "C1":
        _atlas(build, d)
        return Vertebra(build.solids, build.carved)
    body = _body(d, frames, i, fracture)
    canal_middle = -d.depth / 2 - d.canal_depth / 2
    build.hole(0, canal_middle, d.canal_width, d.canal_depth)
    parts = {"C": _axis if level == "C2" else _cervical, "T": _thoracic, "L": _lumbar}[level[0]]
    parts(build, d, canal_middle, level)
    return Vertebra([body, *build.solids], build.carved)


def _body(d: Dimensions, frames: Frames, i: int, fracture: Fracture | None) -> Body:
    wedge = 1 - fracture.loss if fracture and fracture.kind == "wedge" else 1.0
    concavity = fracture.loss * d.height / 2 if fracture and fracture.kind == "biconcave" else 0.04 * d.height
    return Body(
        frames.centres_mm[i],
        frames.axes[i],
        d.width,
        d.depth,
        d.height,
        anterior_factor=wedge,
        concavity_mm=concavity,
        rounding_mm=min(1.5, d.height / 8),
    )


def _atlas(build: _Builder, d: Dimensions) -> None:
    """C1: an elliptic ring around the dens and the canal, with lateral masses and long transverse processes."""
    k, tip = d.canal_width / 28, d.transverse / 2
    build.bars((19 * k, -4, 3), (19.5 * k, -5, 0), 6.0)
    for start, end in zip(
        [(17, 3), (12, 7.5), (6, 10)], [(12, 7.5), (6, 10), (0, 10.8)], strict=True
    ):  # anterior arch, in front of the dens
        build.bars((start[0] * k, start[1], 0), (end[0] * k, end[1], 0), 2.8, 3.0)
    for start, end in zip(
        [(18, -9), (16.5, -18), (9.5, -27)], [(16.5, -18), (9.5, -27), (0, -31)], strict=True
    ):  # posterior arch
        build.bars((start[0] * k, start[1], 0), (end[0] * k, end[1], -1), 2.8, 3.2)
    build.bars((20 * k, -4, 0), (tip - 3.5, -2, -1), 2.6, 3.3)
    build.bars((20 * k, -10, 0), (tip - 3.5, -6, -1), 2.6, 3.3)
    build.hole(0, -10.5, d.canal_width, 34)
    for side in (1, -1):
        build.hole(side * (tip - 10.5), -6.2, 6, 6)


def _axis(build: _Builder, d: Dimensions, canal_middle: float, level: str) -> None:
    """C2: the dens, sloping shoulders for C1, and a large forked spinous process."""
    side, back = d.canal_width / 2, canal_middle - d.canal_depth / 2 - 2.5
    post = -d.depth / 2
    build.bar((0, 0, d.height / 2 - 5), (0, 0.5, d.height / 2 + 9.5), 5.6, 4.8)
    build.bars((7, -1, d.height / 2 - 5), (14.5, -3, d.height / 2 - 4), 4.5)
    build.bars((9, post + 3, 2), (side + 3.5, canal_middle, -0.2 * d.spacing), 4.2)
    build.bars((side + 3.5, canal_middle, -0.1 * d.spacing), (side + 3.5, canal_middle - 3, -0.4 * d.spacing), 4.2)
    build.bars((13, -5, 1), (d.transverse / 2 - 2.6, -7, -3), 2.8)
    build.bars((side + 3, canal_middle - 2, -1.5), (0, back, -1.5), 3.0, spread=3)
    build.bar((0, back, -1.5), (0, back - 0.6 * d.spinous, -3.5), 3.2, spread=3)
    build.bars((0, back - 0.5 * d.spinous, -4), (4.5, back - d.spinous, -7), 3.3)


def _cervical(build: _Builder, d: Dimensions, canal_middle: float, level: str) -> None:
    """C3-C7: uncinate processes, articular pillars, pierced transverse processes, forked spinous processes."""
    side, half, post, tip = d.canal_width / 2, d.width / 2, -d.depth / 2, d.transverse / 2
    back = canal_middle - d.canal_depth / 2 - 2
    build.bars((half - 1.8, 0.1 * d.depth, d.height / 2 - 0.5), (half - 1.8, -0.3 * d.depth, d.height / 2 + 0.5), 2.3)
    build.bars((half - 2, post + 4, 0), (side + 3, canal_middle + 3, 0), d.pedicle / 2)
    build.bars((side + 4.5, canal_middle + 3, 0.38 * d.spacing), (side + 4.5, canal_middle - 4, -0.42 * d.spacing), 4.8)
    build.bars((side + 2.5, canal_middle - 2, 0), (0, back, -2), 2.5, spread=2.5)
    build.bars((half - 1, post + 7, -0.5), (tip - 2.4, post + 4.5, -1), 2.3)
    build.bars((side + 4, canal_middle + 4, -0.5), (tip - 2.4, post + 2.5, -1), 2.5)
    for s in (1, -1):
        build.hole(s * (half + 5.6), post + 4, 5.5, 5.5)
    slope = np.deg2rad(d.spinous_angle_deg)
    reach = np.array([0, -np.cos(slope), -np.sin(slope)])
    root = np.array([0, back, -2.5])
    forked = level != "C7"
    for w in (1.8, -1.8):
        build.bar(
            tuple(root + np.array([0, 0, w])), tuple(root + reach * d.spinous * (0.7 if forked else 1.0)), 2.6, 2.8
        )
    if forked:
        fork, end = root + reach * 0.65 * d.spinous, root + reach * d.spinous
        build.bars(tuple(fork), (3.4, end[1], end[2]), 2.6)
    else:
        build.bar(tuple(root + reach * 0.8 * d.spinous), tuple(root + reach * d.spinous), 2.8, 3.8)


def _thoracic(build: _Builder, d: Dimensions, canal_middle: float, level: str) -> None:
    """T1-T13: shingled laminae, dorsally swept transverse processes, slanting spinous processes."""
    side, post, tip = d.canal_width / 2, -d.depth / 2, d.transverse / 2
    back = canal_middle - d.canal_depth / 2 - 2
    radius = max(d.pedicle / 2, MIN_RADIUS_MM)
    height, low = d.height, level in ("T11", "T12", "T13")
    level_of = 0.21 * height
    build.bars(
        (side + radius - 0.5, post + 5, level_of), (side + radius, canal_middle, level_of), radius, spread=0.12 * height
    )
    build.bars((side + 1.5, canal_middle - 1, 0), (0, back, -4), 2.7, spread=0.32 * height)
    build.bars((side + 1, canal_middle - 2, 0.2 * height), (side + 1.5, canal_middle - 2.5, 0.46 * d.spacing), 3.2)
    end = canal_middle - d.canal_depth / 2 - 1
    build.bars((side - 0.5, canal_middle - 4, -0.1 * height), (side - 1, end, -0.58 * d.spacing), 3.2)
    sweep = 8 if low else 12
    build.bars(
        (side + 2, canal_middle - 1, 0.2 * height),
        (tip - 4, canal_middle - sweep, 0.2 * height + 3),
        3.8,
        3.2 if low else 4.2,
    )
    slope = np.deg2rad(d.spinous_angle_deg)
    root = np.array([0, back, -0.2 * height])
    end = root + d.spinous * np.array([0, -np.cos(slope), -np.sin(slope)])
    build.bar(tuple(root), tuple(end), 3.0, 2.8, spread=0.26 * height if low else 0.11 * height)


def _lumbar(build: _Builder, d: Dimensions, canal_middle: float, level: str) -> None:
    """L1-L6: stout pedicles, interlocking facets, flat transverse and hatchet-shaped spinous processes."""
    side, post, tip, height = d.canal_width / 2, -d.depth / 2, d.transverse / 2, d.height
    back = canal_middle - d.canal_depth / 2 - 2.5
    radius = min(d.pedicle / 2, 6.5)
    level_of = 0.19 * height
    build.bars(
        (side + radius - 1, post + 5, level_of), (side + radius, canal_middle, level_of), radius, spread=0.1 * height
    )
    build.bars((side + 4, canal_middle, 0.2 * height), (side + 6, canal_middle - 4, 0.45 * d.spacing), 4.0)
    build.bars((side + 1, canal_middle - 5, 0), (side - 1, back + 2, -0.58 * d.spacing), 4.0)
    build.bars((side + 1, canal_middle - 4, -0.12 * height), (0, back, -0.12 * height - 3), 3.0, spread=0.24 * height)
    build.bars((side + radius, post - 2, 0.15 * height), (tip - 2.5, post - 8, 0.2 * height), 3.6, 2.6)
    slope = np.deg2rad(d.spinous_angle_deg)
    reach = d.spinous * np.array([0, -np.cos(slope), -np.sin(slope)])
    root = np.array([0, back, -0.28 * height])
    build.bar(tuple(root), tuple(root + reach), 3.0, 3.4, spread=0.28 * height)
