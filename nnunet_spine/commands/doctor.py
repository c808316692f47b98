"""`nnunet-spine doctor`: is everything in place, and if not, what to do."""

import argparse
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from nnunet_spine.io.environment import ext_trainer_value, shim_folder

HELP = "check the installation: nnU-Net, its variables, the device, and that each trainer is found"

TESTED_NNUNET = "2.8"


class Check(NamedTuple):
    ok: bool
    what: str
    cure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code 1 when something is wrong."


def run(args: argparse.Namespace) -> int:
    failed = 0
    for check in (*check_packages(), *check_command(), *check_variables(), *check_device(), *check_trainers()):
        failed += not check.ok
        print(f"{'ok  ' if check.ok else 'BAD '} {check.what}")
        if not check.ok:
            print(f"     -> {check.cure}")
    print(f"\n{failed} problem(s) found" if failed else "\nEverything in place")
    return 1 if failed else 0


def check_packages() -> Iterator[Check]:
    yield Check(True, f"Python {sys.version.split()[0]} at {sys.executable}")
    for name in ("nnunet-spine", "torch", "torchvision"):
        try:
            yield Check(True, f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            # Straight from a checkout, the package itself is not installed; that works.
            yield Check(name == "nnunet-spine", f"{name} is not installed", "pip install nnunet-spine")
    try:
        import nnunetv2

        version = metadata.version("nnunetv2")
    except ImportError as error:
        yield Check(False, f"nnU-Net cannot be imported: {error}", f'pip install "nnunetv2=={TESTED_NNUNET}.*"')
        return
    yield Check(
        version.startswith(f"{TESTED_NNUNET}."),
        f"nnU-Net {version} at {Path(nnunetv2.__file__).parent}",
        f'only {TESTED_NNUNET}.x is tested: pip install "nnunetv2=={TESTED_NNUNET}.*"',
    )


def check_command() -> Iterator[Check]:
    """Whether `nnUNetv2_train` in the shell belongs to this Python: a second nnU-Net cannot see our trainers."""
    here = Path(sys.executable).parent
    found = shutil.which("nnUNetv2_train")
    if found is None:
        yield Check(False, "nnUNetv2_train is not on the PATH", f"activate the environment, or add {here} to PATH")
    else:
        yield Check(
            Path(found).parent == here,
            f"nnUNetv2_train is {found}",
            f"it belongs to another Python than {sys.executable}; activate this environment first",
        )


def check_variables() -> Iterator[Check]:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        value = os.environ.get(name)
        if not value:
            yield Check(False, f"{name} is not set", f"export {name}=/where/your/data/is")
        else:
            cure = "a file, expected a folder" if Path(value).exists() else f"there is no such folder: mkdir -p {value}"
            yield Check(Path(value).is_dir(), f"{name}={value}", cure)
    value = os.environ.get("nnUNet_extTrainer")
    yield Check(
        str(shim_folder()) in (value or "").split(os.pathsep),
        f"nnUNet_extTrainer={value or '(not set)'}",
        'eval "$(nnunet-spine env)"; without it nnU-Net finds no trainer of ours, in training and in prediction',
    )


def check_device() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check(False, f"torch cannot be imported: {error}", "pip install torch")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Check(True, f"GPU {index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    else:
        yield Check(True, "no CUDA device: train with -device cpu and `nnunet-spine plan --cpu`, or on another machine")


def check_trainers() -> Iterator[Check]:
    """Each trainer through nnU-Net's own search, as `nnUNetv2_train -tr` does it."""
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        from nnunet_spine import trainers
    except Exception as error:
        yield Check(False, f"the trainers cannot be imported: {error}", "reinstall nnunet-spine in this environment")
        return
    import contextlib
    import io

    before = os.environ.get("nnUNet_extTrainer")
    os.environ["nnUNet_extTrainer"] = ext_trainer_value(None)  # other folders hold other people's code
    warnings.simplefilter("ignore", FutureWarning)
    try:
        for name, trainer in trainers.TRAINERS.items():
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    found = recursive_find_trainer_class_by_name(name)
            except Exception as error:
                yield Check(False, f"{name} is not found by nnU-Net: {error}", "reinstall nnunet-spine")
                continue
            yield Check(
                found is trainer, f"{name} is found by nnU-Net", f"another {name} comes first: {found.__module__}"
            )
    finally:
        if before is None:
            del os.environ["nnUNet_extTrainer"]
        else:
            os.environ["nnUNet_extTrainer"] = before
