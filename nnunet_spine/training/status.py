"""What a training is going to do, for the head of its log."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_spine.training.declaration import Declaration
    from nnunet_spine.training.settings import Settings


def status(trainer: "nnUNetTrainer", declaration: "Declaration", settings: "Settings") -> dict[str, Any]:
    """Settings in force, by name; of an initialised trainer."""
    mirrored = settings.augmentation.mirror_axes(trainer.plans_manager, len(trainer.configuration_manager.patch_size))
    nnunet_loss = f"nnU-Net's Dice + {'BCE' if trainer.label_manager.has_regions else 'CE'}"
    return {
        "network": settings.network.architecture or trainer.configuration_manager.network_arch_class_name,
        "network options": dict(settings.network.options),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "deep supervision": trainer.enable_deep_supervision,
        "loss": declaration.own_loss or settings.loss.name or nnunet_loss,
        "loss options": dict(settings.loss.options),
        "optimiser": f"{settings.optimisation.optimiser}, {trainer.initial_lr:g}, {settings.optimisation.schedule}",
        "adversarial term": settings.adversarial.describe(trainer.num_epochs),
        "augmentation": settings.augmentation.kind,
        "mirroring": mirrored and f"in training, axes {', '.join(map(str, mirrored))}",
        "seed": settings.sampling.seed,
        "torch.compile": _compile_status(trainer, settings),
    }


def _compile_status(trainer: "nnUNetTrainer", settings: "Settings") -> str:
    if trainer._do_i_compile():
        return "on (switch off with nnUNet_compile=0)"
    if not settings.network.compile:
        return "off: the trainer switches it off"
    if trainer.device.type != "cuda":
        return f"off: not used on {trainer.device.type}"
    return "off: nnUNet_compile is set to false, or the system is Windows"
