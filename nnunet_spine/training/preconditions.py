"""What must hold before a training starts, checked before nnU-Net fails on it or trains something else."""

import os
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

SPLITS = "splits_final.json"
CASE_ENDINGS = (".b2nd", ".npz", ".npy")
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


def check_data(trainer: "nnUNetTrainer") -> None:
    """Refuse plans whose data were not preprocessed, and folds that are none of the data set's.

    Raises:
        InputError: see `check_fold`; or cases of the fold, or all of them, are not preprocessed.
    """
    plans = trainer.plans_manager
    raw = os.environ.get("nnUNet_raw")
    fold = check_fold(
        trainer.fold, trainer.preprocessed_dataset_folder_base, Path(raw) / plans.dataset_name if raw else None
    )
    folder = Path(trainer.preprocessed_dataset_folder)
    files = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    missing = [case for case in fold if not any(f"{case}{ending}" in files for ending in CASE_ENDINGS)]
    if missing or not files:
        which = f"{len(missing)} cases of the fold ({missing[0]}, ...)" if missing and files else "all cases"
        dataset = int(plans.dataset_name[7:10])  # DatasetXXX_Name; nnUNetv2_preprocess takes numbers only
        raise InputError(
            f"{which} of {plans.plans_name}, {trainer.configuration_name}, are not preprocessed",
            f"run nnUNetv2_preprocess -d {dataset} -plans_name {plans.plans_name} -c {trainer.configuration_name}",
            folder,
        )


def check_fold(fold: int | str, preprocessed: str | Path, raw: str | Path | None = None) -> list[str]:
    """Refuse a fold that the data set's split does not define.

    Stock nnU-Net then trains on a random 80:20 split, which may put one patient on both sides and the official
    validation cases into training. Without a file of splits it makes five folds. Planning copies the file from the raw
    data set; a copy may have more folds, but not others.

    Args:
        fold: number, or "all".
        preprocessed, raw: the data set's folders; the raw one need not be there.

    Returns:
        The cases of the fold; empty for "all" and for a fold that nnU-Net will make.

    Raises:
        InputError: there is no such fold, or it is another one in the raw data set.
    """
    if fold == "all":
        return []
    file, source = Path(preprocessed) / SPLITS, Path(raw) / SPLITS if raw else None
    splits = read_json(file) if file.is_file() else []
    original = read_json(source) if source and source.is_file() else []
    n_folds = len(splits) if file.is_file() else len(original) or NNUNET_FOLDS
    if not 0 <= fold < n_folds:
        folds = "fold 0 only" if n_folds == 1 else f"folds 0 to {n_folds - 1}"
        raise InputError(
            f"fold {fold} was asked for; the split defines {folds}",
            "train one of these or fold 'all', or add the fold to the file: nnU-Net itself would train on a random "
            "80:20 split here",
            file if file.is_file() else preprocessed,
        )
    if fold < len(original) and (not splits or _sets(splits[fold]) != _sets(original[fold])):
        raise InputError(
            f"fold {fold} {f'differs from that of {source}' if splits else f'is missing here; {source} defines it'}",
            f"training reads this file: {'copy the right one over the other' if splits else 'copy the other here'}",
            file,
        )
    return [*splits[fold]["train"], *splits[fold]["val"]] if splits else []


def _sets(fold: dict[str, list[str]]) -> tuple[set[str], set[str]]:
    return set(fold["train"]), set(fold["val"])
