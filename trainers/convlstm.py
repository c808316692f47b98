"""ConvLSTM-skip Dense U-Net [Wu et al.; Azad et al. 2019, BCDU-Net]."""

from typing import Any, ClassVar

from nnunet_spine.training.base import SpineTrainer
from nnunet_spine.training.recipes import Option


class ConvLSTMTrainer(SpineTrainer):
    """Encoder features and up-sampled features are fused by a (bidirectional) ConvLSTM instead of a concatenation.

    The `paper` preset trains as the sources do where they say so: Adam 1e-4, learning rate x 0.1 after 7 stagnant
    epochs, 50 epochs, no augmentation (BCDU-Net's public code), and Dice + focal Tversky loss (best in Wu et al.).
    """

    summary = "Dense U-Net whose skips are fused by (Bi-)ConvLSTM, with Tversky-family losses"
    citation = "Wu et al.; Azad et al., BCDU-Net, ICCV Workshops 2019"
    parameters = "as planned; 8.86 M (dense1) and 20.66 M (dense3) at the published topology"
    recommended = "2d"

    architecture = "nnunet_spine.architectures.convlstm_unet.ConvLSTMUNet"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "nnunet": {},
        "paper": {
            "loss_name": "DiceFocalTversky",
            "optimizer_name": "Adam",
            "initial_lr": 1e-4,
            "weight_decay": 0.0,
            "lr_schedule": "plateau",
            "augmentation": "none",
            "num_epochs": 50,
        },
    }
    options = (
        Option(
            r"skips(\d+)",
            "skips2",
            "number of skips fused by ConvLSTM, from the deepest; the others concatenate",
            lambda n: {"architecture_kwargs": {"n_convlstm_skips": int(n)}},
            "number of ConvLSTM skips",
        ),
        Option(
            "(uni|bi)",
            "uni|bi",
            "one cell, last state (public code), or two cells (paper)",
            lambda kind: {"architecture_kwargs": {"convlstm": kind}},
            "kind of cell",
        ),
        Option(
            r"hidden([1-9]\d?|100)",
            "hidden25",
            "hidden channels of a cell in percent of its level's channels (50 unless said): fewer are faster",
            lambda percent: {"architecture_kwargs": {"hidden_fraction": int(percent) / 100}},
            "hidden channels",
        ),
        Option(
            r"dense([1-9]\d*)",
            "dense3",
            "number of densely connected blocks at the bottleneck",
            lambda d: {"architecture_kwargs": {"dense_blocks": int(d)}},
            "dense bottleneck",
        ),
        Option(
            "checkpointing",
            "checkpointing",
            "recompute the cells in the backward pass: less memory, more time",
            lambda: {"architecture_kwargs": {"checkpoint_cells": True}},
            "checkpointing",
        ),
    )
