"""Optimiser, learning rate and length of the training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from torch.optim import Optimizer

    from nnunet_spine.training.schedules import Schedule

OPTIMISERS = ("SGD", "Adam", "AdamW")


@dataclass(frozen=True)
class Optimisation:
    """How the weights are found.

    Attributes:
        optimiser: "SGD" (momentum 0.99, Nesterov), "Adam" or "AdamW".
        rate: initial learning rate.
        weight_decay: as the optimiser understands it.
        schedule: of the rate, see `training.schedules`: "poly", "constant" or "plateau".
        epochs: number of them.
        steps, validation_steps: in an epoch.
        save_every: epochs between checkpoints.
        batch_size: patches in a step, over all GPUs; None is that of the plans.
        averaging: share that a running average of the weights keeps at each step; validation, checkpoints and
            prediction use the average. None averages nothing.
    """

    optimiser: str = "SGD"
    rate: float = 1e-2
    weight_decay: float = 3e-5
    schedule: str = "poly"
    epochs: int = 1000
    steps: int = 250
    validation_steps: int = 50
    save_every: int = 10
    batch_size: int | None = None
    averaging: float | None = None

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        return {"save_every": "the training ends before"} if self.save_every > self.epochs else {}

    def apply(self, trainer: "nnUNetTrainer") -> None:
        """Set what nnU-Net reads from its trainer; its constructor has set its own values."""
        trainer.initial_lr = self.rate
        trainer.weight_decay = self.weight_decay
        trainer.num_epochs = self.epochs
        trainer.num_iterations_per_epoch = self.steps
        trainer.num_val_iterations_per_epoch = self.validation_steps
        trainer.save_every = self.save_every
        if self.batch_size is not None:
            trainer.configuration_manager.configuration["batch_size"] = self.batch_size

    def build(self, trainer: "nnUNetTrainer") -> tuple["Optimizer", "Schedule"]:
        """Optimiser and schedule for a trainer's network."""
        import torch

        from nnunet_spine.training.schedules import Schedule

        parameters, rate = trainer.network.parameters(), trainer.initial_lr
        if self.optimiser == "SGD":
            optimiser = torch.optim.SGD(
                parameters, rate, weight_decay=trainer.weight_decay, momentum=0.99, nesterov=True
            )
        else:
            optimiser = getattr(torch.optim, self.optimiser)(parameters, rate, weight_decay=trainer.weight_decay)
        return optimiser, Schedule(
            self.schedule,
            optimiser,
            rate,
            trainer.num_epochs,
            lambda: trainer.logger.get_value("val_losses", step=None),
        )
