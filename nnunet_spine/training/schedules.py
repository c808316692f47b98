"""Learning-rate schedules as functions of the epoch and the logged validation losses.

nnU-Net calls `step(epoch)` at the start of each epoch. Nothing is kept between calls, so a resumed training continues
with exactly the learning rate it would have had.
"""

from collections.abc import Callable, Sequence

from torch.optim import Optimizer

PLATEAU_PATIENCE = 7
PLATEAU_FACTOR = 0.1
PLATEAU_MARGIN = 1e-4


def poly(epoch: int, num_epochs: int, losses: Sequence[float] = ()) -> float:
    """(1 - epoch/num_epochs)^0.9, nnU-Net's schedule."""
    return (1 - epoch / num_epochs) ** 0.9


def constant(epoch: int, num_epochs: int, losses: Sequence[float] = ()) -> float:
    """Always 1."""
    return 1.0


def plateau(epoch: int, num_epochs: int, losses: Sequence[float] = ()) -> float:
    """A factor 0.1 each time the validation loss has not improved by 1e-4 for 7 epochs.

    The rule of the public BCDU-Net training code [Azad et al. 2019], which Wu et al. build on.
    """
    factor, best, stagnant = 1.0, float("inf"), 0
    for loss in losses[:epoch]:
        if loss < best - PLATEAU_MARGIN:
            best, stagnant = loss, 0
        else:
            stagnant += 1
        if stagnant == PLATEAU_PATIENCE:
            factor, stagnant = factor * PLATEAU_FACTOR, 0
    return factor


SCHEDULES: dict[str, Callable[[int, int, Sequence[float]], float]] = {
    "poly": poly,
    "constant": constant,
    "plateau": plateau,
}


class Schedule:
    """Sets `initial_lr * schedule(epoch)` on an optimiser; the interface nnU-Net expects of its scheduler.

    Args:
        losses: returns the validation losses of all finished epochs.
    """

    def __init__(
        self, name: str, optimizer: Optimizer, initial_lr: float, num_epochs: int, losses: Callable[[], Sequence[float]]
    ):
        self.function, self.optimizer = SCHEDULES[name], optimizer
        self.initial_lr, self.num_epochs, self.losses = initial_lr, num_epochs, losses

    def step(self, epoch: int) -> None:
        rate = self.initial_lr * self.function(epoch, self.num_epochs, self.losses())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
