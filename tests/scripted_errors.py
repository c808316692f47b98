"""Errors of a prediction made on purpose, in copies of a label map (nnU-Net ids, third axis cranial)."""

from collections.abc import Mapping

import numpy as np

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.scores import N_IDS, surface


def rename(labels: np.ndarray, names: Mapping[str, str | None]) -> np.ndarray:
    """Other names for some levels, at once; None removes a level; two levels of one name merge."""
    table = np.arange(N_IDS, dtype=np.uint8)
    for old, new in names.items():
        table[BY_NAME[old].nnunet_id] = BY_NAME[new].nnunet_id if new else 0
    return table[labels]


def invent(labels: np.ndarray, name: str, box: tuple[slice, slice, slice]) -> np.ndarray:
    """A level where there is none; the box must be empty."""
    out = labels.copy()
    assert not out[box].any()
    out[box] = BY_NAME[name].nnunet_id
    return out


def split(labels: np.ndarray, name: str, lower: str) -> np.ndarray:
    """The slices of a level below the middle one become another level."""
    out = labels.copy()
    hit = out == BY_NAME[name].nnunet_id
    slices = np.flatnonzero(hit.any((0, 1)))
    hit[..., (slices[0] + slices[-1]) // 2 :] = False
    out[hit] = BY_NAME[lower].nnunet_id
    return out


def erode(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Levels without their surface voxels."""
    out = labels.copy()
    for name in names:
        out[surface(labels == BY_NAME[name].nnunet_id)] = 0
    return out


def translate(labels: np.ndarray, voxels: tuple[int, int, int]) -> np.ndarray:
    """Everything moved; what leaves the volume is lost."""
    out = np.zeros_like(labels)
    pairs = [
        (slice(max(v, 0), n + min(v, 0)), slice(max(-v, 0), n + min(-v, 0)))
        for v, n in zip(voxels, labels.shape, strict=True)
    ]
    out[tuple(to for to, _ in pairs)] = labels[tuple(start for _, start in pairs)]
    return out
