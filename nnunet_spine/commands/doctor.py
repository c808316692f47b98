"""`nnunet-spine doctor`: is everything in place, and if not, what to do."""

import argparse
import contextlib
import io
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from nnunet_spine import __version__
from nnunet_spine.io.environment import ext_trainer_value, nnunet_processes, shim_folder
from nnunet_spine.jobs import usable_cores

HELP = "check the installation: nnU-Net, its variables, the device, and that each trainer is found"

TESTED_NNUNET = "2.8"


OK, NOTE, BAD = "ok", "note", "BAD"


class Check(NamedTuple):
    """One line of the report: `OK`, `NOTE` (works, but could be better) or `BAD`, and the cure of the latter two."""

    state: str
    what: str
    cure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code 1 when something is wrong; a note is not."


def run(args: argparse.Namespace) -> int:
    failed = 0
    for check in _checks(os.environ):
        failed += check.state == BAD
        print(f"{check.state:4} {check.what}", flush=True)
        if check.state != OK and check.cure:
            print(f"     -> {check.cure}")
    print(f"\n{failed} problem{'s' * (failed != 1)} found" if failed else "\nEverything in place")
    return 1 if failed else 0


def _checks(environment: Mapping[str, str]) -> Iterator[Check]:
    yield from check_variables(environment)  # first what needs no imports
    yield from check_command()
    yield from check_packages()
    yield from check_device()
    yield from check_processes(environment, usable_cores(), _has_gpu())
    yield from check_trainers(environment)


def check_packages() -> Iterator[Check]:
    yield Check(OK, f"Python {sys.version.split()[0]} at {sys.executable}")
    yield Check(OK, f"nnunet-spine {__version__} at {Path(__file__).parents[1]}")
    for name in ("torch", "torchvision"):
        try:
            yield Check(OK, f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield Check(BAD, f"{name} is not installed", "pip install nnunet-spine")
    try:
        import nnunetv2

        version = metadata.version("nnunetv2")
    except ImportError as error:
        yield Check(BAD, f"nnU-Net cannot be imported: {error}", f'pip install "nnunetv2=={TESTED_NNUNET}.*"')
        return
    yield Check(
        OK if version.startswith(f"{TESTED_NNUNET}.") else BAD,
        f"nnU-Net {version} at {Path(nnunetv2.__file__).parent}",
        f'only {TESTED_NNUNET}.x is tested: pip install "nnunetv2=={TESTED_NNUNET}.*"',
    )


def check_command() -> Iterator[Check]:
    """Whether `nnUNetv2_train` in the shell belongs to this Python: a second nnU-Net cannot see our trainers."""
    here = Path(sys.executable).parent
    found = shutil.which("nnUNetv2_train")
    if found is None:
        yield Check(BAD, "nnUNetv2_train is not on the PATH", f"activate the environment, or add {here} to PATH")
    else:
        yield Check(
            OK if Path(found).parent == here else BAD,
            f"nnUNetv2_train is {found}",
            f"it belongs to another Python than {sys.executable}; activate this environment first",
        )


def check_variables(environment: Mapping[str, str]) -> Iterator[Check]:
    """Whether nnU-Net's three folders and ours are named, by absolute paths, each once, and can be used."""
    named: dict[Path, str] = {}
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        value = environment.get(name)
        if not value:
            yield Check(BAD, f"{name} is not set", f"export {name}=/where/your/data/is")
            continue
        cure = _wrong_with_folder(name, value, named)
        named[Path(value).absolute()] = name
        yield Check(BAD if cure else OK, f"{name}={value}", cure)
    value = environment.get("nnUNet_extTrainer")
    yield Check(
        OK if _names_ours(environment) else BAD,
        f"nnUNet_extTrainer={value or '(not set)'}",
        'eval "$(nnunet-spine env)"; without it nnU-Net finds no trainer of ours, in training and in prediction',
    )
    for folder in filter(None, (value or "").split(os.pathsep)):
        if not Path(folder).is_absolute() or not Path(folder).is_dir():
            yield Check(NOTE, f"nnUNet_extTrainer names {folder}", "not the absolute path of a folder: take it out")


def _wrong_with_folder(name: str, value: str, named: Mapping[Path, str]) -> str:
    """What to do about the folder that a variable names; empty where nothing is wrong."""
    path = Path(value)
    if not path.is_absolute():
        absolute = path.expanduser().absolute()
        return f"a relative path means another folder in every working directory: export {name}={absolute}"
    if path in named:
        return f"the same folder as {named[path]}: give each variable its own"
    if not path.is_dir():
        return "a file, expected a folder" if path.exists() else f"there is no such folder: mkdir -p {value}"
    if name != "nnUNet_raw" and not os.access(path, os.W_OK):
        return "you cannot write to this folder: change its permissions or name another one"
    return ""


def _names_ours(environment: Mapping[str, str]) -> bool:
    return str(shim_folder()) in environment.get("nnUNet_extTrainer", "").split(os.pathsep)


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def check_processes(environment: Mapping[str, str], cores: int, gpu: bool) -> Iterator[Check]:
    """Whether nnU-Net starts as many processes as this machine bears; each of them loads torch again."""
    for name, advised in nnunet_processes(cores, gpu).items():
        value = environment.get(name)
        default = 8 if name == "nnUNet_def_n_proc" else min(12, os.cpu_count() or 1)
        if value is not None and not value.isdigit():
            yield Check(BAD, f"{name}={value}; expected a number", f"export {name}={advised}")
            continue
        used = default if value is None else int(value)
        what = f"{name}={value}" if value is not None else f"{name} is not set: nnU-Net takes {default}"
        cure = f"export {name}={advised}: {_WHAT_FOR[name]}, for the {cores} cores that you may use"
        yield Check(NOTE if used > max(cores, advised) else OK, what, cure)


_WHAT_FOR = {
    "nnUNet_def_n_proc": "processes that preprocess, validate and export",
    "nnUNet_n_proc_DA": "processes that augment during training",
}


def check_device() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check(BAD, f"torch cannot be imported: {error}", "pip install torch")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Check(OK, f"GPU {index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    else:
        yield Check(OK, "no CUDA device: train with -device cpu and `nnunet-spine plan --cpu`, or on another machine")


def check_trainers(environment: Mapping[str, str]) -> Iterator[Check]:
    """Each trainer through nnU-Net's own search, as `nnUNetv2_train -tr` does it, in the folders it would search."""
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

        from nnunet_spine.trainers import TRAINERS, get_trainer
    except Exception as error:
        yield Check(BAD, f"the trainers cannot be imported: {error}", "reinstall nnunet-spine in this environment")
        return
    set_up = _names_ours(environment)
    # Without our folder nothing is found, which is said already: is it all that is missing?
    value = environment["nnUNet_extTrainer"] if set_up else ext_trainer_value(None)
    problems = []
    with _variable("nnUNet_extTrainer", value), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for name in TRAINERS:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    found = find(name)
            except Exception as error:  # a module of another folder may raise anything
                cure = "run each folder of nnUNet_extTrainer alone" if os.pathsep in value else "reinstall nnunet-spine"
                problems.append(Check(BAD, f"{name} is not found by nnU-Net: {error}", cure))
                continue
            if found is not get_trainer(name):
                problems.append(Check(BAD, f"nnU-Net finds another {name} first, of {found.__module__}", "rename it"))
    yield from problems
    if not problems:
        when = "" if set_up else " once nnUNet_extTrainer is set"
        yield Check(OK if set_up else NOTE, f"nnU-Net finds all trainers{when}: {', '.join(TRAINERS)}")


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
