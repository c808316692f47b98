"""nnU-Net's environment variables."""

import os
from pathlib import Path

from nnunet_spine.errors import InputError


def nnunet_folder(variable: str) -> Path:
    """The folder that `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results` names.

    Raises:
        InputError: the variable is not set.
    """
    if not (value := os.environ.get(variable)):
        raise InputError(f"{variable} is not set", f"export {variable}=/where/your/data/is")
    return Path(value)


def shim_folder() -> Path:
    """The folder to name in `nnUNet_extTrainer`."""
    return Path(__file__).resolve().parents[1] / "shim"


def ext_trainer_value(current: str | None) -> str:
    """`nnUNet_extTrainer` with our folder in it, once, other folders kept."""
    folders = [f for f in (current or "").split(os.pathsep) if f.strip()]
    shim = str(shim_folder())
    return os.pathsep.join(folders if shim in folders else [*folders, shim])
