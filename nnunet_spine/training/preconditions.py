"""What must hold before a training starts, checked before nnU-Net fails on it or trains something else."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_spine.training.declaration import Declaration

MAX_NAME_BYTES = 255
"""Longest name of a file or folder on common file systems."""

DEFAULT_PLANS = "nnUNetSpinePlans"
"""Name of the plans that `nnunet-spine plan` writes unless told otherwise."""

NNUNET_FOLDS = 5


def folder_name(recipe: str, plans: str, configuration: str) -> str:
    """The folder that nnU-Net makes for a model."""
    return f"{recipe}__{plans}__{configuration}"


def check_folder_name(recipe: str, plans: str, configuration: str, shorter: str | None = None) -> None:
    """Refuse a recipe whose folder could not be made.

    Args:
        shorter: another name for the same settings.

    Raises:
        InputError: the name is too long.
    """
    name = folder_name(recipe, plans, configuration)
    too_many = len(name.encode()) - MAX_NAME_BYTES
    if too_many <= 0:
        return
    if shorter and len(recipe) - len(shorter) >= too_many:
        cure = f"write {shorter}, which is the same"
    else:
        cure = f"leave out options of {too_many} characters, or give the plans a shorter name"
    raise InputError(
        f"the model's folder '{name}' would have a name of {MAX_NAME_BYTES + too_many} bytes; file systems allow "
        f"{MAX_NAME_BYTES}",
        cure,
    )


def check_labels(declaration: "Declaration", recipe: str, labels: Any) -> None:
    """Refuse labels that the trainer cannot train on.

    Raises:
        NotImplementedError: regions, or an ignore label, and the trainer declares that it cannot.
    """
    if labels.has_regions and not declaration.supports_regions:
        raise NotImplementedError(
            f"{recipe} cannot train on regions (label values that are lists in dataset.json). "
            "Use a dataset with plain labels, or another trainer"
        )
    if labels.has_ignore_label and not declaration.supports_ignore_label:
        raise NotImplementedError(f"{recipe} cannot train with an ignore label. Remove it, or use another trainer")


def check_preprocessed(trainer: "nnUNetTrainer") -> None:
    """Refuse plans whose data were not preprocessed.

    Raises:
        InputError: the folder of preprocessed cases is missing or empty.
    """
    folder = Path(trainer.preprocessed_dataset_folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        plans = trainer.plans_manager
        dataset = int(plans.dataset_name[7:10])  # DatasetXXX_Name; nnUNetv2_preprocess takes numbers only
        raise InputError(
            f"no preprocessed cases for {plans.plans_name}, {trainer.configuration_name}",
            f"run nnUNetv2_preprocess -d {dataset} -plans_name {plans.plans_name} -c {trainer.configuration_name}",
            folder,
        )


def check_fold(fold: int | str, preprocessed: str | Path) -> None:
    """Refuse a fold that the data set's split does not define.

    Stock nnU-Net then trains on a random 80:20 split, which may put one patient on both sides and the official
    validation cases into training. Without a file of splits it makes five folds.

    Args:
        fold: number, or "all".
        preprocessed: the data set's folder of preprocessed data.

    Raises:
        InputError: there is no such fold.
    """
    if fold == "all":
        return
    file = Path(preprocessed) / "splits_final.json"
    n_folds = len(read_json(file)) if file.is_file() else NNUNET_FOLDS
    if not 0 <= fold < n_folds:
        folds = "fold 0 only" if n_folds == 1 else f"folds 0 to {n_folds - 1}"
        raise InputError(
            f"fold {fold} was asked for; the split defines {folds}",
            "train one of these or fold 'all', or add the fold to the file: nnU-Net itself would train on a random "
            "80:20 split here",
            file if file.is_file() else preprocessed,
        )
