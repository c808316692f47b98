"""Whether a trainer can train with given plans, without training."""

from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError
from nnunet_spine.training.memory import memory_remark
from nnunet_spine.training.preconditions import check_folder_name
from nnunet_spine.training.recipes import shortest

if TYPE_CHECKING:
    from nnunet_spine.training.base import BaseTrainer


def check_with_plans(
    trainer: "type[BaseTrainer]", plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> str | None:
    """Do what the trainer does before its first step that can fail for these plans.

    Args:
        plans, dataset_json: as in their files.
        configuration: name.

    Returns:
        What to know about the memory, see `memory_remark`.

    Raises:
        InputError: there is no such configuration, or the trainer cannot train with it or with these labels.
    """
    import torch
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    if configuration not in manager.available_configurations:
        there = ", ".join(manager.available_configurations)
        raise InputError(f"{manager.plans_name} has no configuration '{configuration}'", f"there is {there}")
    check_folder_name(trainer.__name__, manager.plans_name, configuration, shortest(trainer.recipe))
    of_configuration, labels = manager.get_configuration(configuration), manager.get_label_manager(dataset_json)
    try:
        trainer.check(manager, of_configuration, labels)
    except NotImplementedError as error:
        raise InputError(str(error)) from error
    channels = determine_num_input_channels(manager, of_configuration, dataset_json), labels.num_segmentation_heads
    with torch.device("meta"):  # shapes only: no memory, no time
        trainer.network(manager, of_configuration, *channels, False)
    inside = trainer.input_channels(channels[0]), trainer.output_channels(channels[1])
    return memory_remark(trainer.recipe, plans, configuration, inside)
