"""TPTBox's files of points of interest (POI): points of parts of vertebrae, in several forms.

A list whose first element is a header (direction, zoom, shape; newer files origin and rotation, too, or a format in
world coordinates) and whose second is level -> part -> x, y, z; or one element per point whose label is 256 times the
part plus the level, or text like "TH5_corpus". (TPTBox/core/poi_fun/save_load.py)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError

_BODY = {"50", "vertebra_corpus", "corpus"}
_PARTS = 256  # a label of VerSe's form is part * 256 + level there


def is_poi(elements: Sequence) -> bool:
    """Whether a list of elements is of one of TPTBox's own forms; VerSe's, which it writes, too, is read as such."""
    if elements and isinstance(elements[0], Mapping) and "vert_label" in elements[0]:
        return True
    return any(isinstance(item, Mapping) and item and all(_is_level(key, value) for key, value in item.items())
               for item in elements[1:2])  # fmt: skip


def _is_level(key: str, value: object) -> bool:
    return label_value(key) is not None and isinstance(value, Mapping)


def label_value(label: object) -> int | None:
    """VerSe's label value of a level written as a number or as text, "L1" or "TH12"; None for anything else.

    Numbers from 256 on are points of parts: that of the vertebral body counts, others are left out.
    """
    text = str(label).strip()
    try:
        number = float(text)
    except ValueError:
        name, _, part = text.partition("_")
        name = name.upper().replace("TH", "T")
        is_body = not part or part.lower() in _BODY
        return BY_NAME[name].verse_id if name in BY_NAME and is_body else None
    if not number.is_integer():
        return None
    part, value = divmod(int(number), _PARTS)
    return value if part in (0, 50) else None


def is_world(header: Mapping) -> bool:
    """Whether `read` gives millimetres in the world."""
    return "coordinate_system" in header or all(header.get(name) for name in ("zoom", "origin", "rotation"))


def read(elements: Sequence, path: str | Path) -> tuple[Mapping, dict[int, np.ndarray]]:
    """Header, and level -> point of the vertebral body: RAS mm if `is_world`, else voxels of the image.

    Raises:
        InputError: the outdated form, whose voxels belong to an image that was resampled before; or no body points.
    """
    header = elements[0]
    if "vert_label" in header:
        raise InputError(
            "points in TPTBox's outdated form, of an image resampled to 1 mm that is not stated",
            "save them again with a newer TPTBox",
            path,
        )
    points = {}
    for level, parts in elements[1].items():
        for part, xyz in parts.items():
            if str(part).lower() in _BODY:
                points[label_value(level)] = np.array([float(x) for x in xyz])
    if not points:
        raise InputError("POI without points of vertebral bodies (part 50)", "save them with these points", path)
    if is_world(header):
        points = {label: _world(header, xyz) for label, xyz in points.items()}
    return header, {label: xyz for label, xyz in points.items() if np.isfinite(xyz).all()}


def _world(header: Mapping, xyz: np.ndarray) -> np.ndarray:
    if "coordinate_system" in header:
        return xyz * ([-1, -1, 1] if header["coordinate_system"] == "itk" else [1, 1, 1])  # ITK's world is LPS
    return np.asarray(header["rotation"], float) @ (xyz * header["zoom"]) + header["origin"]
