"""The adversarial term of the loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


@dataclass(frozen=True)
class Adversarial:
    """A second pass over images moved in the direction that hurts most, see `training.adversarial`.

    Attributes:
        kind: "fgsm", "l2" or "vat"; None is no such term.
        epsilon: size of the perturbation, in units of the image that the network receives.
        warmup: share of the epochs, at the start, without the term.
    """

    kind: str | None = None
    epsilon: float = 0.02
    warmup: float = 0.1

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        return {} if self.kind else dict.fromkeys(("epsilon", "warmup"), "there is no adversarial term")

    def first_epoch(self, epochs: int) -> int:
        """The first epoch with the term."""
        return int(self.warmup * epochs)

    def applies(self, epoch: int, epochs: int) -> bool:
        """Whether this epoch has the term."""
        return self.kind is not None and epoch >= self.first_epoch(epochs)

    def step(self, trainer: "nnUNetTrainer", batch: dict[str, Any]) -> dict[str, Any]:
        """A training step with the term."""
        from nnunet_spine.training.adversarial import adversarial_train_step

        return adversarial_train_step(trainer, self.kind, self.epsilon, batch)

    def describe(self, epochs: int) -> str | None:
        """For the log."""
        return self.kind and f"{self.kind}, size {self.epsilon:g}, from epoch {self.first_epoch(epochs)}"
