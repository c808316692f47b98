"""Surface meshes of vertebrae in world millimetres, and how far a predicted surface lies from the reference.

Meshes are coarse and smooth, for looking at; deviations are measured on the masks themselves at full resolution. The
boundary of a mask runs half way between the centres of its outermost voxels and their neighbours, and along the border
of the volume where a vertebra is cut off.
"""

from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from nnunet_spine import geometry, scores
from nnunet_spine.errors import InputError

SPACING_MM = 2.0
SMOOTHING = 0.6  # standard deviation of the Gaussian, in voxels of the coarse grid
_CORNERS = np.array(list(product((0, 1), repeat=3)))  # (8, 3)


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh whose faces are counter-clockwise seen from outside.

    Attributes:
        vertices_mm: world RAS, (n, 3) float32.
        faces: vertex numbers, (m, 3) int32.
        deviation_mm: signed distance to the reference for each vertex, (n,) float32, negative inside the reference;
            None where there is nothing to compare with.
    """

    vertices_mm: np.ndarray
    faces: np.ndarray
    deviation_mm: np.ndarray | None = None


def vertebra_meshes(labels: np.ndarray, affine: np.ndarray, *, spacing_mm: float = SPACING_MM) -> dict[int, Mesh]:
    """The surface of each vertebra.

    Marching cubes (Lewiner et al. 2003) on the share of each coarse voxel that the vertebra fills, lightly smoothed.
    Structures thinner than the coarse grid may open up; pieces too small for it are drawn somewhat too large.

    Args:
        labels: nnU-Net ids, three axes in any order and direction.
        affine: voxel index -> RAS mm, 4x4; mirrored and oblique ones are fine.
        spacing_mm: of the coarse grid, as nearly as whole voxels allow; never finer than the map itself.

    Returns:
        nnU-Net id -> mesh without deviations; empty without labels.

    Raises:
        InputError: not three axes, values that are not nnU-Net ids, or a spacing of 0 or less.

    Example:
        >>> labels = np.zeros((30, 30, 30), np.uint8)
        >>> labels[8:22, 8:22, 8:22] = 20
        >>> sorted(vertebra_meshes(labels, np.eye(4)))
        [20]
    """
    surfaces = _surfaces(scores.as_label_ids(labels), affine, spacing_mm)
    return {label: _mesh(index, faces, affine) for label, (index, faces) in surfaces.items()}


def deviation_meshes(
    prediction: np.ndarray, reference: np.ndarray, affine: np.ndarray, *, spacing_mm: float = SPACING_MM
) -> dict[int, Mesh]:
    """The surface of each predicted vertebra with its signed distance to the reference vertebra that it lies on.

    That is the reference label which shares most voxels with it, whatever its name; a prediction that shares none has
    no deviations. Each vertex is first moved to the boundary of the predicted mask, which takes the smoothing out.
    Distances are measured at voxel centres (the mean of those to the voxels on both sides of the boundary) and
    interpolated between them: exact for faces along the grid, some 0.15 voxels too short for slanted ones, whose
    voxels form steps.

    Args:
        prediction, reference: nnU-Net ids on one grid.
        affine, spacing_mm: see `vertebra_meshes`.

    Returns:
        nnU-Net id in the prediction -> mesh; empty without predicted labels.

    Raises:
        InputError: different shapes, or as `vertebra_meshes`.

    Example:
        >>> labels = np.zeros((30, 30, 30), np.uint8)
        >>> labels[8:22, 8:22, 8:22] = 20
        >>> sorted(deviation_meshes(labels, labels, np.eye(4)))
        [20]
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    prediction, reference = scores.as_label_ids(prediction), scores.as_label_ids(reference)
    surfaces = _surfaces(prediction, affine, spacing_mm)
    covers = _covering(prediction, reference)
    voxel_mm = geometry.spacing_mm(affine)
    predicted = _boundaries(prediction, voxel_mm)
    true = _boundaries(reference, voxel_mm, wanted=set(covers.values()))
    meshes = {}
    for label, (index, faces) in surfaces.items():
        deviation_mm = None
        if label in covers:
            deviation_mm = true[covers[label]].signed_distance_mm(predicted[label].snap(index)).astype(np.float32)
        meshes[label] = _mesh(index, faces, affine, deviation_mm)
    return meshes


def boundary_mesh(mask: np.ndarray, affine: np.ndarray, *, spacing_mm: float = SPACING_MM) -> Mesh:
    """The surface of one mask, each vertex moved onto the mask's boundary, which takes the smoothing out.

    Args:
        mask: 3-D bool.
        affine, spacing_mm: see `vertebra_meshes`.

    Raises:
        InputError: an empty mask.

    Example:
        >>> mask = np.zeros((30, 30, 30), bool)
        >>> mask[8:22, 8:22, 8:22] = True
        >>> boundary_mesh(mask, np.eye(4)).vertices_mm.min(0).round(2).tolist()
        [7.5, 7.5, 7.5]
    """
    labels = mask.astype(np.uint8)
    if not labels.any():
        raise InputError("no voxel of the structure; expected some")
    index, faces = _surfaces(labels, affine, spacing_mm)[1]
    return _mesh(_boundaries(labels, geometry.spacing_mm(affine))[1].snap(index), faces, affine)


def _covering(prediction: np.ndarray, reference: np.ndarray) -> dict[int, int]:
    """Predicted label -> the reference label that shares most voxels with it; without those that share none."""
    _, (predicted, true) = scores.label_voxels(prediction, reference)
    joint = np.bincount(predicted.astype(np.intp) * scores.N_IDS + true, minlength=scores.N_IDS**2)
    joint = joint.reshape(scores.N_IDS, scores.N_IDS)
    joint[0], joint[:, 0] = 0, 0
    return {int(label): int(joint[label].argmax()) for label in np.flatnonzero(joint.sum(1))}


def _surfaces(labels: np.ndarray, affine: np.ndarray, spacing_mm: float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Label -> vertices as voxel indices (n, 3) and outward faces (m, 3) in world handedness."""
    if not spacing_mm > 0:
        raise InputError(f"mesh spacing of {spacing_mm} mm; expected more than 0")
    box = geometry.bounding_box(labels)
    if box is None:
        return {}
    step = np.maximum(1, np.rint(spacing_mm / geometry.spacing_mm(affine))).astype(int)
    low = np.array([side.start for side in box])
    inside = np.ascontiguousarray(labels[box])
    # piece by piece: one stray voxel far away must not make a vertebra's crop as large as the scan
    pieces = cc3d.connected_components(inside, connectivity=26)
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for number, where in enumerate(ndimage.find_objects(pieces), start=1):
        mask = pieces[where] == number
        label = int(inside[where][np.unravel_index(mask.argmax(), mask.shape)])
        index, faces = _surface(mask, step)
        found.setdefault(label, []).append((index + low + [side.start for side in where], faces))
    mirrored = np.linalg.det(np.asarray(affine, float)[:3, :3]) < 0
    surfaces = {}
    for label, parts in sorted(found.items()):
        offsets = np.cumsum([0] + [len(index) for index, _ in parts[:-1]])
        faces = np.concatenate([faces + offset for (_, faces), offset in zip(parts, offsets, strict=True)])
        surfaces[label] = (np.concatenate([index for index, _ in parts]), faces[:, ::-1] if mirrored else faces)
    return surfaces


def _surface(mask: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices as indices of `mask` (n, 3), and faces that are outward in a right-handed grid."""
    margin = 2 * step  # room for the smoothing, so that the surface is closed
    after = margin + (-np.array(mask.shape)) % step
    share = np.pad(mask, list(zip(margin, after, strict=True))).astype(np.float32)
    for axis, n in enumerate(step):  # mean over blocks of step[0] x step[1] x step[2] voxels
        share = share.reshape(*share.shape[:axis], -1, n, *share.shape[axis + 1 :]).mean(axis + 1)
    share = ndimage.gaussian_filter(share, SMOOTHING, mode="constant", truncate=3.0)
    peak = float(share.max())
    index, faces, _, _ = marching_cubes(share, 0.5 if peak > 0.5 else peak / 2)
    return index * step + (step - 1) / 2 - margin, faces[:, ::-1]


def _mesh(index: np.ndarray, faces: np.ndarray, affine: np.ndarray, deviation_mm: np.ndarray | None = None) -> Mesh:
    vertices_mm = geometry.to_world(affine, index).astype(np.float32)
    return Mesh(vertices_mm, np.ascontiguousarray(faces, np.int32), deviation_mm)


@dataclass(frozen=True)
class Boundary:
    """The boundary of one label: the voxels on its two sides as points in mm, and the map to look up any other voxel.

    Points are voxel indices times voxel size: distances hold for grids with perpendicular axes.
    """

    labels: np.ndarray
    label: int
    voxel_mm: np.ndarray
    inner: cKDTree
    outer: cKDTree

    def signed_distance_mm(self, index: np.ndarray) -> np.ndarray:
        """Distance to the boundary at continuous voxel indices (n, 3), negative inside, (n,)."""
        return self._distance_and_slope(index)[0]

    def snap(self, index: np.ndarray) -> np.ndarray:
        """Points near the boundary (n, 3) moved onto it, along the steepest change of distance."""
        for _ in range(2):
            distance_mm, slope = self._distance_and_slope(index)
            slope /= self.voxel_mm  # mm per mm
            length = np.linalg.norm(slope, axis=1, keepdims=True)
            direction = np.divide(slope, length, out=np.zeros_like(slope), where=length > 1e-6)
            index = index - distance_mm[:, None] * direction / self.voxel_mm
        return index

    def _distance_and_slope(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trilinear interpolation of the distances at voxel centres, (n,), and its derivative per voxel, (n, 3)."""
        base = np.floor(index).astype(np.int64)
        corners = (base[:, None] + _CORNERS).reshape(-1, 3)  # (8 n, 3)
        low = corners.min(0)
        flat = np.ravel_multi_index((corners - low).T, corners.max(0) - low + 1)
        _, first, number = np.unique(flat, return_index=True, return_inverse=True)
        at_corners = self._at_voxels(corners[first])[number].reshape(-1, 8)
        fraction = (index - base)[:, None]  # (n, 1, 3)
        weights = np.where(_CORNERS, fraction, 1 - fraction)  # (n, 8, 3)
        signs = np.where(_CORNERS, 1, -1)  # (8, 3)
        slope = [(at_corners * signs[:, axis] * np.delete(weights, axis, axis=2).prod(2)).sum(1) for axis in range(3)]
        return (at_corners * weights.prod(2)).sum(1), np.stack(slope, axis=1)

    def _at_voxels(self, voxels: np.ndarray) -> np.ndarray:
        # The mean of the distances to both sides is the distance to the plane half way, whatever the voxels' shape.
        position_mm = voxels * self.voxel_mm
        distance_mm = (self.inner.query(position_mm)[0] + self.outer.query(position_mm)[0]) / 2
        return np.where(_lookup(self.labels, voxels) == self.label, -distance_mm, distance_mm)


def _boundaries(labels: np.ndarray, voxel_mm: np.ndarray, wanted: set[int] | None = None) -> dict[int, Boundary]:
    """Label -> boundary, of all labels or of some."""
    index, (values,) = scores.label_voxels(labels)
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(np.bincount(values, minlength=scores.N_IDS))
    found = {}
    for label in range(1, scores.N_IDS):
        voxels = index[order[ends[label - 1] : ends[label]]]
        if len(voxels) and (wanted is None or label in wanted):
            found[label] = _boundary(labels, label, voxels, voxel_mm)
    return found


def _boundary(labels: np.ndarray, label: int, voxels: np.ndarray, voxel_mm: np.ndarray) -> Boundary:
    inner, outer = np.zeros(len(voxels), bool), []
    for axis, step in product(range(3), (-1, 1)):
        beyond = voxels + step * np.eye(3, dtype=int)[axis]
        outside = _lookup(labels, beyond) != label
        inner |= outside
        outer.append(beyond[outside])
    trees = (cKDTree(side * voxel_mm, balanced_tree=False) for side in (voxels[inner], np.concatenate(outer)))
    return Boundary(labels, label, voxel_mm, *trees)


def _lookup(labels: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Labels at voxel indices (n, 3), 0 beyond the border."""
    inside = np.all((voxels >= 0) & (voxels < labels.shape), axis=1)
    values = np.zeros(len(voxels), labels.dtype)
    values[inside] = labels[tuple(voxels[inside].T)]
    return values
