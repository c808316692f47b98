"""The trainers, and any recipe made of them: `nnunet_spine.trainers.ConvLSTMTrainer_skips2_100epochs` is a class.

Each module here declares one trainer as `TRAINER`; being here is what makes a trainer public and tested. Lists and
checks of recipes import neither torch nor nnU-Net: classes are made when one asks for them.
"""

import difflib
import pkgutil
import pydoc
from importlib import import_module
from typing import TYPE_CHECKING

from nnunet_spine.errors import InputError
from nnunet_spine.training.declaration import Declaration
from nnunet_spine.training.recipes import Recipe, parse_recipe

if TYPE_CHECKING:
    from nnunet_spine.training.base import BaseTrainer


def _declared() -> dict[str, Declaration]:
    found = [import_module(f"{__name__}.{module.name}").TRAINER for module in pkgutil.iter_modules(__path__)]
    return {trainer.name: trainer for trainer in sorted(found, key=lambda trainer: trainer.name)}


TRAINERS: dict[str, Declaration] = _declared()
"""Every trainer by name."""

__all__ = ["TRAINERS", "get_recipe", "get_trainer", *TRAINERS]


def get_recipe(name: str) -> Recipe:
    """A trainer's name with or without options, read and checked as far as that is possible without data and plans.

    Raises:
        InputError: no such trainer, or options that are unknown, contradict each other or have no effect.

    Example:
        >>> get_recipe("ConvLSTMTrainer_skips2_100epochs").settings.optimisation.epochs
        100
    """
    recipe = parse_recipe(name, TRAINERS)
    if recipe is None:
        stems = {trainer.removesuffix("Trainer").lower(): trainer for trainer in TRAINERS}
        close = difflib.get_close_matches(name.split("_")[0].removesuffix("Trainer").lower(), stems, n=1)
        hint = f"did you mean {stems[close[0]]}? " if close else ""
        raise InputError(f"no trainer '{name}'", f"{hint}There is {', '.join(TRAINERS)}, each with options")
    return recipe


def get_trainer(name: str) -> "type[BaseTrainer]":
    """The class of a trainer or recipe.

    Raises:
        InputError: see `get_recipe`.

    Example:
        >>> get_trainer("ConvLSTMTrainer_skips2").__name__
        'ConvLSTMTrainer_skips2'
    """
    if name in globals():
        return globals()[name]
    recipe = get_recipe(name)
    declaration = recipe.trainer
    plain = name == declaration.name
    parent = pydoc.locate(declaration.behaviour) if plain else get_trainer(declaration.name)
    trainer = type(
        name,
        (parent,),
        {
            "__module__": __name__,
            "__doc__": f"{declaration.summary}. {declaration.description}".strip(),
            "recipe": recipe,
            "declaration": declaration,
            "settings": recipe.settings,
        },
    )
    globals()[name] = trainer  # so that pickling finds the same object
    return trainer


def __getattr__(name: str) -> "type[BaseTrainer]":
    """Make the class of a trainer or recipe on first use.

    Raises:
        AttributeError: the name is not a trainer's.
        InputError: it is, but with options that cannot be.
    """
    if name.split("_")[0] not in TRAINERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return get_trainer(name)
