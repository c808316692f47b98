"""Networks from plans: a network of the plans' topology takes all their arguments, one of fixed layout only some."""

import pydoc
from collections.abc import Mapping, Sequence
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunet_spine.errors import InputError


def network_from_plans(
    network_class: str,
    plans_arguments: Mapping[str, Any],
    need_import: Sequence[str],
    options: Mapping[str, Any],
    input_channels: int,
    output_channels: int,
    *,
    initialise: bool = True,
    deep_supervision: bool | None = None,
) -> nn.Module:
    """Build a network as nnU-Net does, without the arguments that are not meant for it.

    A class with an attribute `plans_arguments` (a tuple of names) has a fixed layout: of the plans it takes only those,
    and `deep_supervision` only if it is one of them. Classes without the attribute take everything.

    Args:
        network_class: dotted name.
        plans_arguments: the plans' `arch_kwargs`.
        need_import: those whose values are dotted names.
        options: added to the plans' arguments; they win.
        initialise: apply the network's own initialisation.
        deep_supervision: None passes nothing.

    Raises:
        ValueError: the network does not fit the arguments.
    """
    taken = _plans_arguments(network_class)
    if taken is not None:
        plans_arguments = {name: value for name, value in plans_arguments.items() if name in taken}
        need_import = [name for name in need_import if name in taken]
        deep_supervision = deep_supervision if "deep_supervision" in taken else None
    return get_network_from_plans(
        network_class,
        {**plans_arguments, **options},
        need_import,
        input_channels,
        output_channels,
        allow_init=initialise,
        deep_supervision=deep_supervision,
    )


def has_fixed_layout(network_class: str) -> bool:
    """Whether the class has a layout of its own instead of the plans'."""
    return _plans_arguments(network_class) is not None


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a residual-encoder plan's arguments into a plain network's: one block is two convolutions.

    Raises:
        InputError: the arguments are of neither kind.
    """
    if "n_blocks_per_stage" not in arguments:
        raise InputError(
            "the plans' network has neither n_conv_per_stage nor n_blocks_per_stage, which this trainer's needs",
            "plan with `nnunet-spine plan` or nnUNetv2_plan_experiment",
        )
    arguments = dict(arguments)
    del arguments["n_blocks_per_stage"]
    return {**arguments, "n_conv_per_stage": [2] * arguments["n_stages"]}


def _plans_arguments(network_class: str) -> tuple[str, ...] | None:
    return getattr(pydoc.locate(network_class), "plans_arguments", None)
