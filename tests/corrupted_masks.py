"""Ways in which the names and outlines of a vertebra mask go wrong, each with a seed; the truth is the mask itself."""

import numpy as np
from scipy import ndimage

from nnunet_spine import geometry


def _levels(mask):
    return [int(v) for v in np.unique(mask) if v]


def _positions(mask, value, affine):
    index = np.argwhere(mask == value)
    return index, geometry.to_world(affine, index)


def _neighbour(values, k, rng):
    return values[k + 1] if k == 0 or (k + 1 < len(values) and rng.random() < 0.5) else values[k - 1]


def half_renamed(mask, affine, rng, share=0.5):
    """A random half of every other bone carries a neighbour's name."""
    out, values = mask.copy(), _levels(mask)
    for value in values[:: max(1, round(0.5 / share))]:
        index, world = _positions(mask, value, affine)
        direction = rng.normal(size=3)
        along = (world - world.mean(0)) @ direction
        half = index[along > np.median(along)]
        out[tuple(half.T)] = _neighbour(values, values.index(value), rng)
    return out


def posterior_renamed(mask, affine, rng):
    """The posterior half of every third bone carries a neighbour's name."""
    out, values = mask.copy(), _levels(mask)
    for value in values[::3]:
        index, world = _positions(mask, value, affine)
        half = index[world[:, 1] < np.median(world[:, 1]) - 6]
        out[tuple(half.T)] = _neighbour(values, values.index(value), rng)
    return out


def mixed(mask, affine, rng):
    """Blobs of a neighbour's name all through every bone."""
    values = _levels(mask)
    noise = ndimage.gaussian_filter(rng.normal(size=mask.shape), 4.0 / geometry.spacing_mm(affine))
    lookup = np.arange(256).astype(mask.dtype)
    for k, value in enumerate(values):
        lookup[value] = _neighbour(values, k, rng)
    return np.where((mask > 0) & (noise > np.quantile(noise, 0.65)), lookup[mask], mask)


def named_twice(mask, affine, rng):
    """One bone has its neighbour's name, so that two bones share it."""
    out, values = mask.copy(), _levels(mask)
    k = int(rng.integers(1, len(values)))
    out[mask == values[k]] = values[k - 1]
    return out


def shifted(mask, affine, rng):
    """All names are one level off."""
    out = mask.copy()
    out[mask > 0] -= np.uint8(1) if mask[mask > 0].min() > 1 else np.uint8(255)
    return out


def missing(mask, affine, rng):
    """One bone in the middle is not there."""
    values = _levels(mask)
    return np.where(mask == values[len(values) // 2], 0, mask).astype(mask.dtype)


def bridges(mask, affine, rng):
    """Up to 200 voxels grow between each two neighbours, with the name of one of them."""
    out = mask.copy()
    for value in _levels(mask):
        near = ndimage.binary_dilation(mask == value, iterations=2) & (mask == 0)
        spots = np.argwhere(near & ndimage.binary_dilation((mask > 0) & (mask != value), iterations=3))
        if len(spots):
            first = spots[int(rng.integers(len(spots)))]
            closest = spots[np.argsort(((spots - first) ** 2).sum(1))[: int(rng.integers(1, 200))]]
            out[tuple(closest.T)] = value
    return out


def holes(mask, affine, rng):
    """A tenth of the voxels, in blobs, is gone."""
    noise = ndimage.gaussian_filter(rng.normal(size=mask.shape), 3.0 / geometry.spacing_mm(affine))
    return np.where(noise > np.quantile(noise[mask > 0], 0.9), 0, mask).astype(mask.dtype)


def islands(mask, affine, rng):
    """Thirty pieces of a few voxels, with any names, anywhere."""
    out, values = mask.copy(), _levels(mask)
    for _ in range(30):
        at = [int(rng.integers(2, n - 2)) for n in mask.shape]
        spot = tuple(slice(a - 1, a + int(rng.integers(1, 3))) for a in at)
        out[spot] = int(rng.choice(values))
    return out


CORRUPTIONS = [half_renamed, posterior_renamed, mixed, named_twice, shifted, missing, bridges, holes, islands]
