"""Segmentation net of Sekuboyina et al. 2017: a U-Net that mixes 2D and 3D convolutions."""

from nnunet_spine.training.declaration import Declaration, Given, Refusal
from nnunet_spine.training.options import flag
from nnunet_spine.training.settings import Network, Settings

SOURCE = "Sekuboyina et al. 2017"

TRAINER = Declaration(
    name="Hybrid2D3DTrainer",
    summary="U-Net over sagittal slices, every other level with 3D convolutions; optional anisotropic diffusion",
    citation="Sekuboyina et al., MSKI at MICCAI 2017",
    parameters="8.64 M",
    description=(
        "A U-Net of five levels over sagittal slices, every other level without a view across slices. It sees "
        "204 x 204 x 20 voxels (in plane, across slices) around each voxel; the source states 184 x 184 x 8, from "
        "unpadded convolutions with even kernels across slices. The source segments the spine as one label at 1 mm and "
        "cleans the result with attention maps (AttentionTrainer, nnunet-spine fuse)."
    ),
    settings=Settings(
        network=Network(
            "nnunet_spine.architectures.hybrid_2d3d.Hybrid2D3D",
            from_plans={"slice_axis": "nnunet_spine.training.sagittal.sagittal_axis"},
            deep_supervision=False,
        )
    ),
    presets={
        "paper": {
            "network.options.diffusion": Given(True, f"{SOURCE}: of the CT; here the network's first layer"),
            "loss.name": Given("SquaredDice", f"{SOURCE}: the Dice loss of V-Net, whose denominator is squared"),
            "optimisation.optimiser": Given("Adam", SOURCE),
            "optimisation.rate": Given(1e-4, f"{SOURCE}: 1e-5; ours for a training from scratch with batch norm"),
            "optimisation.weight_decay": Given(0.0, "our choice: the source names none"),
            "optimisation.schedule": Given("constant", "our choice: the source names none"),
            "augmentation.kind": Given("spatial", SOURCE),
            "augmentation.rotation_deg": Given(2.0, f"{SOURCE}: in the sagittal plane"),
            "augmentation.scaling": Given((0.9, 1.1), f"{SOURCE}: in the sagittal plane"),
            "augmentation.in_plane": Given(True, f"{SOURCE}: in-plane; other rotations tilt thick slices"),
            "augmentation.always": Given(True, "our choice: the source gives no probability"),
            "augmentation.contrast": Given((0.9, 1.1), f"{SOURCE}: slight; the range is our choice"),
        },
    },
    options=(
        flag(
            "diffusion",
            {"network.options.diffusion": True},
            "anisotropic diffusion of the image as the network's first layer",
        ),
    ),
    refuses=(Refusal("network.deep_supervision", "its network has one output"),),
)
