"""The trainers, and any recipe made of them: `nnunet_spine.trainers.ConvLSTMTrainer_skips2_100epochs` is a class."""

from nnunet_spine.errors import InputError
from nnunet_spine.training.base import SpineTrainer
from nnunet_spine.training.recipes import make_trainer

from .attention import AttentionTrainer
from .convlstm import ConvLSTMTrainer
from .global_conv import GlobalConvTrainer
from .hybrid_2d3d import Hybrid2D3DTrainer
from .mobile_aspp import MobileASPPTrainer

TRAINERS: dict[str, type[SpineTrainer]] = {
    t.__name__: t
    for t in (SpineTrainer, ConvLSTMTrainer, AttentionTrainer, Hybrid2D3DTrainer, MobileASPPTrainer, GlobalConvTrainer)
}
"""Every trainer by name. Being listed here is what makes a trainer public and tested."""

__all__ = [
    "TRAINERS",
    "AttentionTrainer",
    "ConvLSTMTrainer",
    "GlobalConvTrainer",
    "Hybrid2D3DTrainer",
    "MobileASPPTrainer",
    "SpineTrainer",
    "get_trainer",
]


def get_trainer(name: str) -> type[SpineTrainer]:
    """The class of a trainer or recipe.

    Raises:
        InputError: no such trainer, or unknown or contradicting options.
    """
    try:
        return TRAINERS[name] if name in TRAINERS else __getattr__(name)
    except AttributeError:
        raise InputError(f"no trainer '{name}'", f"there is {', '.join(TRAINERS)}, each with options") from None


def __getattr__(name: str) -> type[SpineTrainer]:
    """Make the class of a recipe on first use; it stays, so that pickling finds the same object.

    Raises:
        AttributeError: the name is not a trainer's.
        InputError: it is, but with unknown options.
    """
    trainer = make_trainer(name, TRAINERS, __name__)
    if trainer is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = trainer
    return trainer
