"""Voxel grids in the world: affines, axis codes, reorientation. World is RAS millimetres throughout."""

import nibabel as nib
import numpy as np
from scipy import ndimage

_TIE = 1e-3
"""Voxels by which a point may miss the middle between two voxels and still count as lying there: affines of one grid
differ by this much when files store them in single precision."""


def axis_codes(affine: np.ndarray) -> str:
    """Side towards which each array axis grows, e.g. "PIR".

    Example:
        >>> axis_codes(np.diag([-1.0, -1.0, 1.0, 1.0]))
        'LPS'
    """
    return "".join(nib.aff2axcodes(affine))


def spacing_mm(affine: np.ndarray) -> np.ndarray:
    """Voxel size along each array axis, (3,) mm.

    Example:
        >>> spacing_mm(np.diag([0.5, 0.5, 2.0, 1.0])).tolist()
        [0.5, 0.5, 2.0]
    """
    return np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(0))


def to_world(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Voxel indices (..., 3), 0-based, integer = voxel centre -> world mm (..., 3).

    Example:
        >>> to_world(np.diag([2.0, 2.0, 3.0, 1.0]), np.array([1, 2, 3])).tolist()
        [2.0, 4.0, 9.0]
    """
    affine = np.asarray(affine, float)
    return np.asarray(index, float) @ affine[:3, :3].T + affine[:3, 3]


def to_index(affine: np.ndarray, world_mm: np.ndarray) -> np.ndarray:
    """World mm (..., 3) -> continuous voxel indices (..., 3).

    Example:
        >>> to_index(np.diag([2.0, 2.0, 3.0, 1.0]), np.array([2.0, 4.0, 9.0])).tolist()
        [1.0, 2.0, 3.0]
    """
    return to_world(np.linalg.inv(np.asarray(affine, float)), world_mm)


def corner_distance_mm(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """Largest distance, over the eight corner voxels of a grid of `shape`, between the two affines' world positions.

    Example:
        >>> moved = np.eye(4)
        >>> moved[0, 3] = 1.5
        >>> corner_distance_mm((10, 10, 10), np.eye(4), moved)
        1.5
    """
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    return float(np.linalg.norm(to_world(affine, corners) - to_world(other, corners), axis=1).max())


def reorient(array: np.ndarray, affine: np.ndarray, codes: str = "RAS") -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip array axes to the given codes; world positions stay. Returns a view and its affine.

    Example:
        >>> turned, affine = reorient(np.arange(3).reshape(3, 1, 1), np.diag([-1.0, 1.0, 1.0, 1.0]))
        >>> turned.ravel().tolist(), axis_codes(affine)
        ([2, 1, 0], 'RAS')
    """
    transform = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    return (
        nib.orientations.apply_orientation(array, transform),
        affine @ nib.orientations.inv_ornt_aff(transform, array.shape),
    )


def nearest_voxel(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The voxel that holds each point; a point midway between two belongs to the one further left, posterior, inferior.

    The world decides ties, so that the answer does not depend on how the grid is stored (its axes permuted or
    flipped), and all ties fall to the same side, so that labels keep their thickness; rounding half to even does
    neither. "Further left" is judged by the axis's largest component (the first of equal ones).

    Args:
        affine: of the grid, 4x4, RAS mm.
        index: continuous voxel indices (..., 3).

    Returns:
        int64 (..., 3); may lie outside the grid.

    Example:
        >>> nearest_voxel(np.diag([1.0, -1.0, 1.0, 1.0]), np.array([0.5, 0.5, 2.2])).tolist()
        [0, 1, 2]
    """
    axes = np.asarray(affine, float)[:3, :3]
    dominant = np.abs(axes) >= (1 - 1e-6) * np.abs(axes).max(0)
    sign = np.sign(axes[dominant.argmax(0), range(3)])
    return (sign * np.ceil(sign * index - (0.5 + _TIE))).astype(np.int64)


def resample_nearest(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int], target_affine: np.ndarray
) -> np.ndarray:
    """Nearest-neighbour values of a 3-D array on another grid, through world space; 0 outside the array.

    Nearest along the axes of the array; `nearest_voxel` says what becomes of points midway between voxels.

    Args:
        array: 3-D.
        affine: of `array`, 4x4, RAS mm.
        shape, target_affine: the wanted grid.

    Returns:
        Array of `shape` and the type of `array`, first axis fastest in memory.

    Example:
        >>> coarse = np.diag([2.0, 1.0, 1.0, 1.0])
        >>> resample_nearest(np.arange(3).reshape(3, 1, 1), np.eye(4), (2, 1, 1), coarse).ravel().tolist()
        [0, 2]
    """
    to_source = np.linalg.inv(np.asarray(affine, float)) @ np.asarray(target_affine, float)
    out = np.zeros(shape, array.dtype, order="F")
    plane = np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), -1)  # (n0, n1, 2)
    in_plane = plane @ to_source[:3, :2].T + to_source[:3, 3]  # (n0, n1, 3)
    for k in range(shape[2]):  # slice by slice: coordinates of a whole volume would need 24 bytes per voxel
        index = nearest_voxel(affine, in_plane + k * to_source[:3, 2])
        inside = np.all((index >= 0) & (index < array.shape), axis=-1)
        out[..., k][inside] = array[tuple(index[inside].T)]
    return out


def covered_box(
    shape: tuple[int, ...], affine: np.ndarray, target_shape: tuple[int, ...], target_affine: np.ndarray
) -> tuple[slice, slice, slice]:
    """Box of a grid that holds every voxel needed to interpolate on another grid; empty slices where they lie apart.

    Args:
        shape, affine: the grid to be read.
        target_shape, target_affine: the grid to be filled.

    Example:
        >>> coarse = np.diag([2.0, 2.0, 2.0, 1.0])
        >>> all(isinstance(part, slice) for part in covered_box((4, 4, 4), np.eye(4), (8, 8, 8), coarse))
        True
    """
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in target_shape], indexing="ij"), -1).reshape(-1, 3)
    index = to_index(affine, to_world(target_affine, corners))
    low = np.clip(np.floor(index.min(0)).astype(int) - 1, 0, shape)
    high = np.clip(np.ceil(index.max(0)).astype(int) + 2, low, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def resample_linear(
    array: np.ndarray,
    affine: np.ndarray,
    shape: tuple[int, int, int],
    target_affine: np.ndarray,
    *,
    outside: float = 0.0,
) -> np.ndarray:
    """Trilinear values of a 3-D array on another grid, through world space.

    Args:
        array: 3-D; only the part that the grid covers is touched.
        affine: of `array`, 4x4, RAS mm.
        shape, target_affine: the wanted grid.
        outside: value beyond the outer faces of the outermost voxels.

    Returns:
        float32 array of `shape`.

    Example:
        >>> fine = np.diag([0.5, 1.0, 1.0, 1.0])
        >>> resample_linear(np.array([0.0, 10.0]).reshape(2, 1, 1), np.eye(4), (3, 1, 1), fine).ravel().tolist()
        [0.0, 5.0, 10.0]
    """
    to_source = np.linalg.inv(np.asarray(affine, float)) @ np.asarray(target_affine, float)
    box = covered_box(array.shape, affine, shape, target_affine)
    if any(s.start == s.stop for s in box):
        return np.full(shape, outside, np.float32)
    part = np.asarray(array[box], np.float32)
    offset = to_source[:3, 3] - [s.start for s in box]
    out = ndimage.affine_transform(part, to_source[:3, :3], offset, shape, np.float32, order=1, mode="nearest")
    steps = np.ogrid[tuple(slice(n) for n in shape)]
    for axis, n in enumerate(array.shape):
        position = sum(to_source[axis, k] * step for k, step in enumerate(steps)) + to_source[axis, 3]
        out[(position < -0.5) | (position > n - 0.5)] = outside
    return out


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Smallest box that holds every non-zero voxel of a 3-D array, or None where there is none.

    Example:
        >>> mask = np.zeros((5, 5, 5), bool)
        >>> mask[1:3, 2, 4] = True
        >>> bounding_box(mask)
        (slice(1, 3, None), slice(2, 3, None), slice(4, 5, None))
    """
    box = []
    for axis in range(3):
        # One axis at a time, narrowing: the later reductions see only what is left.
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hit.size == 0:
            return None
        found = slice(int(hit[0]), int(hit[-1]) + 1)
        box.append(found)
        mask = mask[tuple(found if a == axis else slice(None) for a in range(3))]
    return tuple(box)
