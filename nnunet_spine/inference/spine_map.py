"""Trained attention nets and the scans they are applied to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_networks import build_network, trainer_class
from nnunet_spine.inference.model_reading import read_model
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.spine_map.fusion import MAP_SUFFIX
from nnunet_spine.spine_map.predict import map_in_world, predict_map
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
    path: str | Path, device: torch.device, *, folds: Sequence[str] = (), checkpoint: str | None = None
) -> AttentionModel:
    """Read a model of AttentionTrainer; arguments as `model_reading.read_model`.

    Raises:
        InputError: something is missing, or the model is of another trainer.
    """
    member = read_model(path, folds=folds, checkpoint=checkpoint).only_member()
    trainer = trainer_class(member.trainer, member.path)
    if not issubclass(trainer, SpineMapTrainer):
        raise InputError(f"a model of {member.trainer}", "give one of AttentionTrainer", path)
    plans, configuration = member.managers()
    networks = [build_network(replace(member, folds={fold: w})).to(device).eval() for fold, w in member.folds.items()]
    return AttentionModel(tuple(networks), plans, configuration, member.dataset_json)


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
