"""nnU-Net's environment variables and what lies where they point; nnU-Net itself is not imported."""

import os
import re
from pathlib import Path

from nnunet_spine.errors import InputError

_DATASET = re.compile(r"Dataset(\d{3,})_")


def nnunet_folder(variable: str) -> Path:
    """The folder that `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results` names.

    Raises:
        InputError: the variable is not set.
    """
    if not (value := os.environ.get(variable)):
        raise InputError(f"{variable} is not set", f"export {variable}=/where/your/data/is")
    return Path(value)


def raw_dataset(dataset: str | int) -> Path:
    """Folder of a dataset in `nnUNet_raw`.

    Args:
        dataset: its number or its full name, e.g. 710 or "Dataset710_VerSe".

    Raises:
        InputError: the variable is not set, there is no such dataset, its dataset.json is missing, or its number also
            belongs to another dataset in one of nnU-Net's folders.
    """
    raw = nnunet_folder("nnUNet_raw")
    there = _datasets_in(raw)
    name = str(dataset)
    if name.isdigit():
        found = _datasets_of_number(int(dataset))
        if len(found) > 1:
            cure = "keep one: nnU-Net looks a number up in all of its folders"
            raise InputError(f"number {dataset} belongs to {' and '.join(sorted(found))}", cure, raw)
        name = next(iter(found), name)
    if name not in there:
        cure = f"there is {', '.join(sorted(there))}" if there else "convert one first, e.g. nnunet-spine convert verse"
        raise InputError(f"no dataset '{dataset}' in {raw}", cure)
    if not (raw / name / "dataset.json").is_file():
        raise InputError("no such file", "convert the dataset first", raw / name / "dataset.json")
    return raw / name


def other_datasets_of_number(name: str) -> list[str]:
    """Names of other datasets that have the number of this one, in any of nnU-Net's folders."""
    match = _DATASET.match(name)
    return sorted(_datasets_of_number(int(match[1])) - {name}) if match else []


def check_plans_name(name: str) -> None:
    """Whether nnU-Net can use this name of plans in the names of files and folders.

    Raises:
        InputError: it cannot.
    """
    if not name.isidentifier() or "__" in name:
        raise InputError(f"plans name '{name}'", "use letters, digits and single '_'")


def _datasets_of_number(number: int) -> set[str]:
    places = [os.environ.get(variable) for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]
    return {name for place in places if place for name, n in _datasets_in(Path(place)).items() if n == number}


def _datasets_in(folder: Path) -> dict[str, int]:
    """Name -> number of the datasets in one of nnU-Net's folders."""
    matches = [_DATASET.match(path.name) for path in folder.glob("Dataset*_*") if path.is_dir()]
    return {match.string: int(match[1]) for match in matches if match}


def nnunet_processes(cores: int, gpu: bool) -> dict[str, int]:
    """Values of nnU-Net's two variables for numbers of processes that suit a machine.

    nnU-Net starts 8 processes to validate and export and up to 12 to augment, each of which loads torch: on two cores a
    validation of 8 small cases takes 49 s with 8 processes and 16 s with one.

    Args:
        cores: that may be used.
        gpu: whether training runs on one; otherwise it needs the cores itself.

    Example:
        >>> nnunet_processes(2, gpu=False)
        {'nnUNet_def_n_proc': 1, 'nnUNet_n_proc_DA': 1}
        >>> nnunet_processes(16, gpu=True)
        {'nnUNet_def_n_proc': 8, 'nnUNet_n_proc_DA': 12}
    """
    half = max(1, cores // 2)
    return {"nnUNet_def_n_proc": min(8, half), "nnUNet_n_proc_DA": min(12, max(1, cores - 1) if gpu else half)}


def shim_folder() -> Path:
    """The folder to name in `nnUNet_extTrainer`."""
    return Path(__file__).resolve().parents[1] / "shim"


def ext_trainer_value(current: str | None) -> str:
    """`nnUNet_extTrainer` with our folder in it, once, other folders kept."""
    folders = [f for f in (current or "").split(os.pathsep) if f.strip()]
    shim = str(shim_folder())
    return os.pathsep.join(folders if shim in folders else [*folders, shim])
