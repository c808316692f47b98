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
