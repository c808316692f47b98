"""Reference centres from centroid files: our own, and VerSe's in every variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_VERSE_ID
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_world
from nnunet_spine.io import centroid_files
from nnunet_spine.io.files import read_json

_KIND_OF_FRAME = {"voxel": "body", "verse19": "body", "verse20": "mask"}
_OWN_KEYS = {"mask": "mask_centroid_mm", "body": "body_centre_mm"}
_NEAR_MM = 5.0
_SAME_MM = 1.0


@dataclass(frozen=True)
class ReferencePoints:
    """Centres of one case.

    Attributes:
        by_kind: "mask" or "body" (see `scores.Settings.center`) -> nnU-Net id -> world RAS mm (3,).
        frame: how the numbers of the file were understood: "world", "voxel", "verse19" or "verse20".
    """

    by_kind: dict[str, dict[int, np.ndarray]]
    frame: str


def looks_like_points(path: Path) -> bool:
    """Whether a JSON file holds vertebra points. Damaged files count, so that they are reported and not passed over."""
    try:
        content = read_json(path)
    except InputError:
        return True
    if _is_own(content):
        return True
    try:
        return bool(centroid_files.read_points(path)[1])
    except InputError:
        return False


def read_points(path: Path, labels: np.ndarray, affine: np.ndarray, *, levels_are_right: bool) -> ReferencePoints:
    """Read a centroid file.

    VerSe's challenge files do not say in which frame their numbers are. That one counts in which at least 80 % of the
    points lie within 5 mm of a labelled voxel.

    Args:
        path: the file.
        labels: nnU-Net ids on the grid that the file refers to; of the reference where there is one, else predicted.
        affine: of `labels`, RAS mm.
        levels_are_right: whether a point must lie at a voxel of its own level, or of any.

    Raises:
        InputError: unreadable, no points, unknown labels, or no single frame in which the points fit.
    """
    content = read_json(path)
    if _is_own(content):
        return ReferencePoints(_own_points(content, path), "world")
    codes, raw = centroid_files.read_points(path)
    points = {BY_VERSE_ID[value].nnunet_id: xyz for value, xyz in raw.items() if value in BY_VERSE_ID}
    if not points:
        raise InputError("no vertebra among its points", "check the file", path)
    frames = centroid_files.frames(codes, points, labels.shape, affine)
    frame = "voxel" if codes else _find_frame(frames, labels, affine, levels_are_right, path)
    world = {level: to_world(affine, index) for level, index in frames[frame].items()}
    return ReferencePoints({_KIND_OF_FRAME[frame]: world}, frame)


def _is_own(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("vertebrae"), list) and content.get("frame") == "RAS mm"


def _own_points(content: dict, path: Path) -> dict[str, dict[int, np.ndarray]]:
    try:
        points = {
            kind: {BY_NAME[entry["name"]].nnunet_id: np.array(entry[key], float) for entry in content["vertebrae"]}
            for kind, key in _OWN_KEYS.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"incomplete entry ({error!r})", "restore the file", path) from None
    if not points["mask"]:
        raise InputError("no vertebra in it", "leave the case out", path)
    return points


def _find_frame(
    frames: Mapping[str, Mapping[int, np.ndarray]],
    labels: np.ndarray,
    affine: np.ndarray,
    levels_are_right: bool,
    path: Path,
) -> str:
    shares = {}
    for frame in ("verse20", "verse19", "voxel"):  # files without a direction are the challenge's, rarely voxels
        indices = frames[frame]
        seen = labels if levels_are_right else (labels != 0).view(np.uint8)
        asked = {level: index for level, index in indices.items() if level != 1} or indices  # C1's lies in its ring
        hits = [
            centroid_files.near_label(seen, level if levels_are_right else 1, index, affine, _NEAR_MM)
            for level, index in asked.items()
        ]
        shares[frame] = float(np.mean(hits))
    best = max(shares, key=shares.get)
    if shares[best] < centroid_files.HIT_RATE:
        raise InputError(
            f"the points fit the labels in no known frame (best: {100 * shares[best]:.0f} %, {best})",
            "give the reference masks, or a file with a direction element",
            path,
        )
    for rival in shares:
        apart = max(np.linalg.norm(to_world(affine, frames[best][k]) - to_world(affine, frames[rival][k]))
                    for k in frames[best])  # fmt: skip
        if rival != best and shares[rival] >= centroid_files.HIT_RATE and apart > _SAME_MM:
            raise InputError(
                f"the points fit the labels in two frames ({best} and {rival})",
                "give the reference masks, or a file with a direction element",
                path,
            )
    return best
