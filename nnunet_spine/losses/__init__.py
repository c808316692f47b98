"""Losses as sums of terms, by the name that a trainer recipe uses; importing this package imports no torch.

A term is one module in `terms/`, and being there is what makes it a loss: `terms/focal_tversky.py` holds the class
`FocalTversky`, whose name is a loss, as is `DiceFocalTversky`, the unweighted sum of `Dice` and it.
"""

import ast
import pkgutil
from importlib import import_module
from importlib.util import find_spec
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

    Example:
        >>> terms_of("DiceFocalTversky")
        ('Dice', 'FocalTversky')
    """
    if name not in _TERMS_OF:
        raise ValueError(f"there is no loss '{name}'; there is {', '.join(LOSS_NAMES)}")
    return _TERMS_OF[name]


def loss_options(name: str) -> frozenset[str]:
    """Names of the options that a loss takes.

    Args:
        name: one of `LOSS_NAMES`.

    Raises:
        ValueError: there is no such loss.

    Example:
        >>> sorted(loss_options("Tversky"))
        ['alpha', 'beta', 'smooth']
    """
    return frozenset().union(*map(_term_options, terms_of(name)))


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

    Example:
        >>> import torch
        >>> loss = make_loss("DiceCE")
        >>> float(loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))) > 0
        True
    """
    from nnunet_spine.losses.segmentation import SegmentationLoss  # imports torch

    known = loss_options(name)
    if unknown := options.keys() - known:
        raise ValueError(f"the loss {name} has no option {', '.join(sorted(unknown))}; it has {sorted(known)}")
    made = []
    for term in terms_of(name):
        term_class: type[Term] = getattr(import_module(_dotted(term)), term)
        made.append(term_class(**{option: options[option] for option in _term_options(term) if option in options}))
    return SegmentationLoss(made, context or LossContext())


def _dotted(term: str) -> str:
    return f"{terms.__name__}.{_MODULES[term]}"


def _term_options(name: str) -> tuple[str, ...]:
    """Arguments of a term's constructor, or of its base's, read from the source: an import would import torch."""
    source = find_spec(_dotted(name)).loader.get_source(_dotted(name))
    term = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in term.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return tuple(
                argument.arg for argument in (*node.args.args, *node.args.kwonlyargs) if argument.arg != "self"
            )
    base = term.bases[0].id
    return _term_options(base) if base in _MODULES else ()
