"""The options that recipes of every trainer understand; a trainer's own are in its declaration."""

from nnunet_spine.losses import LOSS_NAMES
from nnunet_spine.training.options import Option, choice, flag, integer, number
from nnunet_spine.training.settings.optimisation import OPTIMISERS

_EDGE_HELP = "loss with this weight on the foreground's boundary voxels (p is the decimal point; 1.1 unless said)"

COMMON_OPTIONS: tuple[Option, ...] = (
    choice(LOSS_NAMES, "loss.name", "loss instead of the trainer's own"),
    *(
        number(f"{loss}{{}}", "loss.options.edge_weight", _EDGE_HELP, example=example, also={"loss.name": loss})
        for loss, example in (("EdgeCE", "1p5"), ("DiceEdgeCE", "2"))
    ),
    choice(OPTIMISERS, "optimisation.optimiser", "optimiser"),
    number("lr{}", "optimisation.rate", "initial learning rate", example="1e-3", above=0),
    choice(("poly", "constant", "plateau"), "optimisation.schedule", "schedule of the learning rate"),
    integer("{}epochs", "optimisation.epochs", "number of epochs", example=100),
    integer("{}iters", "optimisation.steps", "training steps per epoch", example=50),
    integer("{}valiters", "optimisation.validation_steps", "validation steps per epoch", example=5),
    integer("save{}", "optimisation.save_every", "epochs between checkpoints", example=5),
    integer("batch{}", "optimisation.batch_size", "patches per step instead of the plans' number", example=4),
    integer(
        "seed{}",
        "sampling.seed",
        "same initial weights, patches and augmentation each time, on the same machine with the same numbers of worker "
        "processes and GPUs; a GPU's sums still differ in the last digits",
        example=1,
        at_least=0,
        at_most=2**32 - 1,
    ),
    number(
        "ema{}", "optimisation.averaging", "average the weights over time, keeping this share at each step",
        example="0p999", above=0,
    ),
    flag("noaug", {"augmentation.kind": "none"}, "no augmentation"),
    flag("nods", {"network.deep_supervision": False}, "no deep supervision"),
    choice(
        {"adversarial": "fgsm", "fgsm": "fgsm", "l2": "l2", "vat": "vat"},
        "adversarial.kind",
        "adversarial term in the loss: signs of the gradient (adversarial, fgsm), gradient (l2), virtual (vat)",
    ),
    number(
        "eps{}", "adversarial.epsilon", "size of the term's perturbation, in units of the network's input",
        example="0p02",
    ),
    flag("nocompile", {"network.compile": False}, "never use torch.compile"),
)  # fmt: skip
