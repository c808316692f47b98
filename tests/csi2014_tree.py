"""CSI2014 as its users describe it, written literally: MetaImage headers as text, voxels as a raw file beside them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LEVELS = [*(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]
SHAPE = (20, 24, 84)  # x to the left, y to the back, z to the head
SPACING = (2.0, 2.0, 2.0)


@dataclass(frozen=True)
class Made:
    """What was written: world points in LPS mm by level."""

    image: Path
    points: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def vertebra_slabs(n: int = 17, *, gap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vertebra k from the top (1-based) as a block that grows towards the feet; and HU: bone, soft tissue, air."""
    number = np.zeros(SHAPE, np.int16)
    for k in range(n):
        top = SHAPE[2] - 2 - 4 * k - gap
        half = 3 + k // 4
        number[10 - half : 10 + half, 4:12, top - 3 : top] = k + 1
        number[9:11, 12:17, top - 3 : top] = k + 1  # spinous process, behind
    hu = np.full(SHAPE, 40, np.int16)
    hu[:, :2], hu[:, -3:] = -1000, -1000
    hu[number > 0] = 400
    noise = np.random.default_rng(n).integers(-12, 13, SHAPE)
    return number, (hu + noise).astype(np.int16)


def write_metaimage(path: Path, array: np.ndarray, *, offset=(0, 0, 0), matrix="1 0 0 0 1 0 0 0 1", crlf=False) -> Path:
    """A `.mhd` with its `.raw`, standard MetaImage keys in a fixed order."""
    kind = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "uint16": "MET_USHORT"}[array.dtype.name]
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "CompressedData = False", f"TransformMatrix = {matrix}", f"Offset = {offset[0]} {offset[1]} {offset[2]}",
        f"ElementSpacing = {SPACING[0]} {SPACING[1]} {SPACING[2]}",
        f"DimSize = {array.shape[0]} {array.shape[1]} {array.shape[2]}", f"ElementType = {kind}",
        f"ElementDataFile = {path.stem}.raw", "",
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\r\n" if crlf else "\n").join(lines).encode())
    path.with_suffix(".raw").write_bytes(array.tobytes(order="F"))
    return path


def write_case(
    folder: Path, name: str, *, ascending: bool = False, hundreds: bool = True, parts: bool = False, n: int = 17,
    stored_down: bool = False, header_knows: bool = True, add: int = 0, label_offset=None, gap: int = 0,
) -> Made:  # fmt: skip
    """One scan.

    Args:
        ascending: values grow from foot to head (L5 lowest) instead of head to foot.
        hundreds: values 100, 200, ... instead of 1, 2, ...
        parts: values 100 k + 1 in the body and 100 k + 2 behind it.
        n: vertebrae, from T1.
        stored_down: slices are stored from head to foot.
        header_knows: then the header has a matrix that says so.
        add: to the HU.
        label_offset: of the mask's header where it differs.
        gap: slices between the top of the volume and T1.
    """
    number, hu = vertebra_slabs(n, gap=gap)
    coded = np.where(number > 0, n + 1 - number, 0) if ascending else number
    values = (coded * (100 if hundreds else 1)).astype(np.int16)
    if parts:
        values[:, :12][values[:, :12] > 0] += 1
        values[:, 12:][values[:, 12:] > 0] += 2
    stored = hu + np.int16(add)
    if add:
        stored = np.clip(stored, 0, 4095).astype(np.int16)
    offset, matrix = (-12.5, 30.25, -640.0), "1 0 0 0 1 0 0 0 1"
    if stored_down:
        stored, values = stored[..., ::-1], values[..., ::-1]
        if header_knows:
            matrix = "1 0 0 0 1 0 0 0 -1"
            offset_image = (offset[0], offset[1], offset[2] + (SHAPE[2] - 1) * SPACING[2])
        else:
            offset_image = offset
    else:
        offset_image = offset
    image = write_metaimage(folder / f"{name}.mhd", stored, offset=offset_image, matrix=matrix)
    mask_offset = offset_image if label_offset is None else label_offset
    write_metaimage(folder / f"{name}_label.mhd", values, offset=mask_offset, matrix=matrix)
    points = {}
    for k in range(n):
        index = np.argwhere(number == k + 1).mean(0)
        points[LEVELS[k] if k < 17 else f"X{k}"] = tuple((index * SPACING + offset).tolist())
    return Made(image, points)


def example(root: Path) -> None:
    """Two training scans, one to validate, one to test: both orders of values, HU and not."""
    write_case(root / "training", "case1")
    write_case(root / "training", "case2", ascending=True, add=1024)
    write_case(root / "validation", "case10", hundreds=False)
    write_case(root / "test", "case21", stored_down=True)
