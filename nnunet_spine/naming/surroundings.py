"""What a CT shows around the bones of a mask: ribs beside them, and a sacrum below the last one.

Both are there whatever the mask calls its bones, so they tell where thoracic vertebrae end and where the spine does.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry
from nnunet_spine.instances import Bone, Bones
from nnunet_spine.labelling.keypoints import body_distance_mm

STEP_MM = 2.0
_MARGIN_MM = (65.0, 25.0, 60.0)  # around the bones: to the sides, front and back, up and down
_USUAL_MM = 25.0  # distance between bodies for which the lengths below are meant; they grow with the body
_ASIDE_MM = 50.0  # from the middle: beyond every transverse process, on every rib but the shortest
_AROUND_MM = (10.0, 25.0, 12.0)  # of the bone, where a way to the side may lead: behind it, below, above
_WING_MM = (22.0, 40.0)  # to the sides, where the wings of a sacrum are and a vertebra has thin processes only
_WING_DEPTH_MM = (-30.0, 15.0)  # behind and in front of the line
_BELOW = (0.65, 1.45)  # where a sacrum begins, in distances between the last two bodies below the last
_WING_SEEN, _WING_FILLED = 0.25, 0.14  # shares of that space on each side: in view, and bone
_WING_BRIGHT = 0.45
_SOFT_HU = (-20.0, 150.0)  # muscle is in it, fat and bone are not
_OUTSIDE_HU = -1e4
_BLOCKED, _FREE = -1e4, 1e4


@dataclass(frozen=True)
class Surroundings:
    """What is seen around each bone, from head to foot.

    Attributes:
        aside: (n, 2) how bright the brightest way from the bone to a point 50 mm left and right of the middle is, where
            it is darkest: 0 as muscle, 1 as the bones of the mask; NaN where the scan ends before.
        sacrum_mm: where a sacrum lies below the last bone, RAS mm; None where none is seen.
    """

    aside: np.ndarray
    sacrum_mm: tuple[float, float, float] | None = None


def look_around(bones: Bones, affine: np.ndarray, scan_hu: np.ndarray, scan_affine: np.ndarray) -> Surroundings | None:
    """Look for ribs and the sacrum.

    Args:
        bones: of a mask.
        affine: of the mask, 4 x 4, RAS mm.
        scan_hu: 3-D, Hounsfield units; any grid.
        scan_affine: of the scan.

    Returns:
        None without bones, or where the scan shows no difference between the bones and what lies around them.
    """
    box = geometry.bounding_box(bones.instances)
    if box is None:
        return None
    corners = np.stack(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in box], indexing="ij"), -1).reshape(-1, 3)
    world = geometry.to_world(affine, corners)
    low, high = world.min(0) - _MARGIN_MM, world.max(0) + _MARGIN_MM
    shape = tuple(int(n) for n in np.ceil((high - low) / STEP_MM))
    grid = np.diag([STEP_MM] * 3 + [1.0])
    grid[:3, 3] = low
    hu = geometry.resample_linear(scan_hu, scan_affine, shape, grid, outside=_OUTSIDE_HU)
    instances = geometry.resample_nearest(bones.instances, affine, shape, grid)
    soft = hu[(instances == 0) & (hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1])]
    inside = hu[(instances > 0) & (hu > _OUTSIDE_HU)]
    if not soft.size or not inside.size:
        return None
    muscle, bone_hu = float(np.median(soft)), float(np.median(inside))
    if bone_hu < muscle + 50:
        return None
    brightness = np.where(hu > _OUTSIDE_HU, (hu - muscle) / (bone_hu - muscle), _BLOCKED).astype(np.float32)
    middles = np.array([bone.body_mm for bone in bones.bones])
    scale = body_distance_mm(middles) / _USUAL_MM if len(middles) > 2 else 1.0
    scale = float(np.clip(scale, 0.8, 1.2))
    aside = np.array([_ways_aside(b, brightness, instances, low, scale) for b in bones.bones])
    return Surroundings(aside.reshape(-1, 2), _sacrum(bones.bones, brightness, instances, low))


def _ways_aside(
    bone: Bone, brightness: np.ndarray, instances: np.ndarray, low: np.ndarray, scale: float
) -> list[float]:
    """For each side the darkest point of the brightest way from a bone outwards, one voxel at a time (widest path)."""
    own = instances == bone.number
    box = geometry.bounding_box(own)
    if box is None:
        return [np.nan, np.nan]
    middle = np.rint((np.array(bone.body_mm) - low) / STEP_MM).astype(int)
    behind, below, above = (int(mm / STEP_MM) for mm in _AROUND_MM)
    y = slice(max(0, box[1].start - behind), int(middle[1]) + behind)
    z = slice(max(0, box[2].start - below), box[2].stop + above)
    y, z = (slice(min(part.start, n), max(0, min(part.stop, n))) for part, n in zip((y, z), own.shape[1:], strict=True))
    if not own[:, y, z].any():  # what is called its body lies far from its voxels
        return [np.nan, np.nan]
    steps = round(_ASIDE_MM * scale / STEP_MM)
    out = []
    for side in (-1, 1):
        end = middle[0] + side * steps
        if not 0 <= end < brightness.shape[0]:
            out.append(np.nan)
            continue
        best = np.full(brightness[0, y, z].shape, _BLOCKED, np.float32)
        for x in range(middle[0], end + side, side):
            here = instances[x, y, z]
            best = np.minimum(ndimage.maximum_filter(best, 3), brightness[x, y, z])
            best[here == bone.number] = _FREE
            best[(here > 0) & (here != bone.number)] = _BLOCKED
        reached = float(best.max())
        out.append(np.nan if reached <= _BLOCKED else min(reached, 1.5))
    return out


def _sacrum(bones: tuple[Bone, ...], brightness: np.ndarray, instances: np.ndarray, low: np.ndarray):
    """Where the sacrum's body is, if broad bone lies on both sides below the last vertebra."""
    with_body = [bone for bone in bones if bone.height_mm is not None]
    if len(with_body) < 2:
        return None
    above, last = (np.array(bone.body_mm) for bone in with_body[-2:])
    down = last - above
    distance = float(np.linalg.norm(down))
    down = down / max(distance, 1e-6)
    across = np.cross(down, [0.0, 1.0, 0.0])
    if distance < 1 or np.linalg.norm(across) < 0.3:
        return None
    across /= np.linalg.norm(across)
    front = np.cross(across, down)
    s, u, v = np.meshgrid(
        np.arange(_BELOW[0] * distance, _BELOW[1] * distance, STEP_MM),
        np.arange(*_WING_MM, STEP_MM),
        np.arange(*_WING_DEPTH_MM, STEP_MM),
        indexing="ij",
    )
    front = front if front[1] > 0 else -front
    for side in (-1, 1):
        points = last + s[..., None] * down + side * u[..., None] * across + v[..., None] * front
        index = np.rint((points - low) / STEP_MM).astype(int)
        inside = np.all((index >= 0) & (index < brightness.shape), axis=-1)
        values = brightness[tuple(np.moveaxis(index[inside], -1, 0))]
        seen = values > _BLOCKED
        if seen.sum() < _WING_SEEN * s.size or (values[seen] > _WING_BRIGHT).mean() < _WING_FILLED:
            return None
    return tuple((last + distance * down).tolist())
