"""Detections of made-up spines, straight or bent, with evidence that can be blurred."""

import numpy as np

from nnunet_spine.anatomy import SPACING_MM, spine_sequence
from nnunet_spine.labelling import Detection

REGION_SCORES = {"C": (0.98, 0.02, 0.02), "T": (0.02, 0.98, 0.02), "L": (0.02, 0.02, 0.98), "S": (0.02, 0.02, 0.9)}


def spine(
    first: str = "C1",
    last: str = "L5",
    *,
    last_thoracic: int = 12,
    last_lumbar: int = 5,
    sacrum: bool = False,
    scale: float = 1.0,
    regions: bool = True,
    levels: bool = False,
) -> tuple[list[Detection], list[str]]:
    """Detections from head to foot of part of a spine that bends in the sagittal plane, and their names."""
    names = list(spine_sequence(last_thoracic=last_thoracic, last_lumbar=last_lumbar))
    names += ["S1"] if sacrum else []
    way = np.cumsum([0.0] + [SPACING_MM[name] for name in names[:-1]])
    points = np.stack([2 + 0.01 * way, 18 * np.sin(way / 130), -way], axis=1) * scale
    stop = len(names) if sacrum else names.index(last) + 1
    chosen = range(names.index(first), stop)
    detections = [
        Detection(
            tuple(points[i].tolist()),
            regions=REGION_SCORES[names[i][0]] if regions else None,
            levels={names[i]: 0.9} if levels else None,
        )
        for i in chosen
    ]
    return detections, [names[i] for i in chosen]


def moved(detections: list[Detection], scale: float, mirror: bool) -> list[Detection]:
    """The same body larger or smaller, or seen in a mirror (left and right pedicles change places)."""
    factor = np.array([-scale if mirror else scale, scale, scale])

    def point(p):
        return None if p is None else tuple((np.array(p) * factor).tolist())

    out = []
    for d in detections:
        left, right = point(d.left_pedicle_mm), point(d.right_pedicle_mm)
        out.append(
            Detection(
                point(d.position_mm),
                d.regions,
                d.levels,
                right if mirror else left,
                left if mirror else right,
                d.completeness,
                d.position_is_estimated,
            )
        )
    return out
