"""The base of all trainers: nnU-Net's trainer with its settings as class attributes.

A trainer is a declaration: it sets attributes and writes no constructor (nnU-Net reads the constructor's parameter
names back). Differences from stock nnU-Net that hold for every trainer:

- No mirroring at prediction, nor in training unless a trainer or recipe asks for it. Hempe & Heinrich (2021) report
  45.0 instead of 53.8 % Dice with flips.
- Rotation is limited to `max_rotation_deg`. Stock nnU-Net rotates nearly square 2D patches by up to 180 degrees, which
  turns a spine upside down and so has the effect of a flip.
- Dummy-2D augmentation needs anisotropic spacing, not just a narrow patch: spine patches are narrow by anatomy.
"""

import math
import pydoc
from pathlib import Path
from typing import Any, ClassVar

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import distributed as dist
from torch import nn

from nnunet_spine.errors import InputError
from nnunet_spine.losses import LossContext, loss_options, make_loss
from nnunet_spine.training.adversarial import adversarial_train_step
from nnunet_spine.training.affine import AffineTransform
from nnunet_spine.training.augmentation import Ranges, adjust
from nnunet_spine.training.centred import CentredCases
from nnunet_spine.training.class_weights import class_weights, count_cases
from nnunet_spine.training.networks import network_from_plans
from nnunet_spine.training.recipes import Option
from nnunet_spine.training.schedules import Schedule

OPTIMIZERS = {
    "SGD": lambda parameters, lr, decay: torch.optim.SGD(
        parameters, lr, weight_decay=decay, momentum=0.99, nesterov=True
    ),
    "Adam": lambda parameters, lr, decay: torch.optim.Adam(parameters, lr, weight_decay=decay),
    "AdamW": lambda parameters, lr, decay: torch.optim.AdamW(parameters, lr, weight_decay=decay),
}

# The reader whose arrays are in the order z, y, x with x to the right, whatever the file's.
_RAS_READER = "NibabelIOWithReorient"

# nnU-Net's constructor sets these on the instance; ours puts the class's values back.
_INSTANCE_SETTINGS = (
    "initial_lr",
    "weight_decay",
    "num_epochs",
    "num_iterations_per_epoch",
    "num_val_iterations_per_epoch",
    "save_every",
)


class SpineTrainer(nnUNetTrainer):
    """nnU-Net's own network and loss under this package's training rules: the baseline the other trainers differ from.

    Attributes:
        summary, citation, parameters, recommended: for lists of trainers; `recommended` is a configuration name.
        architecture: dotted name of the network class; None takes the class in the plans.
        architecture_kwargs: added to the plans' constructor arguments.
        loss_name: one of `nnunet_spine.losses.LOSS_NAMES`; None is nnU-Net's Dice + CE (regions: Dice + BCE).
        loss_kwargs: options of that loss.
        optimizer_name, initial_lr, weight_decay, lr_schedule: "SGD" (momentum 0.99), "Adam" or "AdamW"; "poly",
            "constant" or "plateau".
        augmentation: "nnunet", "spatial" (of nnU-Net's only rotation and scaling, and contrast if it has a range),
            "affine" (random affine maps alone) or "none".
        training_flips: mirror along all axes in training; never at prediction.
        max_rotation_deg: limit for rotation in augmentation, per axis.
        scaling_range: factors of scaling in augmentation, for each axis on its own; None is nnU-Net's.
        contrast_range: factors of contrast in augmentation; None is nnU-Net's.
        supports_regions, supports_ignore_label: whether datasets with these can be trained; they are refused otherwise.
        predicts_labels: whether nnUNetv2_predict applies; False where the output is something else than a label map,
            which then has a predictor of its own.
        left_right_flips: mirror left and right in training, if the reader turns scans to RAS; never at prediction.
        centred_sampling_mm: patches lie around the middle of the scan, in training off by up to so much along each
            axis, in validation not; None takes them anywhere, as nnU-Net does.
        adversarial: second term of the loss, "fgsm", "l2" or "vat" (`training.adversarial`), or None.
        adversarial_epsilon: size of the perturbation, in units of the image that the network receives.
        adversarial_warmup: share of the epochs, at the start, without that term.
        presets: named sets of attributes; "nnunet" is the class as it stands and applies when a recipe names none.
        options: options in recipe names beyond those all trainers take.
    """

    summary: ClassVar[str] = "nnU-Net's network from the plans, without flips"
    citation: ClassVar[str] = "Isensee et al., Nature Methods 2021"
    parameters: ClassVar[str] = "as planned"
    recommended: ClassVar[str] = "3d_fullres"

    architecture: ClassVar[str | None] = None
    architecture_kwargs: ClassVar[dict[str, Any]] = {}
    deep_supervision: ClassVar[bool] = True
    loss_name: ClassVar[str | None] = None
    loss_kwargs: ClassVar[dict[str, Any]] = {}
    optimizer_name: ClassVar[str] = "SGD"
    initial_lr = 1e-2
    weight_decay = 3e-5
    lr_schedule: ClassVar[str] = "poly"
    augmentation: ClassVar[str] = "nnunet"
    training_flips: ClassVar[bool] = False
    max_rotation_deg: ClassVar[float] = 30.0
    scaling_range: ClassVar[tuple[float, float] | None] = None
    contrast_range: ClassVar[tuple[float, float] | None] = None
    left_right_flips: ClassVar[bool] = False
    centred_sampling_mm: ClassVar[float | None] = None
    adversarial: ClassVar[str | None] = None
    adversarial_epsilon: ClassVar[float] = 0.02
    adversarial_warmup: ClassVar[float] = 0.1
    num_epochs = 1000
    num_iterations_per_epoch = 250
    num_val_iterations_per_epoch = 50
    save_every = 10
    compile_network: ClassVar[bool] = True
    supports_regions: ClassVar[bool] = True
    supports_ignore_label: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = True

    presets: ClassVar[dict[str, dict[str, Any]]] = {"nnunet": {}}
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in _INSTANCE_SETTINGS:
            setattr(self, name, getattr(type(self), name))
        # A network of two stages has a single output; nnU-Net's weights for one output would be 0/0.
        self.enable_deep_supervision = (
            self.deep_supervision and len(self.configuration_manager.pool_op_kernel_sizes) > 2
        )
        self.class_weights: tuple[float, ...] | None = None
        self._check_labels()

    def _check_labels(self) -> None:
        name = type(self).__name__
        if self.label_manager.has_regions and not self.supports_regions:
            raise NotImplementedError(
                f"{name} cannot train on regions (label values that are lists in dataset.json). "
                "Use a dataset with plain labels, or another trainer"
            )
        if self.label_manager.has_ignore_label and not self.supports_ignore_label:
            raise NotImplementedError(f"{name} cannot train with an ignore label. Remove it, or use another trainer")

    def initialize(self) -> None:
        super().initialize()
        settings = {
            "network": self.architecture or self.configuration_manager.network_arch_class_name,
            "network options": self.architecture_kwargs,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "deep supervision": self.enable_deep_supervision,
            "loss": self._loss_status(),
            "loss options": self.loss_kwargs,
            "optimiser": f"{self.optimizer_name}, {self.initial_lr:g}, {self.lr_schedule}",
            "adversarial term": self._adversarial_status(),
            "augmentation": self.augmentation,
            "mirroring": self._mirroring_status(),
            "torch.compile": self._compile_status(),
        }
        self.print_to_log_file("\n".join(f"{key}: {value}" for key, value in settings.items()), add_timestamp=False)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The trainer's network with the plans' topology, or with its own if the class fixes it (`plans_arguments`).

        A class method, since nnU-Net also calls it on the class at prediction.

        Raises:
            InputError: the plans lack what the network needs.
        """
        network_class = cls.architecture or configuration_manager.network_arch_class_name
        arguments = dict(configuration_manager.network_arch_init_kwargs)
        fixed_layout = hasattr(pydoc.locate(network_class), "plans_arguments")
        if cls.architecture and not fixed_layout and "n_conv_per_stage" not in arguments:
            arguments = _plain_arguments(arguments, cls.__name__)
        network = network_from_plans(
            network_class,
            arguments,
            configuration_manager.network_arch_init_kwargs_req_import,
            cls.network_options(plans_manager),
            num_input_channels,
            num_output_channels,
            deep_supervision=enable_deep_supervision,
        )
        if not enable_deep_supervision:
            # Heads of the coarser levels are there but unused; DDP would wait for their gradients.
            for head in list(getattr(getattr(network, "decoder", None), "seg_layers", ()))[:-1]:
                head.requires_grad_(False)
        # Convolutions on CPUs are fastest on channels-last weights; on GPUs that is left to cuDNN.
        return network if torch.cuda.is_available() else network.to(memory_format=_channels_last(network))

    @classmethod
    def network_options(cls, plans_manager: PlansManager) -> dict[str, Any]:
        """Arguments of the network beyond those it takes from the configuration."""
        return cls.architecture_kwargs

    def _build_loss(self) -> nn.Module:
        if self.loss_name is None:
            return super()._build_loss()
        class_weights = {"class_weights": self.class_weights} if self._loss_uses_class_weights else {}
        context = LossContext(
            self.label_manager.has_regions,
            self.label_manager.ignore_label,
            self.configuration_manager.batch_dice,
            self.is_ddp,
        )
        loss = make_loss(self.loss_name, context, **class_weights, **self.loss_kwargs).to(self.device)
        if not self.enable_deep_supervision:
            return loss
        weights = [0.5**i for i in range(len(self._get_deep_supervision_scales()))]
        # The coarsest output is not used, as in nnU-Net; uncompiled DDP insists on a gradient for every parameter.
        weights[-1] = 1e-6 if self.is_ddp and not self._do_i_compile() else 0.0
        return DeepSupervisionWrapper(loss, [w / sum(weights) for w in weights])

    @property
    def _loss_uses_class_weights(self) -> bool:
        return self.loss_name is not None and "class_weights" in loss_options(self.loss_name)

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        if self._loss_uses_class_weights and self.class_weights is None:
            self._use_class_weights(self._count_class_weights())
        super().on_train_start()

    def _count_class_weights(self) -> tuple[float, ...]:
        """Class weights of the training cases; each process counts its share of them."""
        dataset, _ = super().get_tr_and_val_datasets()  # whole cases
        rank, n_ranks = (dist.get_rank(), dist.get_world_size()) if self.is_ddp else (0, 1)
        counts = [count_cases(dataset, dataset.identifiers[rank::n_ranks], self.label_manager, self.print_to_log_file)]
        if self.is_ddp:
            mine, counts = counts[0], [None] * n_ranks
            dist.all_gather_object(counts, mine)
        return class_weights(sum(counts), self.label_manager)

    def _use_class_weights(self, class_weights: tuple[float, ...]) -> None:
        self.class_weights = class_weights
        self.print_to_log_file("class weights:", [round(weight, 3) for weight in class_weights])
        self.loss = self._build_loss()

    def save_checkpoint(self, filename: str) -> None:
        super().save_checkpoint(filename)
        if self.class_weights is not None and self.local_rank == 0 and not self.disable_checkpointing:
            # nnU-Net's list of entries is fixed, so they are added to the file it wrote.
            checkpoint = torch.load(filename, map_location="cpu", weights_only=False)
            torch.save({**checkpoint, "class_weights": self.class_weights}, f"{filename}.part")
            Path(f"{filename}.part").replace(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        if self._loss_uses_class_weights:
            checkpoint = filename_or_checkpoint
            if isinstance(checkpoint, str):
                checkpoint = torch.load(checkpoint, map_location="cpu", weights_only=False)
            if checkpoint.get("class_weights") is not None:
                self._use_class_weights(checkpoint["class_weights"])

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Schedule]:
        optimizer = OPTIMIZERS[self.optimizer_name](self.network.parameters(), self.initial_lr, self.weight_decay)
        return optimizer, Schedule(
            self.lr_schedule,
            optimizer,
            self.initial_lr,
            self.num_epochs,
            lambda: self.logger.get_value("val_losses", step=None),
        )

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        rotation, dummy_2d, _, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        patch_size, spacing_mm = self.configuration_manager.patch_size, self.configuration_manager.spacing
        dummy_2d = dummy_2d and spacing_mm[0] / min(spacing_mm) > ANISO_THRESHOLD
        mirror_axes = self._mirror_axes(len(patch_size))
        if self.augmentation == "none":
            return (0.0, 0.0), False, patch_size, mirror_axes
        if self.augmentation == "affine":
            # along an axis, three standard deviations of factor and shift together are 0.3
            return (0.0, 0.0), False, [math.ceil(1.3 * n) for n in patch_size], mirror_axes
        limit = min(self.max_rotation_deg * torch.pi / 180, max(rotation))
        rotation = (-limit, limit)
        smallest = 1 / max(self.scaling_range) if self.scaling_range else 0.85  # a factor above 1 shrinks
        initial_patch_size = get_patch_size(patch_size, rotation, rotation, rotation, (smallest, 1.25))
        if dummy_2d:
            initial_patch_size[0] = patch_size[0]
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def _mirror_axes(self, dimension: int) -> tuple[int, ...] | None:
        if self.augmentation == "none":
            return None
        if self.training_flips:
            return tuple(range(dimension))
        order = list(self.plans_manager.transpose_forward)[-dimension:]  # of z, y, x; a slice lacks the first
        if self.left_right_flips and 2 in order and self.plans_manager.plans["image_reader_writer"] == _RAS_READER:
            return (order.index(2),)
        return None

    def get_tr_and_val_datasets(self):
        training, validation = super().get_tr_and_val_datasets()
        if self.centred_sampling_mm is None:
            return training, validation
        spacing_mm, patch_size = self.configuration_manager.spacing, self.configuration_manager.patch_size
        if len(patch_size) < 3:
            raise InputError(
                f"{type(self).__name__} takes patches around the middle of the scan, which a 2d configuration cannot",
                f"train {self.recommended}",
            )
        shape = training.load_case(training.identifiers[0])[0].shape[1:]
        if any(n > 1.5 * p for n, p in zip(shape, patch_size, strict=True)):
            raise InputError(
                f"{type(self).__name__} takes patches of {_sizes(patch_size)} voxels around the middle of each scan, "
                f"and these scans are larger ({_sizes(shape)})",
                "use crops of single vertebrae (nnunet-spine convert vertebra-crops), or the option 'volumes'",
            )
        self.oversample_foreground_percent = 1.0  # see `CentredCases`
        initial_patch_size = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
        return (
            CentredCases(training, initial_patch_size, [self.centred_sampling_mm / mm for mm in spacing_mm]),
            CentredCases(validation, patch_size, [0.0] * len(patch_size)),
        )

    def get_dataloaders(self):
        # On the instance: nnU-Net calls the static method through `self`, and it cannot see the trainer.
        self.get_training_transforms = self._training_transforms
        return super().get_dataloaders()

    def _training_transforms(self, *args, **kwargs) -> BasicTransform:
        of_nnunet = self.augmentation in ("nnunet", "spatial")
        transforms = (self._adjusted_transforms if of_nnunet else self._own_transforms)(*args, **kwargs)
        return ComposeTransforms([*transforms.transforms, *self.last_training_transforms()])

    def last_training_transforms(self) -> list[BasicTransform]:
        """Transforms of training patches, after all others."""
        return []

    def _adjusted_transforms(self, *args, **kwargs) -> BasicTransform:
        transforms = type(self).get_training_transforms(*args, **kwargs)
        return adjust(transforms, Ranges(self.scaling_range, self.contrast_range, self.augmentation == "nnunet"))

    def _own_transforms(
        self,
        patch_size,
        rotation_for_DA,
        deep_supervision_scales,
        mirror_axes,
        do_dummy_2d_data_aug,
        use_mask_for_norm=None,
        is_cascaded=False,
        foreground_labels=None,
        regions=None,
        ignore_label=None,
    ) -> BasicTransform:
        transforms = [AffineTransform(patch_size)] if self.augmentation == "affine" else []
        if mirror_axes is not None:
            transforms.append(MirrorTransform(allowed_axes=mirror_axes))
        rest = self.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )
        return ComposeTransforms([*transforms, rest])

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        if self.enable_deep_supervision:  # else the network was built without, and may have no decoder to tell
            super().set_deep_supervision_enabled(enabled)

    def train_step(self, batch: dict) -> dict:
        if self.adversarial is None or self.current_epoch < self._first_adversarial_epoch():
            return super().train_step(batch)
        return adversarial_train_step(self, self.adversarial, self.adversarial_epsilon, batch)

    def _first_adversarial_epoch(self) -> int:
        return int(self.adversarial_warmup * self.num_epochs)

    def _adversarial_status(self) -> str | None:
        if self.adversarial is None:
            return None
        return f"{self.adversarial}, size {self.adversarial_epsilon:g}, from epoch {self._first_adversarial_epoch()}"

    def _do_i_compile(self) -> bool:
        return self.compile_network and super()._do_i_compile()

    def _loss_status(self) -> str:
        return self.loss_name or f"nnU-Net's Dice + {'BCE' if self.label_manager.has_regions else 'CE'}"

    def _mirroring_status(self) -> str | None:
        axes = self._mirror_axes(len(self.configuration_manager.patch_size))
        return axes and f"in training, axes {', '.join(map(str, axes))}"

    def _compile_status(self) -> str:
        if self._do_i_compile():
            return "on (switch off with nnUNet_compile=0)"
        if not self.compile_network:
            return "off: the trainer switches it off"
        if self.device.type != "cuda":
            return f"off: not used on {self.device.type}"
        return "off: nnUNet_compile is set to false, or the system is Windows"


def _sizes(shape) -> str:
    return " x ".join(str(int(n)) for n in shape)


def _channels_last(network: nn.Module) -> torch.memory_format:
    is_3d = any(parameter.dim() == 5 for parameter in network.parameters())
    return torch.channels_last_3d if is_3d else torch.channels_last


def _plain_arguments(arguments: dict[str, Any], trainer: str) -> dict[str, Any]:
    """Turn a residual-encoder plan's arguments into a plain network's: one block is two convolutions."""
    if "n_blocks_per_stage" not in arguments:
        raise InputError(
            f"the plans' network has neither n_conv_per_stage nor n_blocks_per_stage, which {trainer} needs",
            "plan with `nnunet-spine plan` or nnUNetv2_plan_experiment",
        )
    arguments = dict(arguments)
    del arguments["n_blocks_per_stage"]
    return {**arguments, "n_conv_per_stage": [2] * arguments["n_stages"]}
