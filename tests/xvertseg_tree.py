"""xVertSeg as its page describes it: MetaImage with raw voxels, L1 to L5 as 200 to 240, images and masks by number."""

from pathlib import Path

import numpy as np
from csi2014_tree import SHAPE, SPACING, vertebra_slabs, write_metaimage

VALUES = {"L1": 200, "L2": 210, "L3": 220, "L4": 230, "L5": 240}
OFFSET = (-12.5, 30.25, -640.0)


def write_case(folder: Path, number: int, *, mask: bool = True, add: int = 1024, upper: int = 3):
    """One scan: `upper` vertebrae above L1 that nobody labelled, L1 to L5, and the rest below as sacrum.

    Returns:
        World points in LPS mm by level.
    """
    order, hu = vertebra_slabs(upper + 6)
    stored = np.clip(hu + np.int16(add), 0, 4095).astype(np.int16) if add else hu
    write_metaimage(folder / "images" / f"image{number:03d}.mhd", stored, offset=OFFSET)
    values, points = np.zeros(SHAPE, np.uint8), {}
    for k, (level, value) in enumerate(VALUES.items(), upper + 1):
        values[order == k] = value
        points[level] = tuple((np.argwhere(order == k).mean(0) * SPACING + OFFSET).tolist())
    if mask:
        write_metaimage(folder / "masks" / f"mask{number:03d}.mhd", values, offset=OFFSET)
    return points


def example(root: Path) -> None:
    """Two scans with masks and one without."""
    write_case(root / "xVertSeg.v1" / "Data1", 1)
    write_case(root / "xVertSeg.v1" / "Data1", 2, add=0)
    write_case(root / "xVertSeg.v1" / "Data2", 16, mask=False)
    (root / "xVertSeg.v1" / "Data1" / "scores").mkdir()
    (root / "xVertSeg.v1" / "Data1" / "scores" / "scores.csv").write_text("1;L1;wedge;2\n", encoding="utf-8")
