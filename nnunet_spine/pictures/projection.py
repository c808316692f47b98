"""Maximum projections: the bones of a slab seen from the front."""

import numpy as np

DEPTH_MM = 10.0  # the slab reaches this far beyond the labels, in front and behind


def slab(labels: list[np.ndarray], depth: int, spacing_mm: float) -> slice:
    """Part of the second axis (antero-posterior in RAS) that holds all labels and a margin; all of it without labels.

    Args:
        labels: label maps on one grid, possibly coarse.
        depth: number of voxels along that axis.
        spacing_mm: voxel size along that axis.
    """
    hit = np.flatnonzero(np.any([array.any(axis=(0, 2)) for array in labels], axis=0)) if labels else np.empty(0, int)
    if not hit.size:
        return slice(0, depth)
    margin = round(DEPTH_MM / spacing_mm)
    return slice(max(0, int(hit[0]) - margin), min(depth, int(hit[-1]) + 1 + margin))


def brightest(image: np.ndarray, where: slice) -> np.ndarray:
    """Largest value along the second axis inside a slab; (x, y, z) -> (x, z)."""
    return image[:, where].max(axis=1)


def frontmost(labels: np.ndarray, where: slice) -> np.ndarray:
    """The label that a viewer in front, at the high end of the second axis, sees; (x, y, z) -> (x, z), 0 for none."""
    part = labels[:, where][:, ::-1]
    first = (part != 0).argmax(axis=1)
    return np.take_along_axis(part, first[:, None], axis=1)[:, 0]
