"""MobileNet backbone with atrous spatial pyramid pooling [Hempe & Heinrich 2021]."""

from nnunet_spine.training.declaration import Declaration, Given, Refusal
from nnunet_spine.training.options import flag
from nnunet_spine.training.settings import Loss, Network, Settings

SOURCE = "Hempe & Heinrich 2021"

TRAINER = Declaration(
    name="MobileASPPTrainer",
    summary="MobileNet + ASPP for whole volumes, loss weighted by class and at changes of label",
    citation="Hempe & Heinrich 2021, public code vertebrae-segmentation-classification",
    parameters="1.28 M; 0.27 M with noaspp",
    description=(
        "A light network that sees the whole volume at once, with weights for rare levels and for changes of label. "
        "Meant for plans of `nnunet-spine plan --whole-volume`. The batch size is that of the plans (the source: 4). "
        "Intensities arrive clipped and normalised by nnU-Net; with `paper` a fixed first layer maps these bounds to "
        "[-1, 1]."
    ),
    settings=Settings(
        network=Network("nnunet_spine.architectures.mobile_aspp.MobileASPPNet", deep_supervision=False),
        loss=Loss("DiceWeightedEdgeNLL"),
    ),
    presets={
        "paper": {
            "network.from_plans.input_ranges": Given(
                "nnunet_spine.training.ct_ranges.ct_ranges", f"{SOURCE}: intensities in [-1, 1]"
            ),
            "loss.name": Given("WeightedEdgeNLL", SOURCE),
            "optimisation.optimiser": Given("Adam", SOURCE),
            "optimisation.rate": Given(1e-3, SOURCE),
            "optimisation.weight_decay": Given(0.0, "our choice: the source names none"),
            "optimisation.schedule": Given("constant", "our choice: the source names none"),
            "optimisation.epochs": Given(30, f"{SOURCE}: 1500 iterations"),
            "optimisation.steps": Given(50, f"{SOURCE}: 1500 iterations"),
            "augmentation.kind": Given("affine", f"{SOURCE}: random affine maps alone"),
        },
    },
    options=(
        flag(
            "noaspp",
            {"network.options.aspp": False},
            "no pyramid pooling: 0.27 M parameters, little context",
        ),
        flag(
            "flips",
            {"augmentation.flips": True},
            "mirror in training along all axes: the source's ablation, harmful to labels",
        ),
        flag(
            "separation",
            {"loss.options.separation_weight": 10.0},
            "weight the gaps between neighbouring vertebrae by 10 exp(-(d1 + d2)² / 50), distances in voxels",
        ),
        flag(
            "checkpointing",
            {"network.options.checkpointing": True},
            "recompute backbone and pyramid in the backward pass: less memory, more time",
        ),
    ),
    lighter=("checkpointing",),
    refuses=(Refusal("network.deep_supervision", "its network has one output"),),
)
