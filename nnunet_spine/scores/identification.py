"""Which vertebrae count as identified, from centres alone."""

from collections.abc import Mapping

import numpy as np

from nnunet_spine.errors import InputError

IDENTIFICATION_RADIUS_MM = 20.0
ROUNDING_MM = 1e-6  # rotated affines put a point that is 20 mm away at 20.000000000000004 mm


def identified_levels(
    reference_mm: Mapping[int, np.ndarray],
    predicted_mm: Mapping[int, np.ndarray],
    *,
    nearest_among: str = "common",
    radius_mm: float = IDENTIFICATION_RADIUS_MM,
) -> set[int]:
    """Levels whose predicted centre lies within the radius, and nearer to no other reference centre than to its own.

    The rule of VerSe's evaluation script (anjany/verse, utils/eval_utilities.py): other reference centres count only if
    their label was predicted too. With `nearest_among="reference"` all reference centres count (Glocker et al. 2012).
    A distance of exactly the radius passes. Unlike the script, a tie passes whatever the order of the labels.

    Args:
        reference_mm, predicted_mm: label -> centre (3,) in mm.
        nearest_among: "common" or "reference".
        radius_mm: largest distance.

    Raises:
        InputError: another `nearest_among`.
    """
    if nearest_among not in ("common", "reference"):
        raise InputError(f"nearest_among '{nearest_among}'; expected 'common' or 'reference'")
    common = reference_mm.keys() & predicted_mm.keys()
    rivals = common if nearest_among == "common" else reference_mm.keys()
    found = set()
    for level in common:
        distances = {rival: np.linalg.norm(predicted_mm[level] - reference_mm[rival]) for rival in rivals}
        limit = min(radius_mm, *distances.values())
        if distances[level] <= limit + ROUNDING_MM:
            found.add(level)
    return found
