"""Losses as sums of terms, by the name that a trainer recipe uses; importing this package imports no torch.

A term is one module in `terms/`, and being there is what makes it a loss: `terms/focal_tversky.py` holds the class
`FocalTversky`, whose name is a loss, as is `DiceFocalTversky`, the unweighted sum of `Dice` and it.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnunet_spine.losses import terms
from nnunet_spine.losses.context import LossContext

if TYPE_CHECKING:
    from nnunet_spine.losses.segmentation import SegmentationLoss, Term

__all__ = ["LOSS_NAMES", "TERM_NAMES", "LossContext", "loss_options", "make_loss", "terms_of"]


def _class_name(module: str) -> str:
    """`weighted_edge_nll` is `WeightedEdgeNLL`: words of up to three letters are abbreviations."""
    return "".join(word.upper() if len(word) <= 3 else word.title() for word in module.split("_"))


_MODULES = {_class_name(module.name): module.name for module in pkgutil.iter_modules(terms.__path__)}

TERM_NAMES: tuple[str, ...] = tuple(_MODULES)
"""Every term, which is a loss by itself."""

_SUMS = {f"Dice{term}": ("Dice", term) for term in TERM_NAMES if not term.endswith("Dice")}
# The head decides between softmax and sigmoid, so BCE is only another name of CE.
_TERMS_OF = {
    **{term: (term,) for term in TERM_NAMES},
    **_SUMS,
    "BCE": ("CE",),
    "DiceBCE": ("Dice", "CE"),
}

LOSS_NAMES: tuple[str, ...] = tuple(_TERMS_OF)
"""Every loss."""


def terms_of(name: str) -> tuple[str, ...]:
    """Names of the terms that a loss adds up.

    Args:
        name: one of `LOSS_NAMES`.

    Raises:
        ValueError: there is no such loss.
    """
    if name not in _TERMS_OF:
        raise ValueError(f"there is no loss '{name}'; there is {', '.join(LOSS_NAMES)}")
    return _TERMS_OF[name]


def loss_options(name: str) -> frozenset[str]:
    """Names of the options that a loss takes; imports torch.

    Args:
        name: one of `LOSS_NAMES`.

    Raises:
        ValueError: there is no such loss.
    """
    return frozenset().union(*(_term_class(term).option_names() for term in terms_of(name)))


def make_loss(name: str, context: LossContext | None = None, **options: Any) -> "SegmentationLoss":
    """The loss of a name; each option goes to every term that takes it.

    Args:
        name: one of `LOSS_NAMES`.
        context: what the loss needs to know of the training; None is a softmax head and everything else off.
        options: `smooth`, `alpha`, ...: see the terms.

    Returns:
        A module that takes logits and targets, on the CPU until it is moved (class weights are a buffer).

    Raises:
        ValueError: there is no such loss or option, or an option is out of range.
    """
    from nnunet_spine.losses.segmentation import SegmentationLoss  # imports torch

    known = loss_options(name)
    if unknown := options.keys() - known:
        raise ValueError(f"the loss {name} has no option {', '.join(sorted(unknown))}; it has {sorted(known)}")
    classes = [_term_class(term) for term in terms_of(name)]
    made = [
        term(**{option: value for option, value in options.items() if option in term.option_names()})
        for term in classes
    ]
    return SegmentationLoss(made, context or LossContext())


def _term_class(name: str) -> "type[Term]":
    return getattr(import_module(f"{terms.__name__}.{_MODULES[name]}"), name)
