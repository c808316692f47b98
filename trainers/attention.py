"""Attention net of Sekuboyina et al. 2017: where in the scan is the spine?"""

from nnunet_spine.training.declaration import Declaration, Given, Refusal
from nnunet_spine.training.options import flag
from nnunet_spine.training.settings import Network, Settings

SOURCE = "Sekuboyina et al. 2017"

TRAINER = Declaration(
    name="AttentionTrainer",
    summary="coarse map of where the spine is, to clean segmentations with (nnunet-spine spine-map, fuse)",
    citation="Sekuboyina et al., MSKI at MICCAI 2017",
    parameters="0.35 M",
    description=(
        "Learns the share of spine in blocks of 8 sagittal slices by 16 x 16 voxels, whatever the labels are. The "
        "result is a coarse map, no segmentation: nnUNetv2_predict cannot be used with it. `nnunet-spine spine-map` "
        "writes the maps, `nnunet-spine fuse` applies them to segmentations. The final validation writes the maps of "
        "the validation cases, and the progress shows the soft Dice of the maps."
    ),
    settings=Settings(
        network=Network(
            "nnunet_spine.architectures.attention_net.AttentionNet",
            from_plans={"slice_axis": "nnunet_spine.training.sagittal.sagittal_axis"},
            deep_supervision=False,
        )
    ),
    presets={
        "paper": {
            "optimisation.optimiser": Given("Adam", SOURCE),
            "optimisation.rate": Given(1e-4, SOURCE),
            "optimisation.weight_decay": Given(0.0, "our choice: the source names none"),
            "optimisation.schedule": Given("constant", "our choice: the source names none"),
            "augmentation.kind": Given("spatial", SOURCE),
            "augmentation.rotation_deg": Given(20.0, f"{SOURCE}: of sagittal slices"),
            "augmentation.scaling": Given((0.6, 1.4), f"{SOURCE}: of sagittal slices, each axis on its own"),
            "augmentation.in_plane": Given(True, f"{SOURCE}: the network sees single sagittal slices"),
            "augmentation.always": Given(True, "our choice: the source gives no probability"),
            "network.options.diffusion": Given(True, f"{SOURCE}: of the CT; here the network's first layer"),
        },
    },
    options=(
        flag(
            "diffusion",
            {"network.options.diffusion": True},
            "anisotropic diffusion of the image as the network's first layer",
        ),
    ),
    refuses=(
        Refusal("loss", "it has its own loss, the squared error of the share of spine"),
        Refusal("network.deep_supervision", "its network has one output"),
        Refusal("adversarial.kind", "virtual adversarial training needs classes; use fgsm or l2", "vat"),
    ),
    supports_regions=False,
    own_loss="squared error of the share of spine",
    predictor="nnunet-spine spine-map",
    behaviour="nnunet_spine.training.spine_map.SpineMapTrainer",
)
