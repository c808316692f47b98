"""First stage of the cascade of Masuzawa et al. 2020: cervical, thoracic and lumbar spine."""

from nnunet_spine.training.declaration import Declaration, Given
from nnunet_spine.training.options import number
from nnunet_spine.training.settings import Loss, Settings

SOURCE = "Masuzawa et al. 2020"
NETWORK = "nnunet_spine.architectures.fcn.FCN"

PUBLISHED_TRAINING = {
    "network.architecture": Given(
        NETWORK, f"{SOURCE}: kinds of layers; two convolutions per level and widths are ours"
    ),
    "network.deep_supervision": Given(False, "our choice: the source names none"),
    "optimisation.optimiser": Given("Adam", SOURCE),
    "optimisation.rate": Given(1e-3, SOURCE),
    "optimisation.weight_decay": Given(0.0, "our choice: the source names none"),
    "optimisation.schedule": Given("constant", "our choice: the source names none"),
    "augmentation.kind": Given("spatial", SOURCE),
    "augmentation.rotation_deg": Given(15.0, SOURCE),
    "augmentation.scaling": Given((0.8, 1.2), SOURCE),
    "augmentation.uniform": Given(True, f"{SOURCE}: uniform scaling"),
    "augmentation.always": Given(True, "our choice: the source gives no probability"),
    "augmentation.noise": Given(50 / 1536, f"{SOURCE}: standard deviation up to 50/1536, on the scale of -1 to 1"),
}
"""What both stages share."""

TRAINER = Declaration(
    name="RegionTrainer",
    summary="cervical, thoracic and lumbar spine, learnt from the hardest voxels: first stage of the cascade",
    citation="Masuzawa et al., MICCAI 2020",
    parameters="as planned; with paper 5.65 M",
    description=(
        "For a dataset of regions (`nnunet-spine convert ... --labels regions`); scans without spine may be among the "
        "cases, and keep the network from finding one everywhere. The cross entropy takes the tenth of each image's "
        "voxels whose label has the lowest probability. The source trains on 1 mm and patches of 160 voxels, clipped "
        "to [-512, 1024] HU (`nnunet-spine plan --spacing 1 --patch 160 160 160 --window -512 1024`); with `paper` a "
        "fixed first layer maps this window to [-1, 1]. What still differs: a third of the patches is drawn around "
        "foreground, as nnU-Net does; batch size, number of steps, convolutions per level and widths, which the "
        "source does not print, are ours."
    ),
    settings=Settings(loss=Loss("DiceBootstrappedCE")),
    presets={
        "paper": {
            **PUBLISHED_TRAINING,
            "network.from_plans.input_ranges": Given(
                "nnunet_spine.training.ct_ranges.window_ranges", f"{SOURCE}: [-512, 1024] HU to [-1, 1]"
            ),
            "loss.name": Given("BootstrappedCE", f"{SOURCE}: not Dice, which may be unstable with several classes"),
        },
    },
    options=(
        number(
            "hardest{}",
            "loss.options.hardest",
            "share of each image's voxels that the cross entropy takes (0p1 unless said)",
            example="0p2",
            above=0,
        ),
    ),
)
