"""Points of vertebrae as files for others: VerSe's centroid JSON and the markups of 3D Slicer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.geometry import axis_codes, to_index
from nnunet_spine.io.files import write_json

Points = Mapping[str, tuple[float, float, float]]
"""Level name -> world RAS mm."""

_MARKUPS = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def write_verse_points(path: str | Path, points_mm: Points, affine: np.ndarray) -> None:
    """Write points as VerSe's subject-based files have them: labels, and 0-based voxel indices of the image.

    Args:
        points_mm: in the order of the file; an empty file has the direction alone.
        affine: of the image, 4x4, RAS mm; its axis codes are the file's direction.

    Raises:
        WriteError: it cannot be written.
    """
    content: list[dict] = [{"direction": list(axis_codes(affine))}]
    for name, point in points_mm.items():
        index = to_index(affine, np.array(point))
        content.append({"label": BY_NAME[name].verse_id, **dict(zip("XYZ", np.round(index, 3).tolist(), strict=True))})
    write_json(path, content)


def write_markups(path: str | Path, points_mm: Points, title: str) -> None:
    """Write points as a list of 3D Slicer (.mrk.json), each called after its level.

    Source: markups-schema-v1.0.3.json of 3D Slicer; its coordinates are LPS, as Slicer itself writes them.

    Args:
        title: of the list, as the Slicer's data tree shows it.

    Raises:
        WriteError: it cannot be written.
    """
    points = [
        {
            "id": str(number),
            "label": name,
            "description": "",
            "associatedNodeID": "",
            "position": [round(-x, 4), round(-y, 4), round(z, 4)],
            "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
            "selected": True,
            "locked": False,
            "visibility": True,
            "positionStatus": "defined",
        }
        for number, (name, (x, y, z)) in enumerate(points_mm.items(), start=1)
    ]
    markup = {
        "type": "Fiducial",
        "name": title,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
    }
    write_json(path, {"@schema": _MARKUPS, "markups": [markup]})
