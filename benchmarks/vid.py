"""Detections of the VID vertebra identification data set (Bürgin, Prevost, Stollenga, MICCAI 2023), repacked as JSON.

A list of scans: {"case", "source", "truth": [{"xyz", "part": "body" | "left" | "right", "level" (bodies)}],
"detected": [{"xyz", "part", "p_ctl" (bodies)}]}, coordinates in mm, LPS.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import sort_cranio_caudal
from nnunet_spine.labelling.detections import Detection, Scan, as_arrays
from nnunet_spine.labelling.keypoints import group_keypoints

_RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name, source: as in the file.
        detections: vertebrae put together from the detected keypoints, see `group_keypoints`.
        scan: the same as arrays.
        reference: (level, body centre RAS) in cranio-caudal order.
    """

    name: str
    source: str
    detections: tuple[Detection, ...]
    scan: Scan
    reference: tuple[tuple[str, np.ndarray], ...]


def read_cases(path: Path) -> list[Case]:
    """All scans of a file, .json or .json.gz, in its order."""
    stored = path.read_bytes()
    return [_case(scan) for scan in json.loads(gzip.decompress(stored) if path.suffix == ".gz" else stored)]


def without_estimated(case: Case) -> Case:
    """The same scan as if only detected bodies were vertebrae, not those that pedicles alone show."""
    detections = tuple(d for d in case.detections if not d.position_is_estimated)
    return replace(case, detections=detections, scan=as_arrays(detections))


def _case(scan: dict) -> Case:
    bodies = [p for p in scan["detected"] if p["part"] == "body"]
    grouped = group_keypoints(*(_points(scan["detected"], part) for part in ("body", "left", "right")))
    detections = []
    for i, body in enumerate(grouped.body_mm):
        scores = None if grouped.estimated[i] else tuple(np.clip(bodies[i]["p_ctl"], 0, 1).tolist())
        detections.append(
            Detection(
                tuple(body.tolist()),
                regions=scores,
                left_pedicle_mm=_known(grouped.left_mm[i]),
                right_pedicle_mm=_known(grouped.right_mm[i]),
                position_is_estimated=bool(grouped.estimated[i]),
            )
        )
    centres = {p["level"]: np.array(p["xyz"]) * _RAS_FROM_LPS for p in scan["truth"] if p["part"] == "body"}
    reference = tuple((level, centres[level]) for level in sort_cranio_caudal(centres))
    return Case(scan["case"], scan["source"], tuple(detections), as_arrays(detections), reference)


def _points(keypoints: Sequence[dict], part: str) -> np.ndarray:
    return np.array([p["xyz"] for p in keypoints if p["part"] == part], float).reshape(-1, 3) * _RAS_FROM_LPS


def _known(point: np.ndarray) -> tuple[float, float, float] | None:
    return tuple(point.tolist()) if np.isfinite(point).all() else None
