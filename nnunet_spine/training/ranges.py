"""nnU-Net's augmentation with other ranges: its own transforms are built first and then adjusted."""

from dataclasses import dataclass

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform


@dataclass(frozen=True)
class Ranges:
    """What differs from nnU-Net's augmentation.

    Attributes:
        scaling: factors of the size, one for each axis on its own; None is nnU-Net's 0.7 to 1.4 for all axes together.
        contrast: factors of the contrast; None is nnU-Net's 0.75 to 1.25.
        plane: rotation and scaling stay in this plane of the patch; None lets them go anywhere.
        always: turn and scale every patch; nnU-Net does each with a probability of 0.2.
        intensity: False leaves out noise, blur, brightness, low resolution and gamma, and the contrast unless it has a
            range.
        elastic: largest displacement of a smooth deformation of every other patch, in voxels.
        uniform: one factor of the size for all axes.
        noise_sd: largest standard deviation of Gaussian noise on each patch, in units of the image; 0 adds none.
    """

    scaling: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None
    plane: "Plane | None" = None
    always: bool = False
    intensity: bool = True
    elastic: float = 0.0
    uniform: bool = False
    noise_sd: float = 0.0


@dataclass(frozen=True)
class Plane:
    """A plane of patches.

    Attributes:
        normal: the axis that stands on it; None is that of patches of two axes, which are the plane.
    """

    normal: int | None = None

    def lies_along(self, axis: int) -> bool:
        """Whether an axis of the patch lies in the plane."""
        return axis != self.normal


@dataclass(frozen=True)
class AngleAboutNormal:
    """Draws the angle of rotation about an axis: 0 about those that lie in the plane."""

    plane: Plane
    limits: tuple[float, float]

    def __call__(self, image, dim: int) -> float:
        turns = self.plane.normal is None or dim == self.plane.normal
        return np.random.uniform(*self.limits) if turns else 0.0  # noqa: NPY002 - seeded as nnU-Net's own draws are


@dataclass(frozen=True)
class ScaleInPlane:
    """Draws what the spatial transform multiplies distances by, the inverse of the size; 1 along the normal."""

    plane: Plane
    sizes: tuple[float, float]

    def __call__(self, image, dim: int) -> float:
        return 1 / np.random.uniform(*self.sizes) if self.plane.lies_along(dim) else 1.0  # noqa: NPY002


def adjust(transforms: ComposeTransforms, ranges: Ranges) -> ComposeTransforms:
    """The same transforms with other ranges; probabilities stay. The given transforms are changed."""
    kept = []
    for transform in transforms.transforms:
        inner = transform.transform if isinstance(transform, RandomTransform) else transform
        if isinstance(inner, SpatialTransform):
            _adjust_spatial(inner, ranges)
        elif isinstance(inner, ContrastTransform) and ranges.contrast is not None:
            inner.contrast_range = BGContrast(ranges.contrast)
        elif inner is not transform and isinstance(inner, ImageOnlyTransform) and not ranges.intensity:
            continue
        kept.append(transform)
        if isinstance(inner, SpatialTransform) and ranges.noise_sd:
            kept.append(GaussianNoiseTransform((0.0, ranges.noise_sd)))
    return ComposeTransforms(kept)


def _adjust_spatial(transform: SpatialTransform, ranges: Ranges) -> None:
    if ranges.scaling is not None:
        transform.scaling, transform.p_synchronize_scaling_across_axes = ranges.scaling, float(ranges.uniform)
    if ranges.plane is not None:
        transform.rotation = AngleAboutNormal(ranges.plane, transform.rotation)
        transform.scaling = ScaleInPlane(ranges.plane, transform.scaling)
        transform.p_synchronize_scaling_across_axes = 0
    if ranges.elastic:
        transform.p_elastic_deform = 0.5
        transform.elastic_deform_scale, transform.elastic_deform_magnitude = (0.08, 0.25), (0.0, ranges.elastic)
    if ranges.always:
        transform.p_rotation = transform.p_scaling = 1
