"""nnU-Net's augmentation with other ranges: its own transforms are built first and then adjusted."""

from dataclasses import dataclass

from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform


@dataclass(frozen=True)
class Ranges:
    """What differs from nnU-Net's augmentation.

    Attributes:
        scaling: factors of the size, one for each axis on its own; None is nnU-Net's 0.7 to 1.4 for all axes together.
        contrast: factors of the contrast; None is nnU-Net's 0.75 to 1.25.
        intensity: False leaves out noise, blur, brightness, low resolution and gamma, and the contrast unless it has a
            range.
    """

    scaling: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None
    intensity: bool = True


def adjust(transforms: ComposeTransforms, ranges: Ranges) -> ComposeTransforms:
    """The same transforms with other ranges; probabilities stay. The given transforms are changed."""
    kept = []
    for transform in transforms.transforms:
        inner = transform.transform if isinstance(transform, RandomTransform) else transform
        if isinstance(inner, SpatialTransform) and ranges.scaling is not None:
            inner.scaling, inner.p_synchronize_scaling_across_axes = ranges.scaling, 0
        elif isinstance(inner, ContrastTransform) and ranges.contrast is not None:
            inner.contrast_range = BGContrast(ranges.contrast)
        elif inner is not transform and isinstance(inner, ImageOnlyTransform) and not ranges.intensity:
            continue
        kept.append(transform)
    return ComposeTransforms(kept)
