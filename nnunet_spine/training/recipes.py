"""Trainer names as recipes: `ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs`.

A recipe is a trainer's name and options, each separated by one underscore (never two: nnU-Net splits folder names at
`__`). nnU-Net stores the name in the checkpoint and asks for it again at prediction, so a recipe is all that is needed
to rebuild the trainer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_spine.errors import InputError
from nnunet_spine.losses import LOSS_NAMES


@dataclass(frozen=True)
class Option:
    """One kind of option in a recipe.

    Attributes:
        pattern: regular expression that the whole option must match.
        example: how it is written, for messages and lists.
        help: what it does, one line.
        settings: from the pattern's groups to class attributes; a dict value is merged into the attribute.
        group: of several options of one group a recipe may hold only one.
    """

    pattern: str
    example: str
    help: str
    settings: Callable[..., dict[str, Any]]
    group: str


def _named(attribute: str) -> Callable[[str], dict[str, Any]]:
    return lambda name: {attribute: name}


def _positive(attribute: str) -> Callable[[str], dict[str, Any]]:
    return lambda number: {attribute: int(number)}


def _decimal(number: str) -> float:
    """1p5 is 1.5: nnU-Net's folder names and trainer names had better hold no dot."""
    return float(number.replace("p", "."))


BASE_OPTIONS: tuple[Option, ...] = (
    Option(
        f"({'|'.join(LOSS_NAMES)})",
        "|".join(LOSS_NAMES),
        "loss instead of the trainer's own",
        _named("loss_name"),
        "loss",
    ),
    Option(
        r"((?:Dice)?EdgeCE)(\d+(?:p\d+)?)",
        "EdgeCE1p5|DiceEdgeCE2",
        "loss with this weight on the foreground's boundary voxels (p is the decimal point; 1.1 unless said)",
        lambda loss, weight: {"loss_name": loss, "loss_kwargs": {"edge_weight": _decimal(weight)}},
        "loss",
    ),
    Option("(SGD|Adam|AdamW)", "SGD|Adam|AdamW", "optimiser", _named("optimizer_name"), "optimiser"),
    Option(r"lr([1-9]\d*e-?\d+)", "lr1e-3", "initial learning rate", lambda rate: {"initial_lr": float(rate)}, "rate"),
    Option("(poly|constant|plateau)", "poly|constant|plateau", "schedule", _named("lr_schedule"), "schedule"),
    Option(r"([1-9]\d*)epochs", "100epochs", "number of epochs", _positive("num_epochs"), "epochs"),
    Option(
        r"([1-9]\d*)iters", "50iters", "training steps per epoch", _positive("num_iterations_per_epoch"), "iterations"
    ),
    Option(
        r"([1-9]\d*)valiters",
        "5valiters",
        "validation steps per epoch",
        _positive("num_val_iterations_per_epoch"),
        "validation iterations",
    ),
    Option(r"save([1-9]\d*)", "save5", "epochs between checkpoints", _positive("save_every"), "save period"),
    Option("noaug", "noaug", "no augmentation", lambda: {"augmentation": "none"}, "augmentation"),
    Option("nods", "nods", "no deep supervision", lambda: {"deep_supervision": False}, "deep supervision"),
    Option(
        "(adversarial|fgsm|l2|vat)",
        "adversarial|fgsm|l2|vat",
        "adversarial term in the loss: signs of the gradient (adversarial, fgsm), gradient (l2), virtual (vat)",
        lambda kind: {"adversarial": "fgsm" if kind == "adversarial" else kind},
        "adversarial term",
    ),
    Option(
        r"eps(\d+(?:p\d+)?)",
        "eps0p02",
        "size of its perturbation, in units of the network's input",
        lambda size: {"adversarial_epsilon": _decimal(size)},
        "adversarial perturbation",
    ),
    Option("nocompile", "nocompile", "never use torch.compile", lambda: {"compile_network": False}, "compile"),
)
"""Options that every trainer takes; a trainer's own are in its `options`."""


def options_of(trainer: type) -> tuple[Option, ...]:
    """All options a trainer understands."""
    presets = "|".join(trainer.presets)
    help_ = "nnU-Net's training, or the publication's" if len(trainer.presets) > 1 else "nnU-Net's training"
    return (Option(f"({presets})", presets, help_, _named("preset"), "preset"), *BASE_OPTIONS, *trainer.options)


def parse_recipe(name: str, trainers: Mapping[str, type]) -> tuple[type, dict[str, Any]] | None:
    """Split a recipe into its trainer and the class attributes it sets.

    Returns:
        None when the name does not start with one of `trainers`.

    Raises:
        InputError: unknown or contradicting options; the message lists the known ones.
    """
    base_name, *words = name.split("_")
    if base_name not in trainers:
        return None
    trainer = trainers[base_name]
    settings: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for word in words:
        option, match = _find(word, name, trainer)
        if option.group in taken:
            raise InputError(
                f"trainer '{name}': '{taken[option.group]}' and '{word}' both set the {option.group}",
                "keep one of them",
            )
        taken[option.group] = word
        for attribute, value in option.settings(*match.groups()).items():
            settings[attribute] = {**settings.get(attribute, {}), **value} if isinstance(value, dict) else value
    return trainer, settings


def _find(word: str, name: str, trainer: type) -> tuple[Option, re.Match]:
    for option in options_of(trainer):
        if match := re.fullmatch(option.pattern, word):
            return option, match
    known = ", ".join(option.example for option in options_of(trainer))
    raise InputError(f"trainer '{name}': unknown option '{word}'", f"known options of {trainer.__name__}: {known}")


def make_trainer(name: str, trainers: Mapping[str, type], module: str) -> type | None:
    """The class for a recipe, or None when the name does not start with one of `trainers`.

    Args:
        module: dotted name of the module under which the class can be found again, for pickling.

    Raises:
        InputError: unknown or contradicting options.
    """
    parsed = parse_recipe(name, trainers)
    if parsed is None:
        return None
    trainer, settings = parsed
    preset = trainer.presets[settings.pop("preset", "nnunet")]
    attributes = {**preset, **settings}
    for key, value in attributes.items():
        if isinstance(value, dict):
            attributes[key] = {**getattr(trainer, key), **preset.get(key, {}), **settings.get(key, {})}
    summary = {
        "__module__": module,
        "__qualname__": name,
        "__doc__": f"{trainer.__name__} with {settings or 'defaults'}.",
    }
    return type(name, (trainer,), {**attributes, **summary})
