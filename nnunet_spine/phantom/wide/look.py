"""Densities and the scanner: how the same anatomy looks in one of many scans."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter1d

from nnunet_spine.phantom.grid import DistanceField, Grid
from nnunet_spine.phantom.render import low_frequency
from nnunet_spine.phantom.wide.organs import Filled


@dataclass(frozen=True)
class Bone:
    """Look of one kind of bone; HU unless the name says otherwise.

    Attributes:
        cortex, cortex_mm: density and thickness of the shell.
        cancellous, texture, texture_mm: mean density inside, its variation, and the length over which that varies.
        per_bone: relative standard deviation of the densities of single bones.
    """

    cortex: float
    cortex_mm: float
    cancellous: float
    texture: float
    texture_mm: float
    per_bone: float


def draw_bone(rng: np.random.Generator) -> Bone:
    """From old, dark bodies with a bright thin shell to dense young ones."""
    return Bone(
        cortex=float(rng.uniform(300, 1500)),
        cortex_mm=float(rng.uniform(0.3, 2.0)),
        cancellous=float(rng.uniform(20, 300)),
        texture=float(rng.choice([rng.uniform(5, 40), rng.uniform(40, 130)])),
        texture_mm=float(rng.uniform(2.5, 9)),
        per_bone=float(rng.choice([0.05, 0.25])),
    )


def paint(rng: np.random.Generator, image: np.ndarray, grid: Grid, organs: list[Filled]) -> None:
    """Paint organs into HU (in place), in their order."""
    spacing = np.float32(np.mean(grid.spacing_mm))
    for organ in organs:
        box = grid.box(*organ.solid.bounds(), float(spacing))
        if box is None:
            continue
        view = image[box]
        share = np.clip(np.float32(0.5) - organ.solid.distance(grid.axes(box)) / spacing, 0, 1)
        share *= view > organ.only_within
        hu = np.full(view.shape, organ.hu, np.float32)
        if organ.texture:
            part = Grid(view.shape, grid.spacing_mm, grid.first_mm)
            hu += np.float32(organ.texture) * low_frequency(rng, part, 9.0)
        view += share * (hu - view)


def paint_bones(
    rng: np.random.Generator, image: np.ndarray, field: DistanceField, spine: Bone, others: dict[int, Bone]
) -> None:
    """Blend bone into HU (in place), each kind with its own look.

    Args:
        others: look of the bones with these codes; all other codes are vertebrae.
    """
    spacing = np.float32(np.mean(field.grid.spacing_mm))
    where = np.flatnonzero(field.distance_mm.ravel() < spacing / 2)
    if not len(where):
        return
    distance, code = field.distance_mm.ravel()[where], field.code.ravel()[where]
    noise = low_frequency(rng, field.grid, spine.texture_mm).ravel()[where]
    table = np.zeros((256, 4), np.float32)  # cortex, thickness, cancellous, texture
    for value in range(256):
        bone = others.get(value, spine)
        factor = np.clip(rng.normal(1, bone.per_bone, 2), 0.4, 1.8)
        table[value] = bone.cortex * factor[0], bone.cortex_mm, bone.cancellous * factor[1], bone.texture
    cortex_hu, thickness, inside_hu, texture = table[code].T
    inside_hu = np.maximum(inside_hu + texture * noise, -80)
    cortex_hu = cortex_hu * (1 + np.float32(0.12) * noise)
    outer = np.clip(np.float32(0.5) - distance / spacing, 0, 1)
    inner = np.clip(np.float32(0.5) - (distance + thickness) / spacing, 0, 1)
    flat = image.ravel()
    flat[where] = flat[where] * (1 - outer) + cortex_hu * (outer - inner) + inside_hu * inner


@dataclass(frozen=True)
class Scanner:
    """One reconstruction.

    Attributes:
        slice_mm: thickness of slices, at least the distance between them, along `slice_axis`.
        soft_mm: standard deviation of the in-plane blur.
        sharpening: strength of the edge enhancement of a bone kernel; 0 for a soft one.
        noise: standard deviation in HU.
        grain: of the noise in voxels; 0 is white, below 0 high-pass.
        horizontal: noise is drawn out from left to right, as at shoulders and hips.
        padding: value outside the field of view.
        gain, offset: error of the calibration.
    """

    slice_mm: float
    slice_axis: int
    soft_mm: float
    sharpening: float
    noise: float
    grain: float
    horizontal: bool
    padding: float
    gain: float
    offset: float


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """A reconstruction from thin and sharp to thick and soft."""
    sharp = rng.random() < 0.35
    return Scanner(
        slice_mm=float(rng.choice([rng.uniform(0.5, 2), rng.uniform(2, 5)])),
        slice_axis=int(rng.choice([2, 0], p=[0.8, 0.2])),
        soft_mm=float(rng.uniform(0.3, 0.7) if sharp else rng.uniform(0.5, 1.6)),
        sharpening=float(rng.uniform(0.4, 2.0)) if sharp else 0.0,
        noise=float(np.exp(rng.uniform(np.log(3), np.log(70)))),
        grain=float(rng.choice([-1.0, 0.0, 0.7, 1.2])),
        horizontal=bool(rng.random() < 0.15),
        padding=float(rng.choice([-1024, -1024, -2000, -2048, -3024, -1000, 0])),
        gain=float(rng.uniform(0.95, 1.05)),
        offset=float(rng.uniform(-15, 15)),
    )


def scan(
    rng: np.random.Generator, image: np.ndarray, grid: Grid, scanner: Scanner, in_view: np.ndarray | None
) -> np.ndarray:
    """Blur, sharpen, add noise, and fill what is outside the field of view; int16 of the same shape.

    Args:
        in_view: (nx, ny) boolean, or None when everything is in view.
    """
    size = round(scanner.slice_mm / grid.spacing_mm[scanner.slice_axis])
    if size > 1:
        image = uniform_filter1d(image, size, scanner.slice_axis, mode="nearest")
    for axis in range(3):
        if axis != scanner.slice_axis:
            image = gaussian_filter1d(image, scanner.soft_mm / grid.spacing_mm[axis], axis, truncate=2.5)
    if scanner.sharpening:
        sigma = [0.0 if axis == scanner.slice_axis else 1.5 / grid.spacing_mm[axis] for axis in range(3)]
        image += np.float32(scanner.sharpening) * (image - gaussian_filter(image, sigma, truncate=2.5))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if scanner.grain > 0:
        noise = gaussian_filter(noise, scanner.grain, truncate=2.5)
    elif scanner.grain < 0:
        noise -= gaussian_filter(noise, 0.8, truncate=2.5)
    if scanner.horizontal:
        noise += 1.5 * gaussian_filter1d(rng.standard_normal(image.shape, dtype=np.float32), 6.0, 0)
    noise *= np.float32(scanner.noise / max(float(noise[::3, ::3, ::3].std()), 1e-6))
    image = image * np.float32(scanner.gain) + np.float32(scanner.offset) + noise
    np.clip(image, -1024, 3071, out=image)
    if in_view is not None:
        image[~in_view] = scanner.padding
    return np.rint(image, out=image).astype(np.int16)
