"""Attention maps of whole scans: prediction, position in the world, files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn import functional

from nnunet_spine.architectures.attention_net import cell_size
from nnunet_spine.errors import InputError
from nnunet_spine.files import read_json
from nnunet_spine.training.sagittal import sagittal_axis


@dataclass(frozen=True)
class AttentionModel:
    """A trained attention net: one network per fold, and what is needed to prepare images for it."""

    networks: tuple[nn.Module, ...]
    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]

    def predict(self, image: torch.Tensor, device: torch.device) -> np.ndarray:
        """Mean map of all folds of a preprocessed image (c, *spatial); see `predict_map`."""
        axis, patch_size = sagittal_axis(self.plans), self.configuration.patch_size
        return np.mean([predict_map(network, image, patch_size, axis, device) for network in self.networks], 0)


def load_model(
    folder: str | Path, device: torch.device, *, folds: Sequence[str] = (), checkpoint: str = "checkpoint_final.pth"
) -> AttentionModel:
    """Read a model folder that nnU-Net's training has left.

    Args:
        folder: holds plans.json, dataset.json and fold_*.
        folds: names such as "0" or "all"; empty means those that have the checkpoint, "all" only if it is alone.

    Raises:
        InputError: something is missing, or the model is not of `AttentionTrainer`.
    """
    from nnunet_spine.trainers import AttentionTrainer, get_trainer

    folder = Path(folder)
    plans, dataset_json = PlansManager(read_json(folder / "plans.json")), read_json(folder / "dataset.json")
    if not folds:
        found = sorted(f.parent.name.removeprefix("fold_") for f in folder.glob(f"fold_*/{checkpoint}"))
        folds = [fold for fold in found if fold != "all"] or found
    if not folds:
        raise InputError(f"no fold with {checkpoint}", "train first, or name another one with -chk", folder)
    networks = []
    for fold in folds:
        file = folder / f"fold_{fold}" / checkpoint
        if not file.is_file():
            raise InputError("no such file", "train this fold first", file)
        content = torch.load(file, map_location="cpu", weights_only=False)
        trainer = get_trainer(content["trainer_name"])
        if not issubclass(trainer, AttentionTrainer):
            raise InputError(f"a model of {content['trainer_name']}", "give one of AttentionTrainer", folder)
        configuration = plans.get_configuration(content["init_args"]["configuration"])
        channels = determine_num_input_channels(plans, configuration, dataset_json)
        network = trainer.build_network_architecture(plans, configuration, channels, 1, False)
        network.load_state_dict(content["network_weights"])
        networks.append(network.to(device).eval())
    return AttentionModel(tuple(networks), plans, configuration, dataset_json)


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
    attention: np.ndarray, shape: Sequence[int], properties: Mapping[str, Any], plans: PlansManager
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a map back from the plans' order of axes.

    Args:
        attention: one value per cell of the preprocessed image.
        shape: of the preprocessed image, three axes.
        properties: of the case, as nnU-Net's preprocessing leaves them.

    Returns:
        The map with axes growing to the right, front and top, and its affine (4x4, RAS mm), which names cell centres.
    """
    forward = list(plans.transpose_forward)
    cell = cell_size(sagittal_axis(plans))
    to_voxels = np.eye(4)  # from the map to the reoriented scan, both x, y, z
    for a, (box, old, new) in enumerate(
        zip(
            properties["bbox_used_for_cropping"],
            properties["shape_after_cropping_and_before_resampling"],
            shape,
            strict=True,
        )
    ):
        axis = 2 - forward[a]  # nnU-Net's volumes are z, y, x before the transposition
        step = cell[a] * old / new
        to_voxels[axis, axis] = step
        to_voxels[axis, 3] = box[0] + step / 2 - 0.5  # resampling keeps the outer faces, not the outer centres
    return attention.transpose(np.argsort(forward)).transpose(2, 1, 0), _scan_affine(properties) @ to_voxels


def _scan_affine(properties: Mapping[str, Any]) -> np.ndarray:
    """RAS affine of the scan as the reader turned it, axes x, y, z."""
    if "nibabel_stuff" in properties:
        return np.asarray(properties["nibabel_stuff"]["reoriented_affine"], float)
    stuff = properties["sitk_stuff"]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(stuff["direction"], (3, 3)) * stuff["spacing"]
    affine[:3, 3] = stuff["origin"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # SimpleITK's world is LPS


def cases_in(folder: str | Path, file_ending: str) -> dict[str, list[str]]:
    """Cases of a folder of images named as nnU-Net wants them (case_0000, case_0001, ...): name -> files by channel.

    Raises:
        InputError: no such folder, or no such images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder", "check the path", folder)
    cases: dict[str, list[str]] = {}
    for file in sorted(folder.glob(f"*_[0-9][0-9][0-9][0-9]{file_ending}")):
        if not file.name.startswith("."):
            cases.setdefault(file.name[: -len(file_ending) - 5], []).append(os.fspath(file))
    if not cases:
        raise InputError(f"no images (case_0000{file_ending})", "check the path and the names", folder)
    return cases
