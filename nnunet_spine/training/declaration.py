"""What a trainer is: a declaration that can be read without importing torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunet_spine.errors import InputError
from nnunet_spine.training.options import Option
from nnunet_spine.training.settings import Settings


@dataclass(frozen=True)
class Given:
    """A value that a preset sets.

    Attributes:
        value: the setting.
        source: where it comes from: paper and section, public code, or our choice and why.
    """

    value: Any
    source: str


@dataclass(frozen=True)
class Refusal:
    """A setting that a trainer does not take from a recipe.

    Attributes:
        address: of the setting, or of a group of them (`loss`).
        reason: why not, as the end of "TRAINER: ...".
        value: only this value; None is every one.
    """

    address: str
    reason: str
    value: Any = None

    def concerns(self, address: str, value: Any) -> bool:
        """Whether it forbids this value at this address."""
        within = address == self.address or address.startswith(f"{self.address}.")
        return within and (self.value is None or self.value == value)


Check = Callable[[Settings], InputError | None]
Idle = Callable[[Settings], Mapping[str, str]]


def nothing_idle(settings: Settings) -> dict[str, str]:
    """Every setting of the trainer's own has an effect."""
    return {}


@dataclass(frozen=True)
class Declaration:
    """A trainer: which network, loss, augmentation, sampling and schedule make a system.

    Attributes:
        name: of the trainer; part of every checkpoint.
        summary, citation, parameters: for lists; one line each.
        recommended: configuration of nnU-Net: "2d" or "3d_fullres".
        description: for whoever reads more than the line: what differs from the source, and from which plans to start.
        settings: of the trainer as it stands.
        presets: named sets of settings, each an address with its value and source; "nnunet", the trainer as it stands,
            applies when a recipe names none.
        options: in recipes, beyond those that all trainers take.
        refuses: settings that recipes cannot change.
        idle: addresses of the trainer's own settings without effect beside the others, each with the reason.
        checks: what must hold for the settings of a recipe; each returns the error, or None.
        lighter: options that save memory, from the least loss; one of them is named where a step does not fit.
        supports_regions, supports_ignore_label: whether data sets with these can be trained; else they are refused.
        own_loss: name of the loss if the trainer makes it itself.
        predictor: command that predicts, where the output is no label map, so that nnUNetv2_predict does not apply.
        behaviour: dotted name of the class whose methods apply, a `BaseTrainer`.
    """

    name: str
    summary: str
    citation: str
    parameters: str
    recommended: str = "3d_fullres"
    description: str = ""
    settings: Settings = field(default_factory=Settings)
    presets: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    refuses: tuple[Refusal, ...] = ()
    idle: Idle = nothing_idle
    checks: tuple[Check, ...] = ()
    lighter: tuple[str, ...] = ()
    supports_regions: bool = True
    supports_ignore_label: bool = True
    own_loss: str | None = None
    predictor: str | None = None
    behaviour: str = "nnunet_spine.training.base.BaseTrainer"

    def __post_init__(self):
        object.__setattr__(self, "presets", {"nnunet": {}, **self.presets})
        for preset in self.presets.values():  # a misspelt address should not wait for somebody to use the preset
            self.settings.changed({address: given.value for address, given in preset.items()})

    @property
    def predicts_labels(self) -> bool:
        """Whether nnUNetv2_predict applies."""
        return self.predictor is None

    def refusal(self, address: str, value: Any) -> str | None:
        """Why a recipe cannot have this value at this address; None if it can."""
        return next((r.reason for r in self.refuses if r.concerns(address, value)), None)
