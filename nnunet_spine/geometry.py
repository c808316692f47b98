"""Voxel grids in the world: affines, axis codes, reorientation. World is RAS millimetres throughout."""

import nibabel as nib
import numpy as np


def axis_codes(affine: np.ndarray) -> str:
    """Side towards which each array axis grows, e.g. "PIR"."""
    return "".join(nib.aff2axcodes(affine))


def spacing_mm(affine: np.ndarray) -> np.ndarray:
    """Voxel size along each array axis, (3,) mm."""
    return np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(0))


def to_world(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Voxel indices (..., 3), 0-based, integer = voxel centre -> world mm (..., 3)."""
    affine = np.asarray(affine, float)
    return np.asarray(index, float) @ affine[:3, :3].T + affine[:3, 3]


def to_index(affine: np.ndarray, world_mm: np.ndarray) -> np.ndarray:
    """World mm (..., 3) -> continuous voxel indices (..., 3)."""
    return to_world(np.linalg.inv(np.asarray(affine, float)), world_mm)


def corner_distance_mm(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """Largest distance, over the eight corner voxels of a grid of `shape`, between the two affines' world positions."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    return float(np.linalg.norm(to_world(affine, corners) - to_world(other, corners), axis=1).max())


def reorient(array: np.ndarray, affine: np.ndarray, codes: str = "RAS") -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip array axes to the given codes; world positions stay. Returns a view and its affine."""
    transform = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    return (
        nib.orientations.apply_orientation(array, transform),
        affine @ nib.orientations.inv_ornt_aff(transform, array.shape),
    )
