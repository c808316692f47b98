"""Networks and nnU-Net's predictor of trained models."""

import contextlib
import inspect
import io
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import nn

from nnunet_spine.errors import InputError
from nnunet_spine.inference.models import Member, Weights
from nnunet_spine.trainers import TRAINERS, get_trainer
from nnunet_spine.training.base import BaseTrainer


def trainer_class(name: str, path: Path) -> type:
    """The class of a trainer: ours, also where nnU-Net was not told of them, or what nnU-Net finds.

    Raises:
        InputError: nobody has it.
    """
    if name.split("_")[0] in TRAINERS:
        return get_trainer(name)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise InputError(
            f"a model of {name}, a trainer that is not here", "name its folder in nnUNet_extTrainer", path
        ) from error


def build_network(member: Member) -> nn.Module:
    """The network as its trainer builds it for prediction, with the weights of the first fold if there is one.

    Raises:
        InputError: the trainer is missing, or the weights are of another network.
    """
    trainer = trainer_class(member.trainer, member.path)
    build = trainer.network if issubclass(trainer, BaseTrainer) else trainer.build_network_architecture
    if "plans_manager" not in inspect.signature(build).parameters:
        raise InputError(f"{member.trainer} builds its network as nnU-Net did before 2.7", "update it", member.path)
    plans, configuration = member.managers()
    channels = determine_num_input_channels(plans, configuration, member.dataset_json)
    heads = plans.get_label_manager(member.dataset_json).num_segmentation_heads
    network = build(plans, configuration, channels, heads, enable_deep_supervision=False)
    for fold, weights in member.folds.items():
        check_fit(network, weights, f"fold {fold}", member.path)
    if member.folds:
        network.load_state_dict(next(iter(member.folds.values())))
    return network


def check_fit(network: nn.Module, weights: Weights, what: str, path: Path) -> None:
    """Check that weights are those of a network.

    Raises:
        InputError: names or shapes differ.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected == found:
        return
    name = next(name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name))
    shapes = f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}"
    raise InputError(f"weights of {what} are of another network ({shapes})", "use the plans it was trained with", path)


def make_predictor(member: Member, device: torch.device, **options) -> nnUNetPredictor:
    """nnU-Net's predictor of a member, ready to predict; silent.

    Args:
        options: further ones of `nnUNetPredictor`.

    Raises:
        InputError: see `build_network`; or the model predicts no labels.
    """
    plans, configuration = member.managers()
    trainer = trainer_class(member.trainer, member.path)
    if issubclass(trainer, BaseTrainer) and trainer.declaration.predictor is not None:
        cure = f"use `{trainer.declaration.predictor}`"
        raise InputError(f"a model of {member.trainer}, which predicts no labels", cure, member.path)
    network = build_network(member).to(device)
    with contextlib.redirect_stdout(io.StringIO()):  # it remarks on every device that is no GPU
        predictor = nnUNetPredictor(device=device, **options)
    predictor.manual_initialization(
        network,
        plans,
        configuration,
        [dict(weights) for weights in member.folds.values()],
        member.dataset_json,
        member.trainer,
        member.mirroring_axes,
    )
    return predictor
