"""Masks where only landmarks were annotated: spheres around centres, or a model's masks as far as landmarks agree.

Everything that nobody vouches for is nnU-Net's ignore label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.anatomy import BY_NAME, BY_NNUNET_ID, sort_cranio_caudal
from nnunet_spine.dataset_conversion.label_sets import IGNORE
from nnunet_spine.dataset_conversion.lml import LmlFile
from nnunet_spine.dataset_conversion.sources import Fitting, OpenImage, OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.io.itk import data_files

if TYPE_CHECKING:
    import numpy as np

    from nnunet_spine.centroids import Centroid

IGNORED = 255
RADIUS_MM = 6.0
AGREE_MM = 10.0
_REACH_MM = 25.0  # a vertebra that the model missed is not further from its centre than this
_COARSE_MM = 4.0


@dataclass(frozen=True)
class Spheres:
    """Spheres around the landmarks.

    Attributes:
        landmarks: where they come from.
        radius_mm: of the spheres; where two meet, each voxel belongs to the nearer centre.
        background_mm: level with the landmarks, what is further than this from the line through them is background; 0
            ignores it as everything else.
    """

    landmarks: LmlFile
    radius_mm: float = RADIUS_MM
    background_mm: float = 0.0

    @property
    def files(self) -> tuple[Path, ...]:
        return self.landmarks.files

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        import numpy as np

        if image is None:
            raise InputError("landmarks without an image", "add the image", self.landmarks.path)
        grid = image.grid
        points = self.landmarks.read(grid, None, {}).points_mm
        labels = np.full(grid.shape, IGNORED, np.uint8, order="F")
        if self.background_mm:
            _mark_background(labels, grid.affine, np.array(list(points.values()), float), self.background_mm)
        everyone = np.array(list(points.values()), float)
        for name in sort_cranio_caudal(points.keys() & BY_NAME.keys()):
            box, distance = _near(grid.affine, grid.shape, points[name], everyone, self.radius_mm)
            labels[box][distance <= self.radius_mm] = BY_NAME[name].nnunet_id
        names = {BY_NAME[name].nnunet_id: name for name in points if name in BY_NAME}
        return OpenMask(labels, grid, {**names, IGNORED: IGNORE})


@dataclass(frozen=True)
class AgreedPrediction:
    """A model's mask of a scan: each vertebra is kept whose landmark has its name, all others are ignored.

    Attributes:
        landmarks: of the scan.
        prediction: the model's mask.
        table: what its values mean, (value, level); other values are background.
        agree_mm: how far a landmark may be from the centre of the predicted body.
    """

    landmarks: LmlFile
    prediction: Path
    table: tuple[tuple[int, str], ...]
    agree_mm: float = AGREE_MM

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.prediction, *data_files(self.prediction), *self.landmarks.files)

    def read(self, image: OpenImage | None, fitting: Fitting) -> OpenMask:
        import numpy as np

        from nnunet_spine import centroids
        from nnunet_spine.dataset_conversion.placing import fit_to_image
        from nnunet_spine.io.masks import mask_values, read_mask

        if image is None:
            raise InputError("landmarks without an image", "add the image", self.landmarks.path)
        recode = {value: BY_NAME[level].nnunet_id for value, level in self.table}
        recode = {value: recode.get(value, 0) for value in mask_values(self.prediction)}
        fitted = fit_to_image(read_mask(self.prediction, recode=recode), image, fitting)
        labels, affine = fitted.labels, image.grid.affine
        points = self.landmarks.read(image.grid, None, {}).points_mm
        measured = {BY_NNUNET_ID[value].name: found for value, found in centroids.measure(labels, affine).items()}
        refused = _refused(points, measured, self.agree_mm)
        for name in refused:
            labels[labels == BY_NAME[name].nnunet_id] = IGNORED
        kept = sort_cranio_caudal(measured.keys() - refused.keys())
        missed = sort_cranio_caudal(points.keys() & BY_NAME.keys() - set(kept))
        everyone = np.array([points[name] for name in points], float)
        for name in missed:
            box, distance = _near(affine, image.grid.shape, points[name], everyone, _REACH_MM)
            part = labels[box]
            part[(distance <= _REACH_MM) & (part == 0)] = IGNORED
        names = {BY_NAME[name].nnunet_id: name for name in kept}
        return OpenMask(
            labels, image.grid, {**names, IGNORED: IGNORE}, (*fitted.flags, _kept(kept, refused, missed)),
            fitted.findings,
        )  # fmt: skip


def _refused(points: Mapping[str, tuple], measured: "Mapping[str, Centroid]", agree_mm: float) -> dict[str, str]:
    """Predicted vertebra -> why its landmark does not vouch for it."""
    import math

    out = {}
    for name in sort_cranio_caudal(measured):
        if name not in points:
            out[name] = "no landmark"
            continue
        distances = {other: math.dist(points[name], found.body_mm) for other, found in measured.items()}
        nearest = min(distances, key=distances.get)
        if nearest != name:
            out[name] = f"its landmark lies in {nearest}"
        elif distances[name] > agree_mm:
            out[name] = f"{distances[name]:.0f} mm from its landmark"
    return out


def _kept(kept: list[str], refused: Mapping[str, str], missed: list[str]) -> str:
    alone = [name for name in missed if name not in refused]
    parts = [f"prediction kept in {' '.join(kept) or 'no vertebra'}"]
    parts += [f"ignored {', '.join(f'{name} ({why})' for name, why in refused.items())}"] if refused else []
    parts += [f"not predicted {' '.join(alone)}"] if alone else []
    return ", ".join(parts)


def _near(affine, shape, point_mm, everyone_mm, reach_mm: float) -> "tuple[tuple[slice, ...], np.ndarray]":
    """The box around a point, and the distance of its voxels from it in mm; infinite where another point is nearer."""
    import numpy as np

    from nnunet_spine.geometry import spacing_mm, to_index, to_world

    centre, reach = to_index(affine, np.array(point_mm)), reach_mm / spacing_mm(affine)
    low = np.clip(np.floor(centre - reach).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, low, shape)
    index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1)
    world = to_world(affine, index)
    own = np.linalg.norm(world - point_mm, axis=-1)
    for other in everyone_mm:
        if 0 < np.linalg.norm(other - point_mm) < 2 * reach_mm:
            own[np.linalg.norm(world - other, axis=-1) < own] = np.inf
    return tuple(map(slice, low, high)), own


def _mark_background(labels: "np.ndarray", affine: "np.ndarray", points_mm: "np.ndarray", beyond_mm: float) -> None:
    """Background beside the spine, between the heights of its first and its last landmark; found every 4 mm or so."""
    import numpy as np
    from scipy.spatial import cKDTree

    from nnunet_spine.geometry import spacing_mm, to_world

    if len(points_mm) < 2:
        return
    steps = np.maximum(1, np.floor(_COARSE_MM / spacing_mm(affine)).astype(int))
    line = np.concatenate([np.linspace(a, b, 9) for a, b in pairwise(points_mm)])
    coarse = [np.arange(step // 2, n + step // 2, step) for n, step in zip(labels.shape, steps, strict=True)]
    world = to_world(affine, np.stack(np.meshgrid(*coarse, indexing="ij"), -1))
    level = (world[..., 2] >= points_mm[:, 2].min()) & (world[..., 2] <= points_mm[:, 2].max())
    away = np.zeros(world.shape[:3], bool)
    away[level] = cKDTree(line).query(world[level])[0] > beyond_mm
    for k in range(labels.shape[2]):
        plane = away[..., k // steps[2]].repeat(steps[0], 0).repeat(steps[1], 1)
        labels[..., k][plane[: labels.shape[0], : labels.shape[1]]] = 0
