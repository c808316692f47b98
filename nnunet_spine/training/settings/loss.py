"""The loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
    from torch import nn

    from nnunet_spine.losses import LossContext


@dataclass(frozen=True)
class Loss:
    """A loss of `nnunet_spine.losses`.

    Attributes:
        name: one of `LOSS_NAMES`; None is nnU-Net's Dice + CE (regions: Dice + BCE).
        options: of that loss.
    """

    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        from nnunet_spine.losses import loss_options

        known = loss_options(self.name) if self.name else frozenset()
        reason = f"the loss {self.name or 'of nnU-Net'} has no such weights"
        return {f"options.{option}": reason for option in self.options if option not in known}

    @property
    def uses_class_weights(self) -> bool:
        """Whether the loss weighs classes, by weights that the trainer derives from the cases."""
        from nnunet_spine.losses import loss_options

        return self.name is not None and "class_weights" in loss_options(self.name)

    def last_transforms(self, ignore_label: int | None) -> "list[BasicTransform]":
        """Transforms of training patches, after all others, that make what the loss reads beside the labels.

        Validation goes without, in its loss as well.
        """
        if not self.options.get("separation_weight"):
            return []
        from nnunet_spine.training.separation import SeparationTransform

        return [SeparationTransform(ignore_label)]

    def check(self, context: "LossContext") -> None:
        """Whether the loss can be made.

        Raises:
            InputError: see `build`.
        """
        if self.name is not None:
            self.build(context)

    def build(self, context: "LossContext", **options: Any) -> "nn.Module":
        """The loss of a name.

        Args:
            options: beyond those of the recipe.

        Raises:
            InputError: the loss does not take these options, or not for these labels.
        """
        from nnunet_spine.losses import make_loss

        try:
            return make_loss(self.name, context, **self.options, **options)
        except ValueError as error:
            raise InputError(f"loss {self.name}: {error}", "choose another loss or leave out the option") from error


def deeply_supervised(loss: "nn.Module", n_outputs: int, coarsest: float) -> "nn.Module":
    """The loss over all outputs, each of which weighs half as much as the next finer one, and the coarsest as given."""
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

    weights = [*(0.5**i for i in range(n_outputs - 1)), coarsest]
    return DeepSupervisionWrapper(loss, [w / sum(weights) for w in weights])
