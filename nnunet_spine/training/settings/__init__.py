"""What a trainer can be told, as frozen values that know how to apply themselves.

Importing them imports neither torch nor nnU-Net: lists of trainers and checks of recipes read them only. What needs
torch is imported where a value is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from nnunet_spine.training.settings.adversarial import Adversarial
from nnunet_spine.training.settings.augmentation import Augmentation
from nnunet_spine.training.settings.loss import Loss
from nnunet_spine.training.settings.network import Network
from nnunet_spine.training.settings.optimisation import Optimisation
from nnunet_spine.training.settings.sampling import Sampling
from nnunet_spine.training.settings.walking import Walking

__all__ = ["Adversarial", "Augmentation", "Loss", "Network", "Optimisation", "Sampling", "Settings", "Walking"]


@dataclass(frozen=True)
class Settings:
    """All settings of a trainer; an address names one: `optimisation.epochs`, or `network.options.width`."""

    network: Network = field(default_factory=Network)
    loss: Loss = field(default_factory=Loss)
    optimisation: Optimisation = field(default_factory=Optimisation)
    augmentation: Augmentation = field(default_factory=Augmentation)
    sampling: Sampling = field(default_factory=Sampling)
    adversarial: Adversarial = field(default_factory=Adversarial)
    walking: Walking = field(default_factory=Walking)

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """The same settings with other values at these addresses.

        Options of a loss are the options of that loss: another name drops those that are not given anew.

        Raises:
            ValueError: there is no such address.
        """
        settings = self
        if values.get("loss.name", self.loss.name) != self.loss.name:
            settings = replace(self, loss=Loss())
        for address, value in values.items():
            settings = _changed(settings, address.split("."), value, address)
        return settings

    def value(self, address: str) -> Any:
        """What stands at an address; None for an option of the network or the loss that is not set.

        Raises:
            ValueError: there is no such address.
        """
        value: Any = self
        for name in address.split("."):
            if isinstance(value, Mapping):
                value = value.get(name)
            elif is_dataclass(value) and name in {f.name for f in fields(value)}:
                value = getattr(value, name)
            else:
                raise ValueError(f"settings have no '{address}'")
        return value

    def idle(self) -> dict[str, str]:
        """Addresses whose values have no effect beside the others, each with the reason."""
        return {
            f"{part.name}.{name}": reason
            for part in fields(self)
            for name, reason in getattr(self, part.name).idle().items()
        }


def _changed(value: Any, path: list[str], new: Any, address: str) -> Any:
    if not path:
        return new
    name, *rest = path
    if isinstance(value, Mapping):
        return {**value, name: _changed(value.get(name), rest, new, address)}
    if not is_dataclass(value) or name not in {f.name for f in fields(value)}:
        raise ValueError(f"settings have no '{address}'")
    return replace(value, **{name: _changed(getattr(value, name), rest, new, address)})
