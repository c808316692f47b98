"""A large pair of label maps for `benchmarks.evaluation`: 26 phantom vertebrae at their true size."""

import numpy as np

from nnunet_spine.anatomy import BY_NAME, NAMES, lookup_table
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom
from nnunet_spine.scores import surface

SPACING_MM = 0.8
SPINE_MM = 800.0  # taller than C1 to L6


def reference_map(shape: tuple[int, int, int], n_labels: int) -> np.ndarray:
    """Label map (uint8, nnU-Net ids) with the lowest n levels of a spine with T13 and L6, as many as fit.

    600 slices of 0.8 mm do not hold a whole spine: the levels stand in two columns, each half as wide as the volume.
    """
    width = shape[0] // 2
    options = PLAIN | {
        "shape": (width, min(shape[1], 256), int(SPINE_MM / SPACING_MM)),
        "spacing_mm": (SPACING_MM,) * 3,
    }
    spine = draw_phantom(0, PhantomOptions(**options, last_thoracic=13, last_lumbar=6, keep_partial=True))
    labels = lookup_table("verse", "nnunet").astype(np.uint8)[spine.mask]
    out = np.zeros(shape, np.uint8)
    names = NAMES[-n_labels:]
    for column, part in enumerate((names[: (n_labels + 1) // 2], names[(n_labels + 1) // 2 :])):
        here = np.where(np.isin(labels, [BY_NAME[n].nnunet_id for n in part]), labels, 0)
        seen = np.flatnonzero(here.any((0, 1)))
        if len(seen):
            here = here[..., seen[0] : seen[-1] + 1][..., -shape[2] :]
            y, z = (shape[1] - here.shape[1]) // 2, (shape[2] - here.shape[2]) // 2
            out[column * width : (column + 1) * width, y : y + here.shape[1], z : z + here.shape[2]] = here
    return out


def predicted_map(reference: np.ndarray) -> np.ndarray:
    """The reference bent by up to 3 voxels from slice to slice, every third label eroded, one voxel too low."""
    out = np.empty_like(reference)
    for k in range(reference.shape[2]):
        bend = np.rint([2 * np.sin(k / 23), 3 * np.cos(k / 31)]).astype(int)
        out[..., k] = np.roll(reference[..., (k + 1) % reference.shape[2]], bend, (0, 1))
    for label in range(3, 27, 3):
        hit = out == label
        if hit.any():
            out[surface(hit)] = 0
    return out
