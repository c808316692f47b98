"""Walks along the spines of scans with one network, whose batches they share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.traversal.parts import Part
from nnunet_spine.traversal.record import Walk
from nnunet_spine.traversal.rules import Rules
from nnunet_spine.traversal.walker import Walker

Segmenter = Callable[[np.ndarray], "tuple[np.ndarray, np.ndarray | None]"]
"""From patches (b, c + 1, *patch), float32, the image and then the memory (1 where a vertebra was found), to the
probability of the next vertebra (b, *patch) and its completeness (b,) in [0, 1], None where the network tells none."""


@dataclass(frozen=True)
class Scan:
    """A scan to walk along.

    Attributes:
        image: as the network wants it, (c, *spatial), three axes.
        affine: 4 x 4, voxel index -> RAS mm.
        parts: of its spine (`spine_parts`); None searches the whole scan.
    """

    image: np.ndarray
    affine: np.ndarray
    parts: Sequence[Part] | None = None


def walk_spine(
    scan: Scan,
    segment: Segmenter,
    patch_size: Sequence[int],
    rules: Rules = Rules(),  # noqa: B008
    *,
    padding: float = 0.0,
) -> Walk:
    """Find the vertebrae of a scan one after the other.

    Source: Masuzawa et al. 2020, after Lessmann et al. 2019; see `Rules` for what differs.

    >>> image = np.zeros((1, 30, 30, 30), np.float32)
    >>> image[0, 9:21, 9:21, 9:21] = 1  # a cube, and a network that answers with what is bright and not yet found
    >>> scan = Scan(image, np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> walk = walk_spine(scan, lambda patches: (patches[:, 0] * (patches[:, 1] == 0), None), (40, 40, 40))
    >>> len(walk.instances), int(walk.labels.sum()) == 12**3, walk.stopped
    (1, True, '')

    Args:
        scan: image, affine and parts of the spine.
        segment: the network.
        patch_size: of the network, voxels, in the order of the image's axes.
        rules: order, thresholds, limits.
        padding: value of the image outside the scan; 0 is that of nnU-Net's training.

    Returns:
        Empty where there is no spine. A vertebra never takes a voxel of another one.

    Raises:
        InputError: an image or patch without three axes.
    """
    return next(walk_spines([scan], segment, patch_size, rules, padding=padding))


def walk_spines(
    scans: Iterable[Scan],
    segment: Segmenter,
    patch_size: Sequence[int],
    rules: Rules = Rules(),  # noqa: B008
    *,
    padding: float = 0.0,
    batch_size: int = 1,
) -> Iterator[Walk]:
    """`walk_spine` for several scans, of which `batch_size` share each pass of the network.

    >>> empty = Scan(np.zeros((1, 20, 20, 20), np.float32), np.eye(4), parts=())
    >>> [len(walk.instances) for walk in walk_spines([empty, empty], lambda p: (p[:, 0], None), (16, 16, 16))]
    [0, 0]

    Args:
        scans: taken as they are needed, so that they need not be in memory together.
        segment, patch_size, rules, padding: see `walk_spine`.
        batch_size: scans at a time.

    Yields:
        One walk per scan, in their order.
    """
    waiting, active, done, given = iter(enumerate(scans)), {}, {}, 0
    while True:
        while len(active) < batch_size and (following := next(waiting, None)) is not None:
            number, scan = following
            _check(scan, patch_size)
            walker = Walker(scan.image.shape[1:], scan.affine, patch_size, scan.parts, rules)
            active[number] = scan, walker, walker.run(), None
            _advance(active, done, number, None)
        while given in done:
            yield done.pop(given)
            given += 1
        if not active:
            if following is None:
                return
            continue
        numbers = list(active)
        patches = np.stack([_patch(*active[n][:2], active[n][3], patch_size, padding) for n in numbers])
        probability, completeness = segment(patches)
        for i, n in enumerate(numbers):
            _advance(active, done, n, (probability[i], None if completeness is None else float(completeness[i])))


def _advance(active: dict, done: dict, number: int, answer: tuple | None) -> None:
    scan, walker, steps, _ = active[number]
    try:
        active[number] = scan, walker, steps, steps.send(answer)
    except StopIteration as end:
        done[number] = end.value
        del active[number]


def _patch(scan: Scan, walker: Walker, start: np.ndarray, patch_size: Sequence[int], padding: float) -> np.ndarray:
    """Image and memory (c + 1, *patch) from `start` on."""
    out = np.full((len(scan.image) + 1, *patch_size), padding, np.float32)
    out[-1] = 0
    first = np.maximum(start, 0)
    last = np.minimum(start + np.array(patch_size), scan.image.shape[1:])
    if (last > first).all():
        inside = tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))
        here = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        out[(slice(0, -1), *inside)] = scan.image[(slice(None), *here)]
        out[(-1, *inside)] = walker.labels[here] > 0
    return out


def _check(scan: Scan, patch_size: Sequence[int]) -> None:
    if scan.image.ndim != 4 or len(patch_size) != 3:
        raise InputError(
            f"image of shape {scan.image.shape}, patch {tuple(patch_size)}; expected (channels, x, y, z) and (x, y, z)"
        )
