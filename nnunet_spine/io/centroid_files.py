"""The centroid files of VerSe'19 and VerSe'20 in all variants, and the frame of their numbers.

Subject-based files hold 0-based voxel indices of body centres. The challenge files hold millimetres from the corner of
the image, of body centres in 2019 and of mask centroids in 2020, along different axes (VerSe'19 challenge page; OSF
wiki b2wxj; preprocess_landmarks.py in christianpayer/MedicalDataAugmentationTool-VerSe). The mask tells how
to read a file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine.centroids import Centroid
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, spacing_mm, to_world
from nnunet_spine.io.files import read_json

HIT_RATE = 0.8


@dataclass(frozen=True)
class Annotation:
    """Points from a centroid file.

    Attributes:
        points_mm: label value -> world RAS mm.
        frame: how the file's numbers were understood: "voxel", "verse19" or "verse20".
        hit_rate: share of the labels (C1 excluded) whose point lies in or within 5 mm of the label.
    """

    points_mm: dict[int, tuple[float, float, float]]
    frame: str
    hit_rate: float


def read_points(path: str | Path) -> tuple[str, dict[int, np.ndarray]]:
    """The numbers of a VerSe centroid file of any variant, as they stand.

    Accepts a list, or an object that holds one; keys in any case; labels as numbers or numeric text; the direction
    element missing or anywhere. Points with NaN are dropped; of two points for a label the first counts.

    Returns:
        Axis codes of the direction element ("" where there is none), and label value -> (3,) numbers.

    Raises:
        InputError: not JSON, or no list of points in it.
    """
    codes, points = "", {}
    for item in _elements(read_json(path), path):
        item = {str(key).lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
        direction = item.get("direction")
        if isinstance(direction, list) and all(isinstance(code, str) for code in direction):
            codes = "".join(direction).upper()
        try:
            label, xyz = float(item["label"]), np.array([float(item[axis]) for axis in "xyz"])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(xyz).all() and label.is_integer():
            points.setdefault(int(label), xyz)
    if codes and sorted(codes.translate(str.maketrans("RPI", "LAS"))) != ["A", "L", "S"]:
        codes = ""
    return codes, points


def _elements(content: object, path: str | Path) -> list:
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list) and value]
        direction = [{"direction": content["direction"]}] if "direction" in content else []
        points = [value for value in lists if isinstance(value[0], dict)]
        if points:
            return direction + points[0]
    raise InputError("no list of centroids", "restore the file, or remove it: centroids come from the mask", path)


def frames(
    codes: str, points: Mapping[int, np.ndarray], shape: tuple[int, ...], affine: np.ndarray
) -> dict[str, dict[int, np.ndarray]]:
    """Every understanding of a file's numbers, as voxel indices of the image (0-based, integer = voxel centre).

    "voxel" are indices along the array axes, reoriented from `codes` where given (subject-based files); "verse19" and
    "verse20" are millimetres from the superior-anterior-right and the anterior-superior-left faces (challenge files).
    """
    own = axis_codes(affine)
    spacing = spacing_mm(affine)
    out = {"voxel": {}, "verse19": {}, "verse20": {}}
    for label, xyz in points.items():
        out["voxel"][label] = _from_faces(xyz, codes or own, own, shape, np.ones(3))
        out["verse19"][label] = _from_faces(xyz, "IPL", own, shape, spacing)
        out["verse20"][label] = _from_faces(xyz, "PIR", own, shape, spacing)
    return out


def _from_faces(xyz: np.ndarray, codes: str, own: str, shape: tuple[int, ...], step: np.ndarray) -> np.ndarray:
    """Distances along the directions `codes`, counted from the opposite faces -> indices on a grid with codes `own`."""
    source = nib.orientations.axcodes2ornt(codes)
    target = nib.orientations.axcodes2ornt(own)
    index = np.empty(3)
    for axis in range(3):
        position = int(np.flatnonzero(source[:, 0] == target[axis, 0])[0])
        value = xyz[position] / step[axis]
        index[axis] = value if source[position, 1] == target[axis, 1] else shape[axis] - 1 - value
    return index


def read_annotation(
    path: str | Path,
    labels: np.ndarray,
    affine: np.ndarray,
    centroids: Mapping[int, Centroid],
    *,
    ring_labels: Iterable[int] = (1,),
) -> Annotation:
    """Read a VerSe centroid file and find the frame of its numbers by holding them against the mask.

    Args:
        path: the file.
        labels: 3-D mask with the label values of the file.
        affine: of the mask and the image, RAS mm.
        centroids: of the mask, to break ties.
        ring_labels: not asked for a hit: C1's point lies inside its ring.

    Raises:
        InputError: no points, or in no frame do 80 % of them lie at their vertebra.
    """
    codes, points = read_points(path)
    if not points:
        raise InputError("no centroids in the file", "restore it, or remove it: centroids come from the mask", path)
    scores = {}
    for frame, indices in frames(codes, points, labels.shape, affine).items():
        asked = [label for label in indices if label in centroids and label not in ring_labels]
        hits = [near_label(labels, label, indices[label], affine) for label in asked]
        away = [np.linalg.norm(to_world(affine, indices[a]) - centroids[a].mask_mm) for a in asked]
        # Without a label to ask, a file with a direction element is taken at its word.
        rate = float(np.mean(hits)) if hits else float(frame == "voxel" and bool(codes))
        scores[frame] = (rate, -float(np.mean(away)) if away else 0.0)
    frame = max(scores, key=scores.get)
    if scores[frame][0] < HIT_RATE:
        raise InputError(
            f"the centroids fit the mask in no known frame (best: {100 * scores[frame][0]:.0f} %, {frame})",
            "check the file; the centroids of the mask are used",
            path,
        )
    world = {
        label: tuple(to_world(affine, index).tolist())
        for label, index in frames(codes, points, labels.shape, affine)[frame].items()
    }
    return Annotation(world, frame, scores[frame][0])


def near_label(labels: np.ndarray, value: int, index: np.ndarray, affine: np.ndarray, distance_mm: float = 5.0) -> bool:
    """Whether a voxel of the label lies within a distance; a whole-mask centroid may lie in the spinal canal."""
    spacing = spacing_mm(affine)
    low = np.maximum(np.ceil(index - distance_mm / spacing), 0).astype(int)
    high = np.minimum(np.floor(index + distance_mm / spacing), np.array(labels.shape) - 1).astype(int)
    if (high < low).any():
        return False
    hits = np.argwhere(labels[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] == value) + low
    return bool(hits.size) and bool((np.linalg.norm((hits - index) * spacing, axis=1) <= distance_mm).any())
