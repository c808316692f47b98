"""The base of all trainers: nnU-Net's trainer, told by settings.

A trainer is a declaration (`training.declaration`); its class is made from it and writes no constructor (nnU-Net reads
the constructor's parameter names back). Differences from stock nnU-Net that hold for every trainer:

- No mirroring at prediction, nor in training unless a trainer or recipe asks for it. Hempe & Heinrich (2021) report
  45.0 instead of 53.8 % Dice with flips.
- Rotation is limited. Stock nnU-Net rotates nearly square 2D patches by up to 180 degrees, which turns a spine upside
  down and so has the effect of a flip.
- Dummy-2D augmentation needs anisotropic spacing, not just a narrow patch: spine patches are narrow by anatomy.
- A fold that the split does not define is refused; stock nnU-Net trains on a random split instead.
"""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine.errors import InputError
from nnunet_spine.losses import LossContext
from nnunet_spine.training import preconditions
from nnunet_spine.training.averaging import WeightAverage
from nnunet_spine.training.class_weights import weights_of_training_cases
from nnunet_spine.training.declaration import Declaration
from nnunet_spine.training.memory import remark_on
from nnunet_spine.training.recipes import Recipe, shortest
from nnunet_spine.training.settings import Settings
from nnunet_spine.training.settings.loss import deeply_supervised
from nnunet_spine.training.status import status
from nnunet_spine.training.validation import validate_in_shares

ADDED = "added_by_trainer"
OWN_WEIGHTS, UPDATES = "own_weights", "averaged_updates"  # beside the averaged weights, which a checkpoint is for


class BaseTrainer(nnUNetTrainer):
    """nnU-Net's trainer, told by settings; see the module.

    A trainer with a behaviour of its own overrides the hooks: `check`, `input_channels`, `output_channels`,
    `last_transforms`, `case_validation`, `state_to_save` and `restore_state`.

    Attributes:
        recipe: the name of the class, read.
        declaration: what the trainer is.
        settings: what this recipe of it does.
    """

    recipe: ClassVar[Recipe]
    declaration: ClassVar[Declaration]
    settings: ClassVar[Settings] = Settings()

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ):
        preconditions.check_folder_name(type(self).__name__, plans["plans_name"], configuration, shortest(self.recipe))
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.settings.optimisation.apply(self)
        self.settings.sampling.apply(self)
        # A network of two stages has a single output; nnU-Net's weights for one output would be 0/0.
        several_outputs = len(self.configuration_manager.pool_op_kernel_sizes) > 2
        self.enable_deep_supervision = self.settings.network.deep_supervision and several_outputs
        self.class_weights: tuple[float, ...] | None = None
        self.average: WeightAverage | None = None
        self._validating = ExitStack()
        self.check(self.plans_manager, self.configuration_manager, self.label_manager)

    def initialize(self) -> None:
        preconditions.check_data(self)
        self.settings.sampling.seed_all()
        # nnU-Net asks the trainer for its network in training, and the class at prediction
        self.build_network_architecture = type(self).network
        super().initialize()
        if self.settings.optimisation.averaging is not None:
            self.average = WeightAverage(self.network, self.settings.optimisation.averaging)
        lines = (f"{key}: {value}" for key, value in status(self, self.declaration, self.settings).items())
        self.print_to_log_file("\n".join(lines), add_timestamp=False)
        if self.device.type != "cpu" and (remark := remark_on(self, self.recipe)):
            self.print_to_log_file(remark)

    # -- what a trainer with a behaviour of its own may override -------------------------------------------------------

    @classmethod
    def check(cls, plans: PlansManager, configuration: ConfigurationManager, labels: LabelManager) -> None:
        """Whether this trainer can train with these plans and labels; also asked without training.

        Raises:
            InputError, NotImplementedError: it cannot.
        """
        preconditions.check_labels(cls.declaration, cls.__name__, labels)
        cls.settings.sampling.check(configuration.patch_size)
        cls.settings.loss.check(LossContext(labels.has_regions, labels.ignore_label, configuration.batch_dice))

    @classmethod
    def input_channels(cls, image_channels: int) -> int:
        """Input channels of the network for this many of the image (and a previous stage); see `last_transforms`."""
        return image_channels

    @classmethod
    def output_channels(cls, labels: int) -> int:
        """Output channels of the network, for this many labels (with background) or regions."""
        return labels

    def last_transforms(self, *, training: bool) -> list[BasicTransform]:
        """Transforms of patches after all others: they may append channels to the image or make another target."""
        return self.settings.loss.last_transforms(self.label_manager.ignore_label) if training else []

    def case_validation(self) -> Callable[[str], float] | None:
        """Validates one case by its name and returns its score, if that differs from nnU-Net's final validation."""
        return None

    def state_to_save(self) -> dict[str, Any]:
        """What a checkpoint holds of this trainer beyond nnU-Net's entries: plain values and arrays."""
        return {} if self.class_weights is None else {"class_weights": self.class_weights}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Take over what `state_to_save` gave."""
        if "class_weights" in state and self.settings.loss.uses_class_weights:
            self._use_class_weights(state["class_weights"])

    # -- network, loss, optimiser --------------------------------------------------------------------------------------

    @classmethod
    def network(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The trainer's network for these plans.

        Raises:
            InputError: the plans lack what the network needs.
        """
        return cls.settings.network.build(
            plans_manager,
            configuration_manager,
            cls.input_channels(num_input_channels),
            cls.output_channels(num_output_channels),
            deep_supervision=enable_deep_supervision,
        )

    @classmethod
    def build_network_architecture(cls, plans_manager, configuration_manager, *args, **kwargs) -> nn.Module:
        """`network`, for nnU-Net's predictor.

        Raises:
            InputError: the plans lack what the network needs, or the output is no label map.
        """
        if cls.declaration.predictor is not None:
            raise InputError(f"{cls.__name__} predicts no labels", f"use `{cls.declaration.predictor}`")
        return cls.network(plans_manager, configuration_manager, *args, **kwargs)

    def _build_loss(self) -> nn.Module:
        if self.settings.loss.name is None:
            return super()._build_loss()
        context = LossContext(
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            batch_dice=self.configuration_manager.batch_dice,
            ddp=self.is_ddp,
        )
        weights = {"class_weights": self.class_weights} if self.settings.loss.uses_class_weights else {}
        loss = self.settings.loss.build(context, **weights).to(self.device)
        return self._deeply_supervised(loss)

    def _deeply_supervised(self, loss: nn.Module) -> nn.Module:
        """The loss over all outputs; the loss itself where there is one."""
        if not self.enable_deep_supervision:
            return loss
        # The coarsest output is not used, as in nnU-Net; uncompiled DDP insists on a gradient for every parameter.
        coarsest = 1e-6 if self.is_ddp and not self._do_i_compile() else 0.0
        return deeply_supervised(loss, len(self._get_deep_supervision_scales()), coarsest)

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        if self.settings.loss.uses_class_weights and self.class_weights is None:
            self._use_class_weights(self._count_class_weights())
        super().on_train_start()

    def _count_class_weights(self) -> tuple[float, ...]:
        dataset, _ = super().get_tr_and_val_datasets()  # whole cases
        return weights_of_training_cases(dataset, self.label_manager, self.print_to_log_file, ddp=self.is_ddp)

    def _use_class_weights(self, class_weights: tuple[float, ...]) -> None:
        self.class_weights = class_weights
        self.print_to_log_file("class weights:", [round(weight, 3) for weight in class_weights])
        self.loss = self._build_loss()

    def configure_optimizers(self):
        return self.settings.optimisation.build(self)

    def _do_i_compile(self) -> bool:
        return self.settings.network.compile and super()._do_i_compile()

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        if self.enable_deep_supervision:  # else the network was built without, and may have no decoder to tell
            super().set_deep_supervision_enabled(enabled)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint once, under another name until it is whole.

        nnU-Net's list of entries is fixed, but it stores `my_init_kwargs` as it is: what is needed to make the trainer
        again, which is where what a trainer adds belongs.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        added = self.state_to_save()
        with self._averaged():
            if self.average is not None:
                added |= {OWN_WEIGHTS: self.average.own_weights(), UPDATES: self.average.updates}
            self.my_init_kwargs = {**self.my_init_kwargs, ADDED: added}
            super().save_checkpoint(f"{filename}.part")
        Path(f"{filename}.part").replace(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        added = self.my_init_kwargs.get(ADDED, {})
        if self.average is not None and OWN_WEIGHTS in added:
            self.average.resume(self.network, added[OWN_WEIGHTS], added[UPDATES])
        self.restore_state(added)

    def _averaged(self):
        """Inside the block the network has the averaged weights, if weights are averaged."""
        return nullcontext() if self.average is None else self.average.used_by(self.network)

    # -- cases and patches ---------------------------------------------------------------------------------------------

    def do_split(self):
        preconditions.check_fold(self.fold, self.preprocessed_dataset_folder_base)
        return super().do_split()

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        rotation, dummy_2d, _, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        patch_size, spacing_mm = self.configuration_manager.patch_size, self.configuration_manager.spacing
        dummy_2d = dummy_2d and spacing_mm[0] / min(spacing_mm) > ANISO_THRESHOLD
        augmentation = self.settings.augmentation
        plane = augmentation.plane(self.plans_manager, len(patch_size))
        geometry = augmentation.geometry(patch_size, rotation, dummy_2d=dummy_2d, plane=plane)
        return *geometry, augmentation.mirror_axes(self.plans_manager, len(patch_size))

    def get_tr_and_val_datasets(self):
        training, validation = super().get_tr_and_val_datasets()
        if self.settings.sampling.drawn is not None:
            spacing_mm, labels = self.configuration_manager.spacing, self.dataset_json["labels"]
            training = self.settings.sampling.drawn_cases(training, self.plans_manager, spacing_mm, labels)
        if self.settings.sampling.centred_mm is None:
            return training, validation
        self.oversample_foreground_percent = 1.0  # see `CentredCases`
        read_size = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
        configuration = self.configuration_manager
        return self.settings.sampling.centred_cases(
            training, validation, configuration.patch_size, read_size, configuration.spacing
        )

    def get_dataloaders(self):
        # On the instance: nnU-Net calls the static methods through `self`, and they cannot see the trainer.
        self.get_training_transforms = self._training_transforms
        self.get_validation_transforms = self._validation_transforms
        make = super().get_dataloaders
        return self.settings.sampling.loaders(make, self.current_epoch, self.local_rank, self.device)

    def _training_transforms(self, patch_size, rotation, scales, mirror_axes, *args, use_mask_for_norm=None, **kwargs):
        transforms = self.settings.augmentation.transforms(
            patch_size,
            mirror_axes,
            self.settings.augmentation.plane(self.plans_manager, len(patch_size)),
            partial(
                type(self).get_training_transforms, patch_size, rotation, scales, mirror_axes, *args,
                use_mask_for_norm=use_mask_for_norm, **kwargs,
            ),
            partial(type(self).get_validation_transforms, scales, **kwargs),
            self.settings.augmentation.densities(
                self.plans_manager, self.configuration_manager.spacing, self.label_manager.ignore_label
            ),
            self.settings.augmentation.noise_sd(self.plans_manager),
        )  # fmt: skip
        return ComposeTransforms([*transforms, *self.last_transforms(training=True)])

    def _validation_transforms(self, *args, **kwargs) -> BasicTransform:
        transforms = type(self).get_validation_transforms(*args, **kwargs)
        return ComposeTransforms([*transforms.transforms, *self.last_transforms(training=False)])

    # -- training and validation ---------------------------------------------------------------------------------------

    def on_epoch_start(self) -> None:
        self.settings.sampling.seed_all(self.current_epoch, self.local_rank)
        super().on_epoch_start()

    def train_step(self, batch: dict) -> dict:
        adversarial = self.settings.adversarial
        applies = adversarial.applies(self.current_epoch, self.num_epochs)
        outputs = adversarial.step(self, batch) if applies else super().train_step(batch)
        if self.average is not None:
            self.average.update(self.network)
        return outputs

    def on_validation_epoch_start(self) -> None:
        self._validating.enter_context(self._averaged())
        super().on_validation_epoch_start()

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        super().on_validation_epoch_end(val_outputs)
        self._validating.close()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        validate_case = self.case_validation()
        with self._averaged():
            if validate_case is None:
                super().perform_actual_validation(save_probabilities)
                return
            self.set_deep_supervision_enabled(False)
            validate_in_shares(self, validate_case)
            self.set_deep_supervision_enabled(True)
