"""Redraws the densities of a patch: bone from the depth below its surface, everything else by random factors.

With phantoms of the wide domain as material, a network learns shape instead of density (domain randomisation, Billot et
al., Medical Image Analysis 2023). Works on any data with labelled vertebrae whose intensities are CT normalised with a
known window. Ranges are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter1d

AIR_HU = -1024.0


@dataclass(frozen=True)
class Window:
    """How the plans normalise CT: clip to [low, high] HU, subtract the mean, divide by the deviation."""

    low: float
    high: float
    mean: float
    deviation: float

    def to_hu(self, normalised: np.ndarray) -> np.ndarray:
        return normalised * np.float32(self.deviation) + np.float32(self.mean)

    def from_hu(self, hu: np.ndarray) -> np.ndarray:
        return (np.clip(hu, self.low, self.high) - np.float32(self.mean)) / np.float32(self.deviation)


class TissueTransform(BasicTransform):
    """New densities for the patch of one case (1, *spatial), and views that end in it.

    Drawn from numpy's global state, from which nnU-Net seeds its workers.

    Args:
        window: normalisation of the image.
        spacing_mm: of the patch's axes.
        without: parts to leave out: "bone", "soft", "other_bone", "blobs", "cut", "blur", "slices", "noise".
        ignore_label: in the segmentation, of what may be bone or not and stays as it is.
    """

    def __init__(
        self,
        window: Window,
        spacing_mm: Sequence[float],
        without: Sequence[str] = (),
        ignore_label: int | None = None,
    ):
        super().__init__()
        self.window = window
        self.spacing_mm = tuple(float(s) for s in spacing_mm)
        self.without = frozenset(without)
        self.ignore_label = ignore_label

    def __call__(self, **data_dict) -> dict:
        rng = np.random.default_rng(np.random.randint(2**63 - 1))  # noqa: NPY002 - see the class
        hu = self.window.to_hu(data_dict["image"][0].numpy())
        segmentation = data_dict["segmentation"]
        labels = segmentation[0].numpy()
        bone = (labels > 0) & (labels != self.ignore_label)
        steps = (("soft", _soft, 0.85), ("other_bone", _other_bone, 0.7), ("blobs", _blobs, 0.5))
        for name, step, probability in steps:
            if name not in self.without and rng.random() < probability:
                hu = step(rng, hu, bone)
        if "bone" not in self.without and bone.any() and rng.random() < 0.75:
            hu = redraw_bone(rng, hu, bone, self.spacing_mm)
        hu = self._scan(rng, hu)
        if "cut" not in self.without and rng.random() < 0.3:
            outside = _outside(rng, hu.shape)
            hu[outside] = AIR_HU
            segmentation = segmentation.clone()
            segmentation[:, torch.from_numpy(outside)] = 0
        image = torch.from_numpy(self.window.from_hu(hu).astype(np.float32))[None]
        return {**data_dict, "image": image, "segmentation": segmentation}

    def _scan(self, rng: np.random.Generator, hu: np.ndarray) -> np.ndarray:
        if "blur" not in self.without:
            hu = gaussian_filter(hu, rng.uniform(0.2, 0.9), truncate=2.5)
        if "slices" not in self.without and rng.random() < 0.3:
            hu = uniform_filter1d(hu, int(rng.integers(2, 4)), int(rng.integers(hu.ndim)), mode="nearest")
        if "noise" not in self.without:
            noise = rng.standard_normal(hu.shape, dtype=np.float32)
            if rng.random() < 0.5:
                noise = gaussian_filter(noise, rng.uniform(0.5, 1.0), truncate=2.5)
                noise /= noise.std()
            hu = hu + noise * np.float32(np.exp(rng.uniform(np.log(2), np.log(60))))
        return hu


def slow(rng: np.random.Generator, shape: Sequence[int], cells: int = 4) -> np.ndarray:
    """Noise of about unit variance that varies `cells` times along each axis, `shape` float32."""
    coarse = torch.from_numpy(rng.standard_normal([cells + 1] * len(shape), dtype=np.float32))
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    return F.interpolate(coarse[None, None], tuple(shape), mode=mode, align_corners=True)[0, 0].numpy() * 1.6


def redraw_bone(rng: np.random.Generator, hu: np.ndarray, bone: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Labelled bone with a new cortex and a new inside.

    Args:
        hu, bone: of equal shape, density and whether a voxel is labelled.
    """
    depth_mm = distance_transform_edt(bone, spacing_mm)[bone].astype(np.float32)
    voxel_mm = np.float32(np.mean(spacing_mm))
    depth_mm -= voxel_mm / 2  # from the surface, which runs between voxels
    thickness, cortex = rng.uniform(0.3, 2.5), rng.uniform(250, 1300)
    inside = rng.uniform(-20, 320) + 25 * slow(rng, hu.shape)[bone]
    grain = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), rng.uniform(0.4, 1.6))[bone]
    inside += rng.choice([rng.uniform(0, 30), rng.uniform(30, 130)]) * grain / max(float(grain.std()), 1e-6)
    share = np.clip((depth_mm - thickness) / voxel_mm + 0.5, 0, 1)
    shell = cortex * (1 + 0.2 * slow(rng, hu.shape)[bone])
    surface = np.clip(depth_mm / voxel_mm + rng.uniform(0.2, 0.8), 0, 1)  # partial volume with what is outside
    new = share * inside + (1 - share) * shell
    hu = hu.copy()
    hu[bone] = surface * new + (1 - surface) * np.minimum(hu[bone], rng.uniform(0, 100))
    return hu


def _soft(rng: np.random.Generator, hu: np.ndarray, bone: np.ndarray) -> np.ndarray:
    changed = hu * np.float32(rng.uniform(0.5, 1.5)) + np.float32(rng.uniform(-40, 80))
    changed += np.float32(rng.uniform(0, 35)) * slow(rng, hu.shape, int(rng.integers(2, 8)))
    return np.where(~bone & (hu > -400) & (hu < 250), changed, hu)


def _other_bone(rng: np.random.Generator, hu: np.ndarray, bone: np.ndarray) -> np.ndarray:
    return np.where(~bone & (hu >= 200), 150 + (hu - 150) * np.float32(rng.uniform(0.2, 2.0)), hu)


def _blobs(rng: np.random.Generator, hu: np.ndarray, bone: np.ndarray) -> np.ndarray:
    hu = hu.copy()
    axes = np.ogrid[tuple(slice(n) for n in hu.shape)]
    for _ in range(int(rng.integers(1, 6))):
        radius = rng.uniform(2, 14, hu.ndim)
        centre = rng.uniform(0, hu.shape)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True)) < 1
        inside &= ~bone
        hu[inside] = rng.uniform(-200, 900) + rng.uniform(0, 60) * rng.standard_normal(int(inside.sum()))
    return hu


def _outside(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """What lies beyond one or two faces moved into the patch by up to a third of it."""
    outside = np.zeros(shape, bool)
    for _ in range(int(rng.integers(1, 3))):
        axis, cut = int(rng.integers(len(shape))), rng.uniform(0.03, 0.35)
        n = max(1, round(cut * shape[axis]))
        part = slice(0, n) if rng.random() < 0.5 else slice(shape[axis] - n, None)
        outside[(slice(None),) * axis + (part,)] = True
    return outside
