"""Mean dimensions of every vertebral level, and their variation between and within patients.

Body, canal and transverse process after Panjabi et al., Spine 16:888 (1991), 17:299 (1992) and Spine 16:861 (1991), to
about 10 %; C1, C2, T13, L6 and the spinous processes are approximations. Distances between body centres are those of
`anatomy.SPACING_MM`. Pedicle widths make the inter-pedicle distances come right.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from nnunet_spine.anatomy import SPACING_MM

_COLUMNS = """
    C1   0    0    10   28   20   76   3  0  7
    C2   17   15.5 19   24.5 19   50   16 20 7
    C3   16.5 15.3 11.6 22.9 16.2 50   14 20 5.4
    C4   17.1 15.6 11.4 24.7 17.7 48.5 14 20 5.4
    C5   18.5 16.5 11.4 24.9 17.4 46   14 22 5.5
    C6   20.3 17.5 10.9 25.8 17.3 49.5 18 25 5.8
    C7   22.6 17.5 12.8 24.5 15.2 66.6 34 25 6.5
    T1   26.2 19.1 14.1 21.8 16.4 75   34 30 7.6
    T2   26.2 20.6 15.6 19.5 15.8 70   34 38 7
    T3   25.3 23   15.7 18.4 15.9 62   33 42 6
    T4   25.3 23.9 16.2 17.4 16.2 60.5 33 48 5.2
    T5   26   25   16.2 17.5 16.2 61   35 55 5
    T6   27.2 26.5 17.4 17.3 16.4 61.5 36 60 5
    T7   28.5 28   18.2 17.3 16   60.5 37 62 5.2
    T8   30   28.7 18.7 17.7 15.9 60   36 60 5.6
    T9   31.8 30.2 19.3 17.9 15.7 59   34 50 6
    T10  33.7 31   20.2 18.2 15.5 58   32 40 6.6
    T11  37   31.9 21.3 19.4 16   52   28 28 7.2
    T12  40.6 33.1 22.7 22.2 18.1 47   27 18 7.2
    T13  42   34   23.2 23   18.5 58   28 12 7.2
    L1   42.3 34.7 23.8 23.7 19   71   31 8  7.4
    L2   44.1 34.8 24.3 23.8 18.2 76   34 6  7.8
    L3   46.1 35   23.8 24.3 17.5 86   34 5  9
    L4   48.1 34.7 24.1 25.4 18.6 80   33 5  11.5
    L5   48.4 34   22.9 27.1 19.7 92   26 8  15
    L6   49   34   23   27.5 19.7 95   26 8  15
"""


@dataclass(frozen=True)
class Dimensions:
    """Size of one vertebra, in mm unless the name says otherwise.

    Attributes:
        width, depth: of the body, mean of both endplates; 0 for C1, which has none.
        height: of the posterior body wall.
        spacing: distance from the body centre to that of the next level caudally.
        canal_width, canal_depth: of the vertebral canal.
        transverse: distance between the tips of the transverse processes.
        spinous: length of the spinous process beyond the lamina.
        spinous_angle_deg: downward slope of the spinous process.
        pedicle: width of one pedicle.
    """

    width: float
    depth: float
    height: float
    spacing: float
    canal_width: float
    canal_depth: float
    transverse: float
    spinous: float
    spinous_angle_deg: float
    pedicle: float


def _mean_dimensions() -> dict[str, Dimensions]:
    table = {}
    for row in _COLUMNS.strip().splitlines():
        name, width, depth, height, *rest = row.split()
        table[name] = Dimensions(*map(float, (width, depth, height, SPACING_MM[name], *rest)))
    return table


MEAN_DIMENSIONS: dict[str, Dimensions] = _mean_dimensions()


def draw_dimensions(rng: np.random.Generator, levels: tuple[str, ...]) -> tuple[Dimensions, ...]:
    """Dimensions of one patient: a common scale (SD 6 %), centre spacing +-2 %, every other dimension +-5 %.

    Most of the 5 % is common to the patient (3.5 % and 3.5 % per level combine to it), so that neighbours look alike.
    """
    scale = np.clip(rng.normal(1, 0.06), 0.84, 1.16)
    names = [field.name for field in fields(Dimensions)]
    patient = 1 + 0.035 * np.clip(rng.standard_normal(len(names)), -2, 2)
    thin_discs = rng.uniform(1.0, 1.1)
    drawn = []
    for level in levels:
        jitter = patient + 0.035 * np.clip(rng.standard_normal(len(names)), -2, 2)
        values = {
            name: getattr(MEAN_DIMENSIONS[level], name) * scale * j for name, j in zip(names, jitter, strict=True)
        }
        values["spacing"] = MEAN_DIMENSIONS[level].spacing * scale * (1 + 0.02 * np.clip(rng.standard_normal(), -2, 2))
        values["spinous_angle_deg"] = MEAN_DIMENSIONS[level].spinous_angle_deg + 3 * rng.standard_normal()
        values["height"] *= thin_discs
        drawn.append(Dimensions(**values))
    return tuple(_with_disc_space(drawn))


def _with_disc_space(drawn: list[Dimensions], disc_mm: float = 2.5) -> list[Dimensions]:
    """Lower bodies that would leave less than `disc_mm` between them."""
    heights = [d.height for d in drawn]
    for i in range(2, len(drawn)):  # C1 has no body
        excess = (heights[i - 1] + heights[i]) / 2 - (drawn[i - 1].spacing - disc_mm)
        heights[i - 1] -= max(excess, 0)
        heights[i] -= max(excess, 0)
    return [replace(d, height=h) for d, h in zip(drawn, heights, strict=True)]
