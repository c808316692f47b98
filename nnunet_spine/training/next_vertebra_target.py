"""The last transform of a patch: which vertebra is the next one, and which have been found.

It comes after all others, so that the memory is deformed as the image is and escapes changes of intensity.
"""

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch.nn import functional

from nnunet_spine.losses.next_vertebra import COMPLETE, IGNORE, INCOMPLETE
from nnunet_spine.training.next_vertebra_cases import CUT, IGNORED


class NextVertebraTransform(BasicTransform):
    """Chooses the next vertebra of a patch, appends the memory to the image and makes the vertebra the target.

    The memory holds the vertebrae before the chosen one in the order of the walk; in a share of the patches all, and
    the target is empty. A vertebra is complete if it touches neither a face of the patch nor one of the scan.

    Source: Lessmann et al. 2019 and their public code; the share of targets off the middle, and faulty memories, are
    our choice against what the network meets in a walk.

    Args:
        smallest_voxels: a vertebra of which the patch shows less is not chosen.
        empty: share of empty targets.
        centred: share of targets that are nearest to the middle of the patch.
        corruption: share of faulty memories.
    """

    def __init__(self, smallest_voxels: int, empty: float, centred: float, corruption: float):
        super().__init__()
        self.smallest_voxels, self.empty, self.centred, self.corruption = smallest_voxels, empty, centred, corruption

    def apply(self, data_dict: dict, **params) -> dict:
        """Image (c, *spatial) and codes (1, *spatial), or a list of them from fine to coarse, become image with memory
        (c + 1, *spatial) and targets of the same form as the codes."""
        scales = data_dict["segmentation"]
        codes = (scales[0] if isinstance(scales, list) else scales)[0]
        places = _places(codes)
        chosen = self._choose(places)
        last = int(places.max()) if chosen is None else chosen - 1
        memory = (places > 0) & (places <= last)
        if np.random.uniform() < self.corruption:  # noqa: NPY002 - nnU-Net seeds the global state
            memory = faulty(memory, places == (chosen or -1))
        data_dict["image"] = torch.cat([data_dict["image"], memory[None].to(data_dict["image"].dtype)])
        value = INCOMPLETE if chosen is None or is_cut(codes, places == chosen) else COMPLETE
        made = [_target(scale, chosen, value) for scale in (scales if isinstance(scales, list) else [scales])]
        data_dict["segmentation"] = made if isinstance(scales, list) else made[0]
        return data_dict

    def _choose(self, places: torch.Tensor) -> int | None:
        if np.random.uniform() < self.empty:  # noqa: NPY002
            return None
        counts = torch.bincount(places.flatten())
        there = [p for p in range(1, len(counts)) if counts[p] >= self.smallest_voxels]
        if not there:
            return None
        if np.random.uniform() >= self.centred:  # noqa: NPY002
            return there[np.random.randint(len(there))]  # noqa: NPY002
        middle = (np.array(places.shape) - 1) / 2
        return min(there, key=lambda p: float(np.linalg.norm(_box_centre(places == p) - middle)))


def _places(codes: torch.Tensor) -> torch.Tensor:
    """Place in the walk of each voxel, 0 where there is none."""
    codes = codes.long()
    return torch.where((codes <= 0) | (codes == IGNORED), 0, codes % CUT)


def _target(codes: torch.Tensor, chosen: int | None, value: int) -> torch.Tensor:
    ignored = codes == IGNORED
    out = torch.zeros_like(codes)
    if chosen is not None:
        out[_places(codes) == chosen] = value
    out[ignored] = IGNORE
    return out


def is_cut(codes: torch.Tensor, vertebra: torch.Tensor) -> bool:
    """Whether a face of the scan or of the patch cuts a vertebra (*spatial, bool)."""
    if bool((codes[vertebra] > CUT).any()):
        return True
    return any(bool(vertebra.select(axis, i).any()) for axis in range(vertebra.ndim) for i in (0, -1))


def _box_centre(mask: torch.Tensor) -> np.ndarray:
    centre = []
    for axis in range(mask.ndim):
        hit = mask.any(dim=tuple(a for a in range(mask.ndim) if a != axis)).nonzero()
        centre.append((int(hit[0]) + int(hit[-1])) / 2)
    return np.array(centre)


def faulty(memory: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A memory as a walk may leave it: too large, too small, shifted, lacking a piece, or with a piece of the next one.

    Args:
        memory: vertebrae found, (*spatial) bool.
        target: the next one.

    Returns:
        Same shape; the memory itself if it is empty.
    """
    if not memory.any():
        return memory
    kind, voxels = np.random.randint(5), int(np.random.randint(1, 3))  # noqa: NPY002
    if kind == 0:
        return _grown(memory, voxels)
    if kind == 1:
        return ~_grown(~memory, voxels)
    if kind == 2:
        return _shifted(memory, np.random.randint(-3, 4, memory.ndim).tolist())  # noqa: NPY002
    if kind == 3:  # without what lies beyond a plane through a random voxel of it
        index = memory.nonzero()
        point = index[np.random.randint(len(index))]  # noqa: NPY002
        direction = torch.from_numpy(np.random.standard_normal(memory.ndim))  # noqa: NPY002
        beyond = ((index - point).double() @ direction) > 0
        if beyond.float().mean() > 0.5:
            beyond = ~beyond
        out = memory.clone()
        out[tuple(index[beyond].T)] = False
        return out
    return memory | (_grown(memory, 2 * voxels + 2) & target)


def _grown(mask: torch.Tensor, voxels: int) -> torch.Tensor:
    pool = functional.max_pool3d if mask.ndim == 3 else functional.max_pool2d
    return pool(mask[None, None].float(), 2 * voxels + 1, 1, voxels)[0, 0] > 0


def _shifted(mask: torch.Tensor, shift: Sequence[int]) -> torch.Tensor:
    """Moved by whole voxels; nothing comes in at the other side."""
    out = torch.zeros_like(mask)
    to = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, mask.shape, strict=True))
    source = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shift, mask.shape, strict=True))
    out[to] = mask[source]
    return out
