"""Names for the vertebrae of a walk, from where they lie, the region that a first stage saw, and what is cut off."""

from dataclasses import dataclass

import numpy as np

from nnunet_spine.anatomy import BY_NNUNET_ID, REGIONS
from nnunet_spine.centroids import measure
from nnunet_spine.geometry import nearest_voxel, to_index, to_world
from nnunet_spine.labelling import Detection, Labelling, label_vertebrae
from nnunet_spine.traversal.record import Instance, Walk

SAMPLE = 20_000
"""Voxels of a vertebra by which evidence is averaged."""


@dataclass(frozen=True)
class Evidence:
    """What other networks say of each voxel, on a grid of their own.

    Attributes:
        values: probability of the cervical, thoracic and lumbar spine (3, *spatial); or a label map (*spatial) of
            regions (1 to 3), or of levels (nnU-Net ids).
        affine: of the grid, 4 x 4, RAS mm.
    """

    values: np.ndarray
    affine: np.ndarray


def detections_of(
    walk: Walk, affine: np.ndarray, *, regions: Evidence | None = None, levels: Evidence | None = None
) -> tuple[Detection, ...]:
    """The vertebrae of a walk as the labelling sees them.

    Args:
        walk: see `walk_spine`.
        affine: of its scan.
        regions: probabilities or a label map of regions.
        levels: a label map of levels, of any network that names them.

    Returns:
        One per instance, in their order: the centre of its body, the mean evidence over its voxels, its completeness.
    """
    points = measure(walk.labels, affine, without_body=())
    out = []
    for instance in walk.instances:
        world = _voxels_mm(walk, instance, affine)
        seen = None if levels is None else np.bincount(_at(levels, world).astype(int), minlength=27) / len(world)
        out.append(
            Detection(
                points[instance.number].body_mm,
                regions=None if regions is None else _region_scores(regions, world),
                levels=None if seen is None else {v.name: float(seen[i]) for i, v in BY_NNUNET_ID.items() if seen[i]},
                completeness=instance.completeness,
            )
        )
    return tuple(out)


def name_vertebrae(
    walk: Walk,
    affine: np.ndarray,
    *,
    regions: Evidence | None = None,
    levels: Evidence | None = None,
    method: str = "learned",
    normal: bool = False,
) -> Labelling:
    """Name the vertebrae of a walk.

    >>> name_vertebrae(Walk(np.zeros((4, 4, 4), np.uint8), (), (), 0, ""), np.eye(4)).names
    ()

    Args:
        walk, affine, regions, levels: see `detections_of`.
        method: "learned", "rules", or "paper": counted from a boundary between regions as in Masuzawa et al. 2020.
        normal: only spines of 12 thoracic and 5 lumbar levels.

    Returns:
        One name per instance, in their order.

    Raises:
        InputError: another method.
    """
    detections = detections_of(walk, affine, regions=regions, levels=levels)
    return label_vertebrae(detections, method=method, normal=normal, in_order=True)


def _voxels_mm(walk: Walk, instance: Instance, affine: np.ndarray) -> np.ndarray:
    """World positions of evenly chosen voxels of an instance (n, 3)."""
    index = np.argwhere(walk.labels[instance.box] == instance.number)
    index = index[:: max(1, len(index) // SAMPLE)]
    return to_world(affine, index + [s.start for s in instance.box])


def _at(evidence: Evidence, world: np.ndarray) -> np.ndarray:
    """Values at the nearest voxels, 0 outside: (n,), or (channels, n)."""
    index = nearest_voxel(evidence.affine, to_index(evidence.affine, world))
    values = evidence.values
    inside = ((index >= 0) & (index < values.shape[-3:])).all(1)
    out = np.zeros((*values.shape[:-3], len(world)), values.dtype)
    out[..., inside] = values[(..., *index[inside].T)]
    return out


def _region_scores(regions: Evidence, world: np.ndarray) -> tuple[float, float, float] | None:
    """Mean score of each region, scaled to a sum of 1; None where no voxel has one."""
    values = _at(regions, world)
    if values.ndim == 1:
        values = values[None] == np.arange(1, len(REGIONS) + 1)[:, None]
    means = values.astype(float).mean(1)
    return tuple((means / means.sum()).tolist()) if means.sum() > 0.01 else None
