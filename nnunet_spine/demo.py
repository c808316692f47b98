"""From nothing to a trained model, predictions, scores and pictures, through the ordinary commands.

Each step is a command line that is printed before it runs, so the demo doubles as a worked example. A step that has
finished is not run again: interrupt the demo at any time and start it once more.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.environment import ext_trainer_value, nnunet_processes
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.jobs import Run, progress_bar

DATASET_ID = 710
DATASET = "Dataset710_VerSe"
CONFIGURATION = "2d"
PLANS = "nnUNetSpinePlans"


@dataclass(frozen=True)
class DemoOptions:
    """How large the demo is; the defaults aim at ten minutes on two CPU cores.

    Attributes:
        cases: number of phantoms, 60 % training, 20 % validation, 20 % test.
        epochs: of `iterations` training steps each.
        trainer: trainer or recipe without its numbers of epochs and iterations.
    """

    cases: int = 40
    seed: int = 7
    epochs: int = 8
    iterations: int = 150
    trainer: str = "ConvLSTMTrainer_Adam_lr1e-2"

    @property
    def recipe(self) -> str:
        return f"{self.trainer}_{self.epochs}epochs_{self.iterations}iters_2valiters_save1"


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Attributes:
        name: also the name of its log file.
        command: program and arguments.
        progress: counts finished parts in a line of output; None where the command shows its own bar.
        total: number of parts.
    """

    name: str
    command: list[str]
    progress: Callable[[str], bool] | None = None
    total: int = 0


def steps(folder: Path, options: DemoOptions, device: str, processes: int) -> Iterator[Step]:
    """The demo's commands in order."""
    verse, raw = folder / "verse", folder / "nnUNet_raw" / DATASET
    dataset = str(DATASET_ID)
    draw = ["--seed", str(options.seed), "--spacing", "3", "--view", "whole"]
    yield Step("phantom", ["nnunet-spine", "phantom", "-o", str(verse), "-n", str(options.cases), *draw])
    yield Step("convert", ["nnunet-spine", "convert", "verse", str(verse), "-d", dataset])
    workers = ["-np", str(processes)]
    yield Step("plan", ["nnunet-spine", "plan", "-d", dataset, "--cpu", "--sagittal", "-tr", options.recipe, *workers])
    yield Step(
        "preprocess",
        ["nnUNetv2_preprocess", "-d", dataset, "-plans_name", PLANS, "-c", CONFIGURATION, *workers],
    )
    trained = folder / "nnUNet_results" / DATASET / f"{options.recipe}__{PLANS}__{CONFIGURATION}" / "fold_0"
    # With the final checkpoint there, only the validation is left, and `--c` does just that.
    begun = any((trained / f"checkpoint_{which}.pth").is_file() for which in ("latest", "final"))
    resume = ["--c"] if begun else []
    yield Step(
        "train",
        ["nnUNetv2_train", dataset, CONFIGURATION, "0", "-p", PLANS, "-tr", options.recipe, "-device", device, *resume],
        lambda line: "Epoch time:" in line,
        options.epochs,
    )
    images, out = str(raw / "imagesTs"), str(folder / "predictions")
    yield Step(
        "predict",
        ["nnUNetv2_predict", "-i", images, "-o", out, *_model(options), "-device", device, "-npp", "1", "-nps", "1"],
        lambda line: line.startswith("Predicting "),
        options.cases // 5,
    )
    yield Step("labels", ["nnunet-spine", "labels", "-i", out])
    yield Step(
        "relabel", ["nnunet-spine", "relabel", "-i", out, "-o", str(folder / "relabelled"), "-s", images, *workers]
    )


def _model(options: DemoOptions) -> list[str]:
    return ["-d", str(DATASET_ID), "-c", CONFIGURATION, "-p", PLANS, "-tr", options.recipe, "-f", "0"]


def run_demo(folder: Path, options: DemoOptions, *, device: str, processes: int, quiet: bool = False) -> None:
    """Run what has not run yet and print the scores.

    Args:
        folder: everything is written below it.
        device: "cpu" or "cuda".
        processes: worker processes where a step uses some.

    Raises:
        InputError: the folder holds a demo with other options, or something else.
        StepFailed: a command failed.
    """
    state_file = folder / "demo.json"
    state = _load_state(state_file, options)
    environment = _environment(folder, processes)
    for step in steps(folder, options, device, processes):
        if step.name in state["seconds"]:
            continue
        if not quiet:
            print(f"\n$ {shlex.join(step.command)}", flush=True)
        start = time.perf_counter()
        run_step(step, environment, folder / "log" / f"{step.name}.txt", quiet)
        state["seconds"][step.name] = round(time.perf_counter() - start, 1)
        write_json(state_file, state)
    start = time.perf_counter()
    table = score(folder, quiet)
    state["seconds"]["evaluate"] = round(time.perf_counter() - start, 1)
    write_json(state_file, state)
    print(f"\n{table}")
    if not quiet:
        seconds = state["seconds"]
        print(f"\n{sum(seconds.values()) / 60:.1f} minutes: {', '.join(f'{k} {v:.0f} s' for k, v in seconds.items())}")
        print(f"Scores: {folder / 'evaluation'}\nPictures: {folder / 'pictures'}")
        print(
            f"To use the model:\n  {_exports(folder)}\n  nnUNetv2_predict -i IMAGES -o OUT {' '.join(_model(options))}"
        )


class StepFailed(RuntimeError):
    """A command of the demo failed; the message names it, its log and the log's last lines."""


def run_step(step: Step, environment: dict[str, str], log: Path, quiet: bool) -> None:
    """Run one command, its output in a log file, with a progress bar.

    Raises:
        StepFailed: the command ended with an error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [_executable(step.command[0]), *step.command[1:]]
    bar = progress_bar(total=step.total, unit="part", what=step.name, quiet=quiet or step.progress is None)
    # Commands with a bar of their own write it to stderr, which stays the terminal's.
    stderr = subprocess.STDOUT if step.progress is not None or quiet else None
    with log.open("w", encoding="utf-8") as file, bar:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
        )
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if step.progress is not None and step.progress(line):
                    bar.update()
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.terminate()
        code = process.wait()
    if code:
        tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])
        raise StepFailed(f"step '{step.name}' failed with exit code {code}; log: {log}\n{tail}")


def score(folder: Path, quiet: bool = False) -> str:
    """Score the predictions before and after relabelling, write one picture per case; returns a short table.

    Raises:
        InputError: a case cannot be scored.
    """
    from nnunet_spine.evaluation import (
        Request,
        case_table,
        comparable,
        evaluate,
        overview,
        write_comparison,
        write_evaluation,
    )
    from nnunet_spine.pictures import case_picture_from_files

    raw = folder / "nnUNet_raw" / DATASET
    request = Request((raw / "labelsTs",), images=raw / "imagesTs")
    run = Run(progress=lambda items, total: progress_bar(items, total, unit="case", what="scores", quiet=quiet))
    evaluations = []
    for method, masks in (("predicted", "predictions"), ("relabelled", "relabelled")):
        place = folder / "evaluation" / method
        evaluation = evaluate(folder / masks, request, place, run, method=method)
        if evaluation.failures:
            raise InputError(f"{len(evaluation.failures)} cases cannot be scored ({evaluation.failures[0]})")
        write_evaluation(evaluation, place)
        evaluations.append(evaluation)
    write_comparison(evaluations, folder / "evaluation")
    for scored in progress_bar(evaluations[-1].scores, unit="case", what="pictures", quiet=quiet):
        case_picture_from_files(
            raw / "imagesTs" / f"{scored.case}_0000.nii.gz",
            folder / "relabelled" / f"{scored.case}.nii.gz",
            folder / "pictures" / f"{scored.case}.png",
            reference_path=raw / "labelsTs" / f"{scored.case}.nii.gz",
        )
    return f"{case_table(evaluations[-1].scores)}\n\n{overview(comparable(evaluations)[0])}"


def _load_state(state_file: Path, options: DemoOptions) -> dict:
    wanted = {name: getattr(options, name) for name in options.__dataclass_fields__}
    if not state_file.is_file():
        if state_file.parent.is_dir() and any(state_file.parent.iterdir()):
            raise InputError("the folder is not empty and holds no demo", "choose another with -o", state_file.parent)
        write_json(state_file, {"options": wanted, "seconds": {}})
    state = read_json(state_file)
    if state["options"] != wanted:
        raise InputError(
            f"holds a demo with other options ({state['options']})", "choose another folder with -o", state_file.parent
        )
    return state


def _folders(folder: Path) -> dict[str, str]:
    return {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}


def _environment(folder: Path, processes: int) -> dict[str, str]:
    for path in _folders(folder).values():
        Path(path).mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **_folders(folder),
        "nnUNet_extTrainer": ext_trainer_value(os.environ.get("nnUNet_extTrainer")),
        # Each worker loads torch again; a handful of small volumes does not repay many.
        **{name: str(number) for name, number in nnunet_processes(processes, gpu=False).items()},
        "PYTHONUNBUFFERED": "1",
    }


def _exports(folder: Path) -> str:
    pairs = " ".join(f"{name}={shlex.quote(path)}" for name, path in _folders(folder.resolve()).items())
    return f'export {pairs}; eval "$(nnunet-spine env)"'


def _executable(name: str) -> str:
    """The command that belongs to this Python, so that no other environment's nnU-Net is started."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise InputError(f"the command {name} is not installed", "pip install nnunet-spine in this environment")
    return found
