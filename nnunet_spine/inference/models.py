"""Trained models of nnU-Net as values: the networks with their plans and weights, and who a model is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_cards import NOT_STATED, Card

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network as nnU-Net knows it, in one or several folds.

    Attributes:
        role: its name within the model.
        trainer: name of the trainer class, which builds the network.
        configuration: of the plans.
        mirroring_axes: axes along which nnU-Net mirrors at prediction; None: none.
        plans, dataset_json: what nnU-Net's plans.json and dataset.json say.
        fingerprint: dataset_fingerprint.json; None where the model came without.
        folds: name of a fold -> its weights, sorted by name.
        path: where it was read from, for errors.
    """

    role: str
    trainer: str
    configuration: str
    mirroring_axes: tuple[int, ...] | None
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    fingerprint: dict[str, Any] | None
    folds: Mapping[str, Weights]
    path: Path

    def managers(self) -> tuple[PlansManager, ConfigurationManager]:
        """nnU-Net's views of the plans and of this configuration."""
        plans = PlansManager(self.plans)
        return plans, plans.get_configuration(self.configuration)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model: its members, and who it is.

    Attributes:
        card: None for a folder, which says nothing about itself.
        members: one; several for a cascade.
        path: where it was read from.
        sha256: of all that decides what it predicts, as it is used: the same for a folder, its float32 package and the
            folder that this package is installed to.
    """

    card: Card | None
    members: tuple[Member, ...]
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.card.name if self.card else self.path.resolve().name

    @property
    def identity(self) -> dict[str, Any]:
        """Who it is, for reports: name, path, sha256, licence, training data, members."""
        return {
            "name": self.name,
            "path": str(self.path),
            "sha256": self.sha256,
            "licence": self.card.licence if self.card else NOT_STATED,
            "training_data": self.card.training_data if self.card else NOT_STATED,
            "members": [
                {"role": m.role, "trainer": m.trainer, "configuration": m.configuration, "folds": list(m.folds)}
                for m in self.members
            ],
        }

    def only_member(self) -> Member:
        """The member of a model that is no cascade.

        Raises:
            InputError: it has several.
        """
        if len(self.members) > 1:
            roles = ", ".join(member.role for member in self.members)
            raise InputError(f"a model of several networks ({roles}); expected one", "choose another model", self.path)
        return self.members[0]


def choose_folds(there: Sequence[str], wanted: Sequence[str], path: Path) -> list[str]:
    """The folds to use of those that are there, sorted; see `read_model`.

    Raises:
        InputError: none, or not those.

    Example:
        >>> choose_folds(["1", "0", "all"], [], Path("model"))
        ['0', '1']
    """
    wanted = [str(fold).removeprefix("fold_") for fold in wanted]
    if absent := [fold for fold in wanted if fold not in there]:
        have = f"there is {', '.join(sorted(there))}" if there else "there is none"
        raise InputError(f"no fold {absent[0]}", have, path)
    return sorted(set(wanted or [fold for fold in there if fold != "all"] or there))


def digest(members: Sequence[Member]) -> str:
    """SHA-256 of what decides the predictions of a model; see `Model`."""
    content = [
        {
            "role": m.role,
            "trainer": m.trainer,
            "configuration": m.configuration,
            "mirroring_axes": m.mirroring_axes,
            "plans": {name: value for name, value in m.plans.items() if name != "dataset_name"},
            "dataset_json": m.dataset_json,
            "weights": [weights_digest(weights) for weights in m.folds.values()],
        }
        for m in members
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def weights_digest(weights: Weights) -> str:
    """SHA-256 of names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()
