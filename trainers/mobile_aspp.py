"""MobileNet backbone with atrous spatial pyramid pooling [Hempe & Heinrich 2021]."""

from typing import Any, ClassVar

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine.errors import InputError
from nnunet_spine.losses import loss_options
from nnunet_spine.training.base import SpineTrainer
from nnunet_spine.training.ct_ranges import ct_ranges
from nnunet_spine.training.recipes import Option
from nnunet_spine.training.separation import SeparationTransform


class MobileASPPTrainer(SpineTrainer):
    """A light network that sees the whole volume at once, with weights for rare levels and for changes of label.

    Meant for plans of `nnunet-spine plan --whole-volume`. The `paper` preset follows the source: Adam with 1e-3, 1500
    iterations, random affine maps as the only augmentation, intensities in [-1, 1] and the weighted cross entropy
    alone. The batch size is that of the plans (the source: 4). Intensities arrive clipped and normalised by nnU-Net; a
    fixed first layer maps these bounds to [-1, 1].
    """

    summary = "MobileNet + ASPP for whole volumes, loss weighted by class and at changes of label"
    citation = "Hempe & Heinrich 2021, public code vertebrae-segmentation-classification"
    parameters = "1.28 M; 0.27 M with noaspp"
    recommended = "3d_fullres"

    architecture = "nnunet_spine.architectures.mobile_aspp.MobileASPPNet"
    deep_supervision = False
    loss_name = "DiceWeightedEdgeNLL"
    rescale_intensities: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "nnunet": {},
        "paper": {
            "loss_name": "WeightedEdgeNLL",
            "optimizer_name": "Adam",
            "initial_lr": 1e-3,
            "weight_decay": 0.0,
            "lr_schedule": "constant",
            "augmentation": "affine",
            "num_epochs": 30,
            "num_iterations_per_epoch": 50,
            "rescale_intensities": True,
        },
    }
    options = (
        Option(
            "noaspp",
            "noaspp",
            "no pyramid pooling: 0.27 M parameters, little context",
            lambda: {"architecture_kwargs": {"aspp": False}},
            "pyramid pooling",
        ),
        Option(
            "flips",
            "flips",
            "mirror in training along all axes: the source's ablation, harmful to labels",
            lambda: {"training_flips": True},
            "flips",
        ),
        Option(
            "separation",
            "separation",
            "weight the gaps between neighbouring vertebrae by 10 exp(-(d1 + d2)² / 50), distances in voxels",
            lambda: {"loss_kwargs": {"separation_weight": 10.0}},
            "separation weights",
        ),
        Option(
            "checkpointing",
            "checkpointing",
            "recompute backbone and pyramid in the backward pass: less memory, more time",
            lambda: {"architecture_kwargs": {"checkpointing": True}},
            "checkpointing",
        ),
    )

    def initialize(self) -> None:
        if self._weighs_separation:
            if not (self.loss_name and "separation_weight" in loss_options(self.loss_name)):
                raise InputError(
                    f"{type(self).__name__}: the loss {self.loss_name} has no weights of gaps between vertebrae",
                    "leave out 'separation', or the loss",
                )
            if self.label_manager.has_regions:
                raise InputError(
                    f"{type(self).__name__}: regions are not separate from each other", "leave out 'separation'"
                )
        super().initialize()

    @property
    def _weighs_separation(self) -> bool:
        return self.loss_kwargs.get("separation_weight", 0) > 0

    def last_training_transforms(self) -> list[BasicTransform]:
        """The separation map if the loss uses it; validation goes without, in its loss as well."""
        return [SeparationTransform(self.label_manager.ignore_label)] if self._weighs_separation else []

    @classmethod
    def network_options(cls, plans_manager: PlansManager) -> dict[str, Any]:
        options = super().network_options(plans_manager)
        return {**options, "input_ranges": ct_ranges(plans_manager)} if cls.rescale_intensities else options
