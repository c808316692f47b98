"""MobileNet backbone with atrous spatial pyramid pooling [Hempe & Heinrich 2021]."""

from nnunet_spine.training.declaration import Declaration, Given, Refusal
from nnunet_spine.training.options import flag
from nnunet_spine.training.settings import Loss, Network, Settings

SOURCE = "Hempe & Heinrich 2021"
UNET = "nnunet_spine.architectures.small_unet.SmallUNet"


def _idle(settings: Settings) -> dict[str, str]:
    """The U-Net has nothing of the other network to be set."""
    if settings.network.architecture != UNET:
        return {}
    return dict.fromkeys(
        (f"network.options.{name}" for name in ("backbone", "aspp", "checkpointing")),
        "the U-Net has neither backbone nor pyramid pooling",
    )


TRAINER = Declaration(
    name="MobileASPPTrainer",
    summary="MobileNet + ASPP for whole volumes, loss weighted by class and at changes of label",
    citation="Hempe & Heinrich 2021, public code vertebrae-segmentation-classification",
    parameters="1.28 M; 0.27 M with noaspp, 40.6 M with resnet18, 5.2 M with unet",
    description=(
        "A light network that sees the whole volume at once, with weights for rare levels and for changes of label. "
        "Meant for plans of `nnunet-spine plan --whole-volume`. Intensities arrive clipped and normalised by nnU-Net; "
        "with `paper` a fixed first layer maps these bounds to [-1, 1] and padding to -1, which is air. The source's "
        "1,500 iterations are 30 epochs of 50 steps, so that there are 30 points to follow the progress by. The "
        "source compares with paper_resnet18 and paper_unet."
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
            "network.options.pad_with_lowest": Given(True, f"{SOURCE}: volumes are padded with air"),
            "loss.name": Given("WeightedEdgeNLL", SOURCE),
            "optimisation.optimiser": Given("Adam", SOURCE),
            "optimisation.rate": Given(1e-3, SOURCE),
            "optimisation.weight_decay": Given(0.0, "our choice: the source names none"),
            "optimisation.schedule": Given("constant", "our choice: the source names none"),
            "optimisation.epochs": Given(30, f"{SOURCE}: 1,500 iterations in total, here 30 epochs of 50 steps"),
            "optimisation.steps": Given(50, f"{SOURCE}: 1,500 iterations in total, here 30 epochs of 50 steps"),
            "optimisation.batch_size": Given(4, SOURCE),
            "augmentation.kind": Given("affine", f"{SOURCE}: random affine maps alone"),
        },
    },
    options=(
        flag(
            "resnet18",
            {"network.options.backbone": "resnet18"},
            "ResNet18 instead of the MobileNet: the source's comparison",
        ),
        flag("unet", {"network.architecture": UNET}, "a plain U-Net of 5.2 M parameters: the source's comparison"),
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
    idle=_idle,
    refuses=(Refusal("network.deep_supervision", "its network has one output"),),
)
