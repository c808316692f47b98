"""Detected vertebrae: what is known about each, and single keypoints put together to vertebrae."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.anatomy import NAMES
from nnunet_spine.errors import InputError

STATES: tuple[str, ...] = (*NAMES, "S1")
"""What a detection can be, cranio-caudal, besides "not a vertebra"."""
N_STATES = len(STATES)
INDEX = {name: i for i, name in enumerate(STATES)}

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Detection:
    """One detected vertebra; only the position is required.

    Attributes:
        position_mm: body centre, world RAS.
        regions: scores that it is cervical, thoracic, lumbar: probabilities, or independent scores in [0, 1].
        levels: level name -> score in [0, 1], for example the share of its voxels that bear the name; what is not named
            scores 0.
        left_pedicle_mm, right_pedicle_mm: world RAS.
        completeness: share of the vertebra that lies in the field of view; evidence about a cut-off one counts less.
        position_is_estimated: whether nobody saw the body and its centre was derived from the pedicles.
    """

    position_mm: Point
    regions: tuple[float, float, float] | None = None
    levels: "dict[str, float] | None" = None
    left_pedicle_mm: Point | None = None
    right_pedicle_mm: Point | None = None
    completeness: float = 1.0
    position_is_estimated: bool = False


@dataclass(frozen=True)
class Scan:
    """The detections of one scan as arrays, in cranio-caudal order; what is unknown is NaN.

    Attributes:
        position_mm: (n, 3) RAS.
        regions: (n, 3) in [0, 1].
        levels: (n, 27) in [0, 1], over `STATES`.
        left_mm, right_mm: (n, 3) pedicles, RAS.
        completeness: (n,) in [0, 1].
        estimated: (n,) bool.
        order: (n,) index of each row among the detections given.
    """

    position_mm: np.ndarray
    regions: np.ndarray
    levels: np.ndarray
    left_mm: np.ndarray
    right_mm: np.ndarray
    completeness: np.ndarray
    estimated: np.ndarray
    order: np.ndarray

    def __len__(self) -> int:
        return len(self.position_mm)


def as_arrays(detections: Sequence[Detection], *, in_order: bool = False) -> Scan:
    """Detections as arrays, sorted from head to foot.

    Args:
        detections: any number, also none.
        in_order: they are already given from head to foot; else the z coordinate decides.

    Raises:
        InputError: a coordinate or score that is not finite, a score outside [0, 1], an unknown level name.
    """
    n = len(detections)
    position = _points([d.position_mm for d in detections], n)
    if not np.isfinite(position).all():
        raise InputError("a detection without a finite position", "leave it out")
    regions, levels = np.full((n, 3), np.nan), np.full((n, N_STATES), np.nan)
    for i, d in enumerate(detections):
        if d.regions is not None:
            regions[i] = d.regions
        if d.levels is not None:
            unknown = d.levels.keys() - set(STATES)
            if unknown:
                raise InputError(f"level evidence for '{sorted(unknown)[0]}'; expected names among {', '.join(STATES)}")
            levels[i] = [d.levels.get(name, 0.0) for name in STATES]
    completeness = np.array([d.completeness for d in detections], float)
    for name, values in (("regions", regions), ("levels", levels), ("completeness", completeness)):
        if (values < 0).any() or (values > 1).any():
            found = f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}"
            raise InputError(f"{name} from {found}; expected scores in [0, 1]")
    if np.isnan(completeness).any():
        raise InputError("completeness that is not a number", "leave it out where it is unknown")
    order = np.arange(n) if in_order else np.argsort(-position[:, 2], kind="stable")
    return Scan(
        position[order],
        regions[order],
        levels[order],
        _points([d.left_pedicle_mm for d in detections], n)[order],
        _points([d.right_pedicle_mm for d in detections], n)[order],
        completeness[order],
        np.array([d.position_is_estimated for d in detections], bool)[order],
        order,
    )


def _points(points: Sequence["Point | None"], n: int) -> np.ndarray:
    return np.array([(np.nan,) * 3 if p is None else p for p in points], float).reshape(n, 3)
