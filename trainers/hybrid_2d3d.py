"""Segmentation net of Sekuboyina et al. 2017: a U-Net that mixes 2D and 3D convolutions."""

from typing import Any, ClassVar

from nnunet_spine.training.recipes import Option
from nnunet_spine.training.sagittal import SagittalTrainer


class Hybrid2D3DTrainer(SagittalTrainer):
    """A U-Net of five levels over sagittal slices, every other level without a view across slices.

    The `paper` preset follows the source: Dice loss, Adam, rotation up to 2 degrees, scaling of each axis by up to
    10 %, slight contrast, and anisotropic diffusion of the CT, here as the network's first layer. The learning rate is
    1e-4 instead of 1e-5, for a training from scratch with batch normalisation. The source cleans the result with
    attention maps (`AttentionTrainer`, `nnunet-spine fuse`).
    """

    summary = "U-Net over sagittal slices, every other level with 3D convolutions; optional anisotropic diffusion"
    citation = "Sekuboyina et al., MSKI at MICCAI 2017"
    parameters = "8.64 M"
    recommended = "3d_fullres"

    architecture = "nnunet_spine.architectures.hybrid_2d3d.Hybrid2D3D"
    deep_supervision = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "nnunet": {},
        "paper": {
            "loss_name": "Dice",
            "optimizer_name": "Adam",
            "initial_lr": 1e-4,
            "weight_decay": 0.0,
            "lr_schedule": "constant",
            "augmentation": "spatial",
            "max_rotation_deg": 2.0,
            "scaling_range": (0.9, 1.1),
            "contrast_range": (0.9, 1.1),
            "architecture_kwargs": {"diffusion": True},
        },
    }
    options = (
        Option(
            "diffusion",
            "diffusion",
            "anisotropic diffusion of the image as the network's first layer",
            lambda: {"architecture_kwargs": {"diffusion": True}},
            "diffusion",
        ),
    )
