"""Networks from plans: a network of the plans' topology takes all their arguments, one of fixed layout only some."""

import pydoc
from collections.abc import Mapping, Sequence
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn


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
    taken = getattr(pydoc.locate(network_class), "plans_arguments", None)
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
