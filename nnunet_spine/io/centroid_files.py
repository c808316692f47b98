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
from nnunet_spine.geometry import axis_codes, spacing_mm, to_index, to_world
from nnunet_spine.io import poi_files
from nnunet_spine.io.files import read_json
from nnunet_spine.io.poi_files import label_value

HIT_RATE = 0.8


@dataclass(frozen=True)
class Annotation:
    """Points from a centroid file.

    Attributes:
        points_mm: label value -> world RAS mm.
        frame: how the file's numbers were understood: "world", "voxel", "verse19" or "verse20".
        hit_rate: share of the labels (C1 excluded) whose point lies in or within 5 mm of the label.
    """

    points_mm: dict[int, tuple[float, float, float]]
    frame: str
    hit_rate: float


@dataclass(frozen=True)
class PointFile:
    """The numbers of a centroid file as they stand.

    Attributes:
        points: label value (VerSe's) -> (3,).
        codes: axis codes of the direction element, "" where there is none.
        shape, zoom: of the image that indices belong to, in the file's axis order, where the file states them.
        is_world: whether the numbers are RAS mm already.
    """

    points: dict[int, np.ndarray]
    codes: str = ""
    shape: tuple[int, ...] | None = None
    zoom: tuple[float, ...] | None = None
    is_world: bool = False

    def require_grid(self, shape: tuple[int, ...], affine: np.ndarray, path: str | Path) -> None:
        """Check that a grid is the one the file states, if it states one.

        Raises:
            InputError: another number of voxels or voxel size.
        """
        if not self.codes or self.is_world:
            return
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt(axis_codes(affine)), nib.orientations.axcodes2ornt(self.codes)
        )
        order = np.argsort(turn[:, 0])  # the grid's axes in the file's order
        own_shape, own_zoom = np.array(shape)[order], spacing_mm(affine)[order]
        same_shape = self.shape is None or tuple(own_shape) == self.shape
        if same_shape and (self.zoom is None or np.allclose(own_zoom, self.zoom, rtol=0.01, atol=0.001)):
            return
        stated = _grid_text(self.shape or own_shape, self.zoom or own_zoom)
        own = _grid_text(own_shape, own_zoom)
        raise InputError(f"its points are voxels of an image of {stated}, not of {own}", "give its own image", path)


def _grid_text(shape: Iterable[int], zoom_mm: Iterable[float]) -> str:
    return f"{'x'.join(map(str, shape))} voxels of {'x'.join(f'{z:.3g}' for z in zoom_mm)} mm"


def read_points(path: str | Path) -> PointFile:
    """Read the points of vertebral bodies from a centroid file of any variant.

    VerSe's: a list, or an object that holds one; keys in any case; labels as numbers or text ("L1"); the direction
    element missing or anywhere. TPTBox's POI files in all their forms but the outdated one; of their points those of
    the vertebral body (50). Points with NaN are dropped; of two points for a label the first counts.

    Raises:
        InputError: not JSON, no list of points in it, or points of an outdated form.
    """
    elements = _elements(read_json(path), path)
    if poi_files.is_poi(elements):
        header, points = poi_files.read(elements, path)
        return PointFile(points, _codes(header), *header_grid(header), poi_files.is_world(header))
    codes, points = "", {}
    for item in elements:
        item = {str(key).lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
        codes = _codes(item) or codes
        try:
            label, xyz = label_value(item["label"]), np.array([float(item[axis]) for axis in "xyz"])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(xyz).all() and label is not None:
            points.setdefault(label, xyz)
    return PointFile(points, codes)


def _codes(item: Mapping) -> str:
    direction = item.get("direction")
    if not isinstance(direction, list | str) or not all(isinstance(code, str) for code in direction):
        return ""
    codes = "".join(direction).upper()
    return codes if sorted(codes.translate(str.maketrans("RPI", "LAS"))) == ["A", "L", "S"] else ""


def header_grid(header: Mapping) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Shape and voxel size that a file states, None for what it does not."""
    shape, zoom = (header.get(name) for name in ("shape", "zoom"))
    return tuple(map(int, shape)) if shape else None, tuple(zoom) if zoom else None


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


def frames(file: PointFile, shape: tuple[int, ...], affine: np.ndarray) -> dict[str, dict[int, np.ndarray]]:
    """Every understanding of a file's numbers, as voxel indices of the image (0-based, integer = voxel centre).

    "voxel" are indices along the array axes, reoriented from `codes` where given (subject-based files); "verse19" and
    "verse20" are millimetres from the superior-anterior-right and the anterior-superior-left faces (challenge files).
    """
    if file.is_world:
        return {"world": {label: to_index(affine, xyz) for label, xyz in file.points.items()}}
    own = axis_codes(affine)
    spacing = spacing_mm(affine)
    out = {"voxel": {}, "verse19": {}, "verse20": {}}
    for label, xyz in file.points.items():
        out["voxel"][label] = _from_faces(xyz, file.codes or own, own, shape, np.ones(3))
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
    file = read_points(path)
    file.require_grid(labels.shape, affine, path)
    if not file.points:
        raise InputError("no centroids in the file", "restore it, or remove it: centroids come from the mask", path)
    scores = {}
    for frame, indices in frames(file, labels.shape, affine).items():
        asked = [label for label in indices if label in centroids and label not in ring_labels]
        hits = [near_label(labels, label, indices[label], affine) for label in asked]
        away = [np.linalg.norm(to_world(affine, indices[a]) - centroids[a].mask_mm) for a in asked]
        # Without a label to ask, a file with a direction element is taken at its word.
        rate = float(np.mean(hits)) if hits else float(frame == "world" or (frame == "voxel" and bool(file.codes)))
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
        for label, index in frames(file, labels.shape, affine)[frame].items()
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
