"""Trained attention nets and the scans they are applied to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.spine_map.fusion import MAP_SUFFIX
from nnunet_spine.spine_map.predict import map_in_world, predict_map
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.sagittal import sagittal_axis
from nnunet_spine.training.spine_map import SpineMapTrainer


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
        if not issubclass(trainer, SpineMapTrainer):
            raise InputError(f"a model of {content['trainer_name']}", "give one of AttentionTrainer", folder)
        configuration = plans.get_configuration(content["init_args"]["configuration"])
        channels = determine_num_input_channels(plans, configuration, dataset_json)
        network = trainer.network(plans, configuration, channels, 1, False)
        network.load_state_dict(content["network_weights"])
        networks.append(network.to(device).eval())
    return AttentionModel(tuple(networks), plans, configuration, dataset_json)


@dataclass(frozen=True)
class MapCase:
    """One case to map.

    Attributes:
        case: its name.
        files: by channel.
        out: folder to write.
    """

    case: str
    files: tuple[str, ...]
    out: Path


def write_map(model: AttentionModel, device: torch.device, job: MapCase) -> None:
    """Preprocess a case, predict its map and write it.

    Raises:
        WriteError: the map cannot be written. nnU-Net's readers raise anything where an image cannot be read.
    """
    target = job.out / f"{job.case}{MAP_SUFFIX}"
    target.unlink(missing_ok=True)  # of an earlier run
    preprocessor = model.configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        list(job.files), None, model.plans, model.configuration, model.dataset_json
    )
    attention = model.predict(torch.from_numpy(data), device)
    write_nifti(target, *map_in_world(attention, data.shape[1:], properties, model.plans.transpose_forward))


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
