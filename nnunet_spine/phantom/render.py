"""Hounsfield units: soft tissue, bone from the distance field, blur and noise."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from nnunet_spine.phantom.dimensions import Dimensions
from nnunet_spine.phantom.grid import DistanceField, Grid
from nnunet_spine.phantom.pose import Frames
from nnunet_spine.phantom.shapes import Body, Capsule
from nnunet_spine.phantom.surroundings import Torso, skull_centre_mm

CORTEX_MM = 1.6
OUTSIDE_FOV_HU = -1024.0


@dataclass(frozen=True)
class Tissue:
    """Densities and image quality of one scan, in HU unless the name says otherwise."""

    cortex: float
    cancellous: float
    rib: float
    aorta: float
    lung: float
    noise: float
    correlated_noise: bool
    blur_voxels: float


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """One scan's densities; half of the scans have noise that is correlated between voxels."""
    return Tissue(
        cortex=rng.uniform(450, 900),
        cancellous=float(np.clip(rng.normal(170, 45), 70, 300)),
        rib=float(np.clip(rng.normal(330, 40), 220, 440)),
        aorta=float(rng.choice([45.0, 180.0, 280.0])),
        lung=rng.uniform(-860, -800),
        noise=rng.uniform(10, 45),
        correlated_noise=bool(rng.random() < 0.5),
        blur_voxels=rng.uniform(0.4, 0.8),
    )


def low_frequency(rng: np.random.Generator, grid: Grid, step_mm: float) -> np.ndarray:
    """Noise of unit variance that varies over `step_mm`, (nx, ny, nz) float32, interpolated from a coarse grid."""
    n_coarse = [int(np.ceil(n * s / step_mm)) + 2 for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    values = rng.standard_normal(n_coarse, dtype=np.float32)
    for axis, (n, s) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        position = np.arange(n) * s / step_mm
        cell = position.astype(int)
        weights = np.zeros((n, n_coarse[axis]), np.float32)
        weights[np.arange(n), cell] = 1 - (position - cell)
        weights[np.arange(n), cell + 1] = position - cell
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values) * np.float32(1.8)


def soft_tissue(
    rng: np.random.Generator,
    grid: Grid,
    tissue: Tissue,
    torso: Torso,
    frames: Frames,
    levels: tuple[str, ...],
    dims: tuple[Dimensions, ...],
) -> np.ndarray:
    """Everything but bone and implants, (nx, ny, nz) float32 HU."""
    x, y, z = grid.axes()
    cx, cy, a, b = (v.astype(np.float32)[None, None, :] for v in torso.at(z.ravel()))
    image = low_frequency(rng, grid, 22.0)
    image *= 9
    image += 45
    radius = np.abs((x - cx) / a) ** 2.4 + np.abs((y - cy) / b) ** 2.4
    fat_mm = np.float32(rng.uniform(7, 15))
    np.copyto(image, image * np.float32(0.8) - 125, where=radius > (1 - fat_mm / 110) ** 2.4)
    np.copyto(image, np.float32(-1000), where=radius > 1)
    _head(image, grid, frames)
    _lungs(image, grid, tissue, torso, frames, levels)
    _table(image, grid, torso)
    _tubes(image, grid, tissue, frames, levels, dims)
    _discs(image, grid, frames, levels, dims)
    return image


def _paint(image: np.ndarray, grid: Grid, solid: Capsule | Body, hu: float, least_hu: float = -2000.0) -> None:
    """Replace what lies inside a solid, blending over about one voxel; lower than `least_hu` stays."""
    spacing = np.float32(np.mean(grid.spacing_mm))
    box = grid.box(*solid.bounds(), float(spacing))
    if box is not None:
        share = np.clip(np.float32(0.5) - solid.distance(grid.axes(box)) / spacing, 0, 1)
        share *= image[box] > least_hu
        image[box] += share * (np.float32(hu) - image[box])


def _head(image: np.ndarray, grid: Grid, frames: Frames) -> None:
    centre, half = skull_centre_mm(frames), np.array([74.0, 92.0, 76.0])
    box = grid.box(centre - half - 12, centre + half + 12)
    if box is None:
        return
    x, y, z = grid.axes(box)
    scaled = [(axis - np.float32(c)) / np.float32(h) for axis, c, h in zip((x, y, z), centre, half, strict=True)]
    depth_mm = (np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2) - 1) * 78
    view = image[box]
    np.copyto(view, np.float32(20), where=(depth_mm < 7) & (view < -500))
    np.copyto(view, np.float32(800), where=depth_mm < 0)
    np.copyto(view, np.float32(35), where=depth_mm < -7)


def _lungs(
    image: np.ndarray, grid: Grid, tissue: Tissue, torso: Torso, frames: Frames, levels: tuple[str, ...]
) -> None:
    """Two half-domed cavities inside the ribs, apart by the mediastinum, and the trachea."""
    top = frames.centres_mm[levels.index("T1")] + [0, 0, 12]
    bottom = frames.centres_mm[levels.index("T11")]
    box = grid.box(np.array([-1e4, -1e4, bottom[2]]), np.array([1e4, 1e4, top[2]]))
    if box is None:
        return
    x, y, z = grid.axes(box)
    cx, cy, a, b = (v.astype(np.float32)[None, None, :] for v in torso.at(z.ravel()))
    spine = np.interp(z.ravel(), frames.centres_mm[::-1, 2], frames.centres_mm[::-1, 0]).astype(np.float32)
    spine_y = np.interp(z.ravel(), frames.centres_mm[::-1, 2], frames.centres_mm[::-1, 1]).astype(np.float32)
    height = ((z - np.float32(bottom[2])) / np.float32(top[2] - bottom[2])).astype(np.float32)
    height = np.clip(height, 0, 1)
    # Narrow apex, broad base; the diaphragm domes up in the middle of each lung.
    reach = np.sqrt(np.clip(1 - height**3, 0, 1)) * np.clip(height * 9, 0, 1) ** 0.5
    outer = ((x - cx) / ((a - 24) * reach + 1)) ** 2 + ((y - cy) / ((b - 26) * reach + 1)) ** 2
    gap = 26 + 18 * np.exp(-(((height - 0.25) / 0.3) ** 2)) + np.clip(y - spine_y[None, None, :] - 18, 0, 40) * 0.35
    mediastinum = np.abs(x - spine[None, None, :]) > gap
    view = image[box]
    np.copyto(view, view * np.float32(2.0) + np.float32(tissue.lung - 90), where=(outer < 1) & mediastinum)
    upper = np.flatnonzero(height.ravel() > 0.62)
    if len(upper):
        inside = (x - spine[None, None, upper]) ** 2 + (y - spine_y[None, None, upper] - 30) ** 2 < 64
        np.copyto(view[:, :, upper[0] : upper[-1] + 1], np.float32(-980), where=inside)


def _table(image: np.ndarray, grid: Grid, torso: Torso) -> None:
    """A flat plate just behind the back."""
    plate = float((torso.y_mm - torso.half_depth_mm).min()) - 6
    box = grid.box(np.array([-1e4, plate - 10, -1e4]), np.array([1e4, plate, 1e4]))
    if box is not None:
        view = image[box]
        np.copyto(view, np.float32(-150), where=view < -900)


def _chain(points: np.ndarray, radius: float) -> list[Capsule]:
    return [Capsule(p, q, radius, radius) for p, q in pairwise(points)]


def _tubes(
    image: np.ndarray,
    grid: Grid,
    tissue: Tissue,
    frames: Frames,
    levels: tuple[str, ...],
    dims: tuple[Dimensions, ...],
) -> None:
    """Aorta, vena cava, psoas fat plane, and the dural sac with cord inside the canal."""
    n = len(levels)
    depth = np.array([d.depth for d in dims])
    canal = -depth / 2 - np.array([d.canal_depth for d in dims]) / 2
    up = frames.axes[:n, :, 2]
    forward = frames.axes[:n, :, 1]
    right = frames.axes[:n, :, 0]
    vessel = [i for i, level in enumerate(levels) if level[0] in "TL" and level not in ("T1", "T2", "T3", "L5", "L6")]
    smooth = (frames.centres_mm[vessel] + forward[vessel] * (depth[vessel, None] / 2 + 15)) - right[
        vessel
    ] * np.linspace(18, 8, len(vessel))[:, None]
    for solid in _chain(smooth, 11.0):
        _paint(image, grid, solid, tissue.aorta, -2000)
    vena = [i for i in vessel if levels[i][0] == "L" or levels[i] in ("T10", "T11", "T12", "T13")]
    path = frames.centres_mm[vena] + forward[vena] * (depth[vena, None] / 2 + 13) + right[vena] * 17
    for solid in _chain(path, 9.5):
        _paint(image, grid, solid, 0.6 * tissue.aorta + 20, -500)
    middle = frames.centres_mm[:n] + forward * canal[:, None]
    middle = np.concatenate([middle[:1] + 25 * up[:1], middle])
    for fill, radius in ((-30.0, 8.0), (18.0, 6.8)):
        for solid in _chain(middle, radius):
            _paint(image, grid, solid, fill)
    for solid in _chain(middle[: levels.index("L1") + 2], 4.2):
        _paint(image, grid, solid, 42.0)


def _discs(
    image: np.ndarray, grid: Grid, frames: Frames, levels: tuple[str, ...], dims: tuple[Dimensions, ...]
) -> None:
    for i in range(1, len(levels)):
        lower = min(i + 1, len(levels) - 1)
        depth, width = (dims[i].depth + dims[lower].depth) / 2, (dims[i].width + dims[lower].width) / 2
        axes = frames.axes[i] + frames.axes[i + 1]
        axes = np.linalg.qr(axes)[0] * np.sign(np.diag(np.linalg.qr(axes)[1]))
        gap = dims[i].spacing - (dims[i].height + dims[lower].height) / 2
        middle = (frames.centres_mm[i] + frames.centres_mm[i + 1]) / 2
        _paint(image, grid, Body(middle, axes, width * 0.97, depth * 0.97, gap + 6, waist=-0.04), 90.0)


def paint_bone(
    rng: np.random.Generator, image: np.ndarray, field: DistanceField, tissue: Tissue, other_bone_code: int
) -> None:
    """Blend bone into HU (in place): a cortex around textured cancellous bone.

    Args:
        other_bone_code: codes from here on are ribs, sacrum and pelvis; they get a thinner, softer cortex.
    """
    spacing = np.float32(np.mean(field.grid.spacing_mm))
    where = np.flatnonzero(field.distance_mm.ravel() < spacing / 2)
    distance, code = field.distance_mm.ravel()[where], field.code.ravel()[where]
    texture_step = 5.0
    index = np.unravel_index(where, image.shape)
    coarse = [int(np.ceil(n * s / texture_step)) + 2 for n, s in zip(image.shape, field.grid.spacing_mm, strict=True)]
    texture = map_coordinates(
        rng.standard_normal(coarse, dtype=np.float32),
        [(i * np.float32(s / texture_step)) for i, s in zip(index, field.grid.spacing_mm, strict=True)],
        order=1,
        output=np.float32,
    )
    per_level = tissue.cancellous * (1 + 0.06 * rng.standard_normal(256))
    per_level[other_bone_code:] = 0.8 * tissue.cancellous
    shell = np.full(256, tissue.cortex)
    shell[other_bone_code:] = tissue.rib
    cancellous = np.maximum(per_level[code].astype(np.float32) + 70 * texture, 20)
    cortex = shell[code].astype(np.float32) * (1 + np.float32(0.12) * texture)
    outer = np.clip(np.float32(0.5) - distance / spacing, 0, 1)
    inner = np.clip(np.float32(0.5) - (distance + np.float32(CORTEX_MM)) / spacing, 0, 1)
    flat = image.ravel()
    flat[where] = flat[where] * (1 - outer) + cortex * (outer - inner) + cancellous * inner


def finish(rng: np.random.Generator, image: np.ndarray, tissue: Tissue, in_view: np.ndarray | None) -> np.ndarray:
    """Blur, add noise, black out what is outside a round field of view; int16 HU of the same shape.

    Args:
        in_view: (nx, ny) boolean, or None when everything is in view.
    """
    image = gaussian_filter(image, tissue.blur_voxels, truncate=2.5)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if tissue.correlated_noise:
        sigma = 0.7
        noise = gaussian_filter(noise, sigma, truncate=2.5)
        noise /= noise[::4, ::4, ::4].std()
    noise *= np.float32(tissue.noise)
    image += noise
    if in_view is not None:
        image[~in_view] = OUTSIDE_FOV_HU
    np.clip(image, -1024, 3071, out=image)
    return np.rint(image, out=image).astype(np.int16)
