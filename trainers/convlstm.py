"""ConvLSTM-skip Dense U-Net [Wu et al.; Azad et al. 2019, BCDU-Net]."""

from nnunet_spine.errors import InputError
from nnunet_spine.training.declaration import Declaration, Given
from nnunet_spine.training.options import choice, flag, integer
from nnunet_spine.training.settings import Network, Settings

CODE = "public code of BCDU-Net, lung example"
PUBLISHED = "nnunet_spine.architectures.bcdu_net.BCDUNet"
PUBLISHED_SKIPS = 3


def _skips_of_the_published_network(settings: Settings) -> InputError | None:
    """The published network has three skips, whatever the plans."""
    skips = settings.network.options.get("n_convlstm_skips", 0)
    if settings.network.architecture != PUBLISHED or skips <= PUBLISHED_SKIPS:
        return None
    return InputError(
        f"skips{skips} was asked for, and the published network has {PUBLISHED_SKIPS} skips",
        f"take skips0 to skips{PUBLISHED_SKIPS}, or leave out 'paper'",
    )


def _idle(settings: Settings) -> dict[str, str]:
    """Without ConvLSTM skips there are no cells to be set."""
    if settings.network.options.get("n_convlstm_skips") != 0:
        return {}
    cells = ("convlstm", "hidden_fraction", "checkpoint_cells")
    return {f"network.options.{name}": "skips0 leaves no ConvLSTM cell" for name in cells}


TRAINER = Declaration(
    name="ConvLSTMTrainer",
    summary="Dense U-Net whose skips are fused by (Bi-)ConvLSTM, with Tversky-family losses",
    citation="Wu et al.; Azad et al., BCDU-Net, ICCV Workshops 2019",
    parameters="as planned; with paper 20.66 M, with paper_dense1 8.86 M",
    recommended="2d",
    description=(
        "Encoder features and up-sampled features are fused by a (bidirectional) ConvLSTM instead of a concatenation. "
        "The network has the plans' stages and widths; with `paper` it is the published one, for the 2d configuration."
    ),
    settings=Settings(network=Network("nnunet_spine.architectures.convlstm_unet.ConvLSTMUNet")),
    presets={
        "paper": {
            "network.architecture": Given(
                PUBLISHED,
                "public code of BCDU-Net, which Wu et al. use: 64, 128, 256, 512 filters, three dense blocks, a "
                "ConvLSTM in each of three skips, whatever the plans; it is two-dimensional",
            ),
            "network.deep_supervision": Given(False, "public code of BCDU-Net: one output"),
            "loss.name": Given("DiceFocalTversky", "Wu et al.: the best of their losses; constants of Abraham & Khan"),
            "optimisation.optimiser": Given("Adam", CODE),
            "optimisation.rate": Given(1e-4, CODE),
            "optimisation.weight_decay": Given(0.0, CODE),
            "optimisation.schedule": Given("plateau", f"{CODE}: x 0.1 after 7 stagnant epochs"),
            "optimisation.epochs": Given(50, f"{CODE}; there a pass over the data, here nnU-Net's 250 steps"),
            "optimisation.batch_size": Given(2, CODE),
            "augmentation.kind": Given("none", CODE),
        },
    },
    options=(
        integer(
            "skips{}",
            "network.options.n_convlstm_skips",
            "number of skips fused by ConvLSTM, from the deepest; the others concatenate",
            example=2,
            at_least=0,
            at_most=9,
        ),
        choice(
            ("uni", "bi"),
            "network.options.convlstm",
            "one cell, last state (public code), or two cells (paper)",
        ),
        integer(
            "hidden{}",
            "network.options.hidden_fraction",
            "hidden channels of a cell in percent of its level's channels (50 unless said): fewer are faster",
            example=25,
            at_most=100,
            value=lambda percent: percent / 100,
        ),
        integer(
            "dense{}",
            "network.options.dense_blocks",
            "number of densely connected blocks at the bottleneck",
            example=3,
        ),
        flag(
            "checkpointing",
            {"network.options.checkpoint_cells": True},
            "recompute the cells in the backward pass: less memory, more time",
        ),
    ),
    idle=_idle,
    checks=(_skips_of_the_published_network,),
    lighter=("checkpointing", "skips3", "skips2", "skips1"),
)
