"""Trainer names as recipes: `ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs`.

A recipe is a trainer's name and options, each separated by one underscore (never two: nnU-Net splits folder names at
`__`). nnU-Net stores the name in the checkpoint and asks for it again at prediction, so a recipe is all that is needed
to rebuild the trainer. Reading one imports neither torch nor nnU-Net.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunet_spine.errors import InputError
from nnunet_spine.training.common_options import COMMON_OPTIONS
from nnunet_spine.training.declaration import Declaration
from nnunet_spine.training.options import Option, choice, read_option
from nnunet_spine.training.settings import Settings

PRESET = "preset"


@dataclass(frozen=True)
class Recipe:
    """A trainer with options.

    Attributes:
        name: as it was written.
        trainer: the declaration.
        preset: the one that applies.
        words: each option with the settings that it gives, in the order in which they were written.
        settings: what all this comes to.
    """

    name: str
    trainer: Declaration
    preset: str = "nnunet"
    words: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Settings of the trainer, then of the preset, then of the options."""
        return self.settings_without()

    def settings_without(self, left_out: str | None = None) -> Settings:
        """The settings if one of the words were not there."""
        options = [values for word, values in self.words.items() if word != left_out]
        return self.trainer.settings.changed(self._preset()).changed({k: v for o in options for k, v in o.items()})

    def _preset(self) -> dict[str, Any]:
        return {address: given.value for address, given in self.trainer.presets[self.preset].items()}

    def sets(self) -> dict[str, Any]:
        """What preset and options set, by address; options win."""
        return self._preset() | {k: v for values in self.words.values() for k, v in values.items()}

    def idle(self) -> dict[str, str]:
        """Addresses of settings without effect beside the others, each with the reason."""
        return {**self.settings.idle(), **self.trainer.idle(self.settings)}

    def repetitions(self) -> tuple[str, ...]:
        """Options that say what would hold without them, so that they can be left out."""
        return tuple(word for word in self.words if self.settings_without(word) == self.settings)


def shortest(recipe: Recipe) -> str:
    """A name for the same settings without what it repeats, in the shortest words there are."""
    repeated = recipe.repetitions()
    words = [recipe.preset] if recipe.preset != "nnunet" else []
    options = options_of(recipe.trainer)
    for word, values in recipe.words.items():
        if word not in repeated:
            same = [e for o in options for e in o.examples if e != recipe.preset and o.values(e) == values]
            words.append(min([word, *same], key=len))
    return "_".join([recipe.trainer.name, *words])


def options_of(trainer: Declaration) -> tuple[Option, ...]:
    """All options that a trainer takes."""
    help_ = "nnU-Net's training, or the publication's" if len(trainer.presets) > 1 else "nnU-Net's training"
    return (
        choice(tuple(trainer.presets), PRESET, help_),
        *(option for option in (*COMMON_OPTIONS, *trainer.options) if words_of(option, trainer)),
    )


def words_of(option: Option, trainer: Declaration) -> tuple[str, ...]:
    """The examples of an option that a trainer takes."""
    return tuple(word for word in option.examples if _refusal(option.values(word), trainer) is None)


def parse_recipe(name: str, trainers: Mapping[str, Declaration]) -> Recipe | None:
    """Read a recipe and check it as far as that is possible without data and plans.

    Returns:
        None when the name does not start with one of `trainers`.

    Raises:
        InputError: an option is unknown, out of range, contradicts another, is not for this trainer, or changes
            nothing beside the others.
    """
    base_name, *words = name.split("_")
    if base_name not in trainers:
        return None
    trainer = trainers[base_name]
    given: dict[str, dict[str, Any]] = {}
    for word in words:
        values = _read(word, name, trainer, trainers)
        for other, others_values in given.items():
            if common := values.keys() & others_values.keys():
                raise InputError(
                    f"trainer '{name}': '{other}' and '{word}' both set {' and '.join(sorted(common))}",
                    "keep one of them",
                )
        given[word] = values
    preset = next((v.pop(PRESET) for v in given.values() if PRESET in v), "nnunet")
    recipe = Recipe(name, trainer, preset, {word: values for word, values in given.items() if values})
    _check_effect(recipe)
    for check in trainer.checks:
        if error := check(recipe.settings):
            raise InputError(f"trainer '{name}': {error.found}", error.cure)
    return recipe


def _read(word: str, name: str, trainer: Declaration, trainers: Mapping[str, Declaration]) -> dict[str, Any]:
    presets = choice(tuple(trainer.presets), PRESET, "")
    for option in (presets, *COMMON_OPTIONS, *trainer.options):
        if option.matches(word):
            values = read_option(word, option, name)
            if reason := _refusal(values, trainer):
                raise InputError(
                    f"trainer '{name}': '{word}' is not for {trainer.name}: {reason}", f"leave out '{word}'"
                )
            return values
    raise InputError(f"trainer '{name}': unknown option '{word}'", _suggestion(word, trainer, trainers))


def _suggestion(word: str, trainer: Declaration, trainers: Mapping[str, Declaration]) -> str:
    listed = f"`nnunet-spine trainers {trainer.name}` lists the options"
    of_others = [t.name for t in trainers.values() if word in t.presets or any(o.matches(word) for o in t.options)]
    if of_others:
        return f"it is an option of {', '.join(of_others)}; {listed}"
    known = {s.lower(): s for option in options_of(trainer) for s in option.suggestions(word)}
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.65)
    return f"did you mean '{known[close[0]]}'? {listed}" if close else listed


def _refusal(values: Mapping[str, Any], trainer: Declaration) -> str | None:
    reasons = (trainer.refusal(address, value) for address, value in values.items())
    return next((reason for reason in reasons if reason), None)


def _check_effect(recipe: Recipe) -> None:
    """Refuse an option of whose settings none has an effect beside the others."""
    idle = recipe.idle()
    for word, values in recipe.words.items():
        reasons = [idle.get(address) for address in values]
        if all(reasons):
            raise InputError(f"trainer '{recipe.name}': '{word}' changes nothing: {reasons[0]}", f"leave out '{word}'")
