"""How much GPU memory a training step takes, by nnU-Net's own estimate, and what makes it take less."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError
from nnunet_spine.training.recipes import Recipe, parse_recipe

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

    from nnunet_spine.training.settings import Network

REFERENCE_GB = 8.0
REFERENCE_ELEMENTS = {2: 85_000_000 * 12, 3: 560_000_000 * 2}
"""Elements of feature maps, of a whole batch, that take `REFERENCE_GB`, by dimension: those of nnU-Net's planner."""

PLANNED_GB = "gpu_memory_gb"
"""Entry of plans by `nnunet-spine plan`: the memory that they were made for."""

TOLERANCE = 1.05


def step_gb(
    network: "Network",
    plans: "PlansManager",
    configuration: "ConfigurationManager",
    channels: Sequence[int],
    batch_size: int,
) -> float:
    """GPU memory of a training step, as nnU-Net's planner estimates it: from the size of all feature maps.

    Args:
        channels: of input and output.

    Returns:
        Gigabytes; 0 where the network does not know the size of its feature maps.

    Raises:
        InputError: the network does not fit the plans.
    """
    import torch

    with torch.device("meta"):  # shapes only: no memory, no time
        model = network.build(plans, configuration, *channels, initialise=False)
    patch_size = configuration.patch_size
    if not hasattr(model, "compute_conv_feature_map_size"):  # a network of somebody else's plans
        return 0.0
    elements = float(model.compute_conv_feature_map_size(patch_size))
    return elements * batch_size / REFERENCE_ELEMENTS[len(patch_size)] * REFERENCE_GB


def remark_on(trainer: "nnUNetTrainer", recipe: Recipe) -> str | None:
    """`memory_remark` on an initialised trainer."""
    outputs = trainer.output_channels(trainer.label_manager.num_segmentation_heads)
    channels = trainer.input_channels(trainer.num_input_channels), outputs
    return memory_remark(recipe, trainer.plans_manager.plans, trainer.configuration_name, channels)


def memory_remark(recipe: Recipe, plans: dict[str, Any], configuration: str, channels: Sequence[int]) -> str | None:
    """What to know if a step takes more memory than the plans were made for, with what would fit; None if it does not.

    Plans of nnU-Net's own planner were made for their own network.

    Args:
        plans: as in their file.
        configuration: name.
        channels: of input and output.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.training.settings import Settings

    manager = PlansManager(plans)
    planned_batch = manager.get_configuration(configuration).batch_size

    def gb(settings: Settings) -> float:
        batch_size = settings.optimisation.batch_size or planned_batch
        return step_gb(settings.network, manager, manager.get_configuration(configuration), channels, batch_size)

    needed, planned = gb(recipe.settings), plans.get(PLANNED_GB) or gb(Settings())
    if not planned or needed <= TOLERANCE * planned:
        return None
    cures = []
    fitting_batch = int((recipe.settings.optimisation.batch_size or planned_batch) * planned / needed)
    for word in (*recipe.trainer.lighter, *([f"batch{fitting_batch}"] if fitting_batch >= 2 else [])):
        try:
            lighter = parse_recipe(f"{recipe.name}_{word}", {recipe.trainer.name: recipe.trainer})
        except InputError:  # the recipe sets this already
            continue
        if (less := gb(lighter.settings)) <= TOLERANCE * planned:
            cures.append(f"the option {word} ({less:.1f} GB)")
            break
    dataset = int(plans["dataset_name"][7:10])
    cures.append(f"plans for this network: nnunet-spine plan -d {dataset} -tr {recipe.name} --gpu-memory {planned:.1f}")
    return (
        f"memory: a step takes about {needed:.1f} GB by nnU-Net's estimate; the plans were made for {planned:.1f} GB. "
        f"Where the GPU has no more, these fit: {'; '.join(cures)}"
    )
