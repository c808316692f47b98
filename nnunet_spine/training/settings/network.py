"""The network."""

import pydoc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A network, built from plans.

    Attributes:
        architecture: dotted name of the class; None takes the class in the plans.
        options: added to the plans' constructor arguments; they win.
        from_plans: further arguments, each with the dotted name of a function of the plans that gives its value.
        deep_supervision: outputs at coarser levels, too, in training.
        compile: use torch.compile where nnU-Net would.
    """

    architecture: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    from_plans: Mapping[str, str] = field(default_factory=dict)
    deep_supervision: bool = True
    compile: bool = True

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        return {}

    def build(
        self,
        plans: "PlansManager",
        configuration: "ConfigurationManager",
        inputs: int,
        outputs: int,
        *,
        deep_supervision: bool = False,
        initialise: bool = True,
    ) -> "nn.Module":
        """The network with the plans' topology, or with its own if the class fixes it (`plans_arguments`).

        Args:
            inputs, outputs: channels.
            deep_supervision: whether this network, for training, has the outputs at coarser levels.
            initialise: apply the network's own initialisation.

        Raises:
            InputError: the plans lack what the network needs, or the options do not fit them.
        """
        import torch

        from nnunet_spine.training.networks import has_fixed_layout, network_from_plans, plain_arguments

        name = self.architecture or configuration.network_arch_class_name
        arguments = dict(configuration.network_arch_init_kwargs)
        try:
            if self.architecture and not has_fixed_layout(name) and "n_conv_per_stage" not in arguments:
                arguments = plain_arguments(arguments)
            network = network_from_plans(
                name,
                arguments,
                configuration.network_arch_init_kwargs_req_import,
                {**self.options, **{name: pydoc.locate(of)(plans) for name, of in self.from_plans.items()}},
                inputs,
                outputs,
                initialise=initialise,
                deep_supervision=deep_supervision,
            )
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"{name.rpartition('.')[2]} does not fit these plans: {error}", "choose other options, or plan anew"
            ) from error
        if not deep_supervision:
            # Heads of the coarser levels are there but unused; DDP would wait for their gradients.
            for head in list(getattr(getattr(network, "decoder", None), "seg_layers", ()))[:-1]:
                head.requires_grad_(False)
        # Convolutions on CPUs are fastest on channels-last weights; on GPUs that is left to cuDNN.
        return network if torch.cuda.is_available() else network.to(memory_format=_channels_last(network))


def _channels_last(network: "nn.Module") -> Any:
    import torch

    is_3d = any(parameter.dim() == 5 for parameter in network.parameters())
    return torch.channels_last_3d if is_3d else torch.channels_last
