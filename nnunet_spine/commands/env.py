"""`nnunet-spine env`: the line that lets nnU-Net find the trainers."""

import argparse
import os
import shlex
from pathlib import Path

HELP = "print the shell line that lets nnU-Net find our trainers"


def shim_folder() -> Path:
    """The folder to name in `nnUNet_extTrainer`."""
    return Path(__file__).resolve().parents[1] / "shim"


def ext_trainer_value(current: str | None) -> str:
    """`nnUNet_extTrainer` with our folder in it, once, other folders kept."""
    folders = [f for f in (current or "").split(os.pathsep) if f.strip()]
    shim = str(shim_folder())
    return os.pathsep.join(folders if shim in folders else [*folders, shim])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = 'Use it as: eval "$(nnunet-spine env)"'


def run(args: argparse.Namespace) -> None:
    print(f"export nnUNet_extTrainer={shlex.quote(ext_trainer_value(os.environ.get('nnUNet_extTrainer')))}")
