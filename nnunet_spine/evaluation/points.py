"""Reference centres from centroid files: our own, and VerSe's and TPTBox's in every variant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_VERSE_ID
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.grids import LabelMap
from nnunet_spine.geometry import corner_distance_mm, spacing_mm, to_index, to_world
from nnunet_spine.io import centroid_files
from nnunet_spine.io.centroid_files import PointFile, near_label
from nnunet_spine.io.files import read_json

_KIND_OF_FRAME = {"world": "body", "voxel": "body", "verse19": "body", "verse20": "mask"}
_OWN_KEYS = {"mask": "mask_centroid_mm", "body": "body_centre_mm"}
_NEAR_MM = 5.0
_SAME_MM = 1.0

Points = dict[int, np.ndarray]


@dataclass(frozen=True)
class Grid:
    """A grid that the indices of a file may belong to, and what it is the grid of."""

    shape: tuple[int, ...]
    affine: np.ndarray
    what: str


@dataclass(frozen=True)
class ReferencePoints:
    """Centres of one case.

    Attributes:
        by_kind: "mask" or "body" (see `scores.Settings.centre`) -> nnU-Net id -> world RAS mm (3,).
        frame: how the numbers of the file were understood: "world", "voxel", "verse19" or "verse20".
        notes: what a reader of the numbers must know.
    """

    by_kind: dict[str, Points]
    frame: str
    notes: tuple[str, ...] = ()


def looks_like_points(path: Path) -> bool:
    """Whether a JSON file holds vertebra points. Damaged files count, so that they are reported and not passed over."""
    try:
        content = read_json(path)
    except InputError:
        return True
    if _is_own(content):
        return True
    try:
        return bool(centroid_files.read_points(path).points)
    except InputError as error:
        return "TPTBox" in error.found  # reported when its turn comes


def points_beside_mask(path: Path, mask: LabelMap, image: Grid | None = None) -> ReferencePoints:
    """Read a centroid file of a case whose reference has a mask, and hold its points against the mask.

    Indices belong to the image they were made on: the CT, where one is given, or the mask. That understanding counts in
    which at least 80 % of the points (C1's, which lies in its ring, apart) lie within 5 mm of their own label.

    Args:
        mask: of the reference, nnU-Net ids.
        image: of the CT.

    Raises:
        InputError: unreadable, no points, or no single understanding in which they fit the mask.
    """
    own = _own(path)
    if own is not None:
        return own
    file, points = _read(path)
    grids = [Grid(mask.labels.shape, mask.affine, "the reference mask"), *_other(image, mask)]
    found = _checked(file, points, grids, path)
    fitting = {key: world for key, world in found.items() if _share(world, mask, _NEAR_MM) >= centroid_files.HIT_RATE}
    if not fitting:
        shares = {key: _share(world, mask, _NEAR_MM) for key, world in found.items()}
        best = max(shares, key=shares.get)
        raise InputError(
            f"{100 * shares[best]:.0f} % of its points lie in their labels ({best[0]} of {best[1]}), in no known frame "
            "80 %",
            "give the file that was made on this mask or, with -i, the CT it was made on",
            path,
        )
    return _only(fitting, path)


def points_beside_prediction(
    path: Path, prediction: LabelMap, image: Grid | None = None, *, trusted: bool = False
) -> ReferencePoints:
    """Read a centroid file of a case whose reference has no mask.

    Indices belong to the CT they were made on. Without a CT the prediction's grid counts only if every body's point
    (but C1's) lies in its own predicted label, or if the user says so: on a prediction that was cropped or resampled
    the same indices are other places, and a wrong prediction would look no different.

    Args:
        prediction: nnU-Net ids.
        image: of the CT.
        trusted: the prediction's grid is that of the CT.

    Raises:
        InputError: unreadable, no points, outside the CT, no CT and points beside their labels, or numbers without
            direction that fit no single frame.
    """
    own = _own(path)
    if own is not None:
        return own
    file, points = _read(path)
    grid = image or Grid(prediction.labels.shape, prediction.affine, "the prediction")
    found = _checked(file, points, [grid], path)
    if file.is_world:
        return _only(found, path)
    if not file.codes:  # the challenge's files do not say in which frame their numbers are
        found = {k: w for k, w in found.items() if _share(w, prediction, _NEAR_MM, any_label=True) >= 0.8}
        if not found:
            raise InputError(
                "its points fit the labels in no known frame", "give masks, or a file with a direction element", path
            )
    result = _only(found, path)
    if image is not None:
        _require_inside(result, image, path)
        return result
    if trusted:
        return result
    world = next(iter(result.by_kind.values()))
    near_mm = _NEAR_MM if "mask" in result.by_kind else float(np.linalg.norm(spacing_mm(prediction.affine))) / 2
    share = _share(world, prediction, near_mm)
    if share < 1:
        raise InputError(
            f"its numbers belong to the image they were made on, which is not given; on the prediction's grid "
            f"{100 * share:.0f} % of its points lie in their labels",
            "give the CT with -i; or, if the predictions have its grid, --points-grid prediction",
            path,
        )
    note = "centroid file read on the prediction's grid, where its points lie in their labels; -i gives the CT's"
    return ReferencePoints(result.by_kind, result.frame, (note,))


def _read(path: Path) -> tuple[PointFile, Points]:
    """The file, and its points by nnU-Net ids."""
    file = centroid_files.read_points(path)
    points = {BY_VERSE_ID[value].nnunet_id: xyz for value, xyz in file.points.items() if value in BY_VERSE_ID}
    if not points:
        raise InputError("no vertebra among its points", "check the file", path)
    return PointFile(points, file.codes, file.shape, file.zoom, file.is_world), points


def _checked(file: PointFile, points: Points, grids: Sequence[Grid], path: Path) -> dict[tuple[str, str], Points]:
    """(frame, grid) -> points in the world, of every grid that is not another one than the file states."""
    found, errors = {}, []
    for grid in grids:
        try:
            file.require_grid(grid.shape, grid.affine, path)
        except InputError as error:
            errors.append(error)
            continue
        frames = centroid_files.frames(file, grid.shape, grid.affine)
        for frame in ["voxel"] if file.codes and not file.is_world else frames:
            world = {level: to_world(grid.affine, index) for level, index in frames[frame].items()}
            found[frame, grid.what] = world
    if not found:
        raise errors[0]
    return found


def _only(found: dict[tuple[str, str], Points], path: Path) -> ReferencePoints:
    """The only understanding, or one of several that mean the same places."""
    (frame, grid), world = next(iter(found.items()))
    for (other, other_grid), rival in found.items():
        if max(np.linalg.norm(world[k] - rival[k]) for k in world) > _SAME_MM:
            raise InputError(
                f"its points fit in two ways ({frame} of {grid}, and {other} of {other_grid})",
                "give a file with a direction element, or leave out -i",
                path,
            )
    return ReferencePoints({_KIND_OF_FRAME[frame]: world}, frame)


def _other(image: Grid | None, mask: LabelMap) -> Iterator[Grid]:
    """The image's grid, where it is another than the mask's."""
    if image is not None:
        same = tuple(image.shape) == mask.labels.shape
        if not same or corner_distance_mm(image.shape, image.affine, mask.affine) > 0.1:
            yield image


def _share(world: Points, labels: LabelMap, near_mm: float, *, any_label: bool = False) -> float:
    """Share of the points, C1's apart, that lie within a distance of their own label, or of any."""
    array = (labels.labels != 0).view(np.uint8) if any_label else labels.labels
    asked = {level: point for level, point in world.items() if level != 1} or world
    hits = [
        near_label(array, 1 if any_label else level, to_index(labels.affine, point), labels.affine, near_mm)
        for level, point in asked.items()
    ]
    return float(np.mean(hits))


def _require_inside(points: ReferencePoints, image: Grid, path: Path) -> None:
    for world in points.by_kind.values():
        index = to_index(image.affine, np.array(list(world.values())))
        outside = int(np.any((index < -0.5) | (index > np.array(image.shape) - 0.5), axis=1).sum())
        if outside:
            raise InputError(f"{outside} of its {len(index)} points lie outside {image.what}", "give its own CT", path)


def _own(path: Path) -> ReferencePoints | None:
    """The points of a file of ours, which are in the world; None for another file."""
    content = read_json(path)
    if not _is_own(content):
        return None
    try:
        points = {
            kind: {BY_NAME[entry["name"]].nnunet_id: np.array(entry[key], float) for entry in content["vertebrae"]}
            for kind, key in _OWN_KEYS.items()
            # Where there is no mask only what was annotated is known.
            if any(key in entry for entry in content["vertebrae"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"incomplete entry ({error!r})", "restore the file", path) from None
    if not points:
        raise InputError("no vertebra in it", "leave the case out", path)
    return ReferencePoints(points, "world")


def _is_own(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("vertebrae"), list) and content.get("frame") == "RAS mm"
