"""A coarse map of where the spine is, from an attention net: windows over a scan, and the map's place in the world."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch import nn
from torch.nn import functional

from nnunet_spine.architectures.attention_net import cell_size
from nnunet_spine.io.preprocessed import affine_of_preprocessed


@torch.inference_mode()
def predict_map(
    network: nn.Module, image: torch.Tensor, patch_size: Sequence[int], slice_axis: int, device: torch.device
) -> np.ndarray:
    """Spine share of every cell of a preprocessed image.

    Within slices the network sees windows of the size it was trained with (its borders are part of what it has learnt),
    half overlapping and weighted as nnU-Net does, along the slice axis everything at once: slices do not see each
    other, and of eight only one is computed.

    Args:
        network: in evaluation mode, on `device`.
        image: (c, *spatial), three axes.
        patch_size: of the training.
        slice_axis: axis that counts the slices.

    Returns:
        float32, one value per cell (`cell_size`); cells at the end may be only partly inside the image.
    """
    cell = cell_size(slice_axis)
    cells = [-(-n // c) for n, c in zip(image.shape[1:], cell, strict=True)]
    window = [-(-n // c) for n, c in zip(patch_size, cell, strict=True)]
    window[slice_axis] = cells[slice_axis]
    grid = [max(n, w) for n, w in zip(cells, window, strict=True)]
    # An image smaller than the window is filled up with zeros, as in training; so are incomplete cells in plane.
    sides = [image.shape[1 + a] if a == slice_axis else grid[a] * cell[a] for a in range(3)]
    weight = compute_gaussian(tuple(window), dtype=torch.float32, device=device)
    total, weights = torch.zeros(grid, device=device), torch.zeros(grid, device=device)
    starts = compute_steps_for_sliding_window(grid, window, 0.5)
    for corner in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3).tolist():
        where = tuple(slice(first, first + w) for first, w in zip(corner, window, strict=True))
        box = [slice(w.start * c, min(w.stop * c, side)) for w, c, side in zip(where, cell, sides, strict=True)]
        part = image[(slice(None), *box)]
        missing = [b.stop - b.start - n for b, n in zip(box, part.shape[1:], strict=True)]
        part = functional.pad(part.float(), [amount for m in reversed(missing) for amount in (0, m)])
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            logits = network(part[None].to(device))
        total[where] += logits[0, 0].float().sigmoid() * weight
        weights[where] += weight
    return (total / weights)[tuple(slice(n) for n in cells)].cpu().numpy()


def map_in_world(
    attention: np.ndarray, shape: Sequence[int], properties: Mapping[str, Any], transpose_forward: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a map back from the plans' order of axes.

    Args:
        attention: one value per cell of the preprocessed image.
        shape: of the preprocessed image, three axes.
        properties: of the case, as nnU-Net's preprocessing leaves them; by a reader that turns scans to RAS.
        transpose_forward: of the plans.

    Returns:
        The map with axes growing to the right, front and top, and its affine (4x4, RAS mm), which names cell centres.
    """
    forward = list(transpose_forward)
    cell = np.array(cell_size(forward.index(2)))  # readers that turn scans to RAS put left-right last
    to_voxels = np.diag([*cell, 1.0])
    to_voxels[:3, 3] = (cell - 1) / 2  # middle of the first cell
    affine = affine_of_preprocessed(properties, shape, forward) @ to_voxels
    order = [forward.index(axis) for axis in (2, 1, 0)]
    return attention.transpose(order), affine[:, [*order, 3]]
