"""What systems and ablations share: phantoms as a prepared dataset, runs that are taken up again, Markdown tables."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.demo import Step, run_step
from nnunet_spine.io.environment import ext_trainer_value
from nnunet_spine.io.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
DATASETS = {710: "Dataset710_VerSe", 712: "Dataset712_VerSeSpine", 720: "Dataset720_VertebraCrops"}
WHOLE_VOLUME = ("--cpu", "--whole-volume", "--patch", "64", "48", "48")
N_CASES, SEED, SPACING_MM = 40, 7, "3"


@dataclass(frozen=True)
class Contender:
    """One training.

    Attributes:
        name: in tables, and of its folder.
        trainer: trainer or recipe, or a trainer of nnU-Net.
        planned_for: recipe of ours whose network decides on patch and batch; contenders with the same one share plans.
        configuration: "2d" or "3d_fullres".
        dataset: 710 (lumbar spines), 712 (the same, with one label for the whole spine) or 720 (crops of L2 to L5).
        planning: further arguments of `nnunet-spine plan`.
    """

    name: str
    trainer: str
    planned_for: str
    configuration: str = "3d_fullres"
    dataset: int = 710
    planning: tuple[str, ...] = ("--cpu", "--sagittal")

    @property
    def slug(self) -> str:
        return "".join(c if c.isalnum() else "_" for c in self.name)

    @property
    def plans(self) -> str:
        return f"Plans_{self.planned_for}"


class Study:
    """A folder with a cohort of phantoms and one subfolder per run; what is finished is not done again.

    Args:
        folder: everything is written below it.
        minutes: of training per run.
        quick: few small phantoms, to try the benchmark out; its figures mean nothing.
    """

    def __init__(self, folder: Path, minutes: float, *, quick: bool):
        self.folder, self.minutes, self.n_cases = folder.resolve(), minutes, 6 if quick else N_CASES
        options = {"minutes": minutes, "cases": self.n_cases}
        record = self.folder / "study.json"
        if record.is_file() and read_json(record) != options:
            raise SystemExit(f"{self.folder} holds a study with {read_json(record)}, not {options}: choose another -o")
        write_json(record, options)
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            (self.folder / name).mkdir(exist_ok=True)
        self.environment = {
            **os.environ,
            **{n: str(self.folder / n) for n in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
            "nnUNet_extTrainer": ext_trainer_value(os.environ.get("nnUNet_extTrainer")),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "PYTHONPATH": str(ROOT),
        }

    def once(self, name: str, *command: str) -> None:
        """Run a command unless the same one finished in an earlier run; its output goes to `log/NAME.txt`."""
        done = self.folder / "done" / f"{name}.json"
        if done.is_file() and read_json(done) == list(command):
            return
        print(f"{name} ...", file=sys.stderr, flush=True)
        run_step(Step(name, list(command)), self.environment, self.folder / "log" / f"{name}.txt", quiet=True)
        write_json(done, list(command))

    def prepare(self, contender: Contender) -> None:
        """Phantoms, dataset, plans and preprocessed data of a contender."""
        drawn = ("-n", str(self.n_cases), "--seed", str(SEED), "--spacing", SPACING_MM, "--view", "lumbar")
        self.once("phantom", "nnunet-spine", "phantom", "-o", str(self.folder / "verse"), *drawn)
        self.once("convert", "nnunet-spine", "convert", "verse", str(self.folder / "verse"), "-d", "710")
        if contender.dataset == 712:
            one_label = ("-d", "712", "--labels", "spine", "--images-from", "710")
            self.once("one_label", "nnunet-spine", "convert", "verse", *one_label)
        if contender.dataset == 720:
            self.once("crops", "nnunet-spine", "convert", "vertebra-crops", "-d", "710", "-t", "720")
        data = ("-d", str(contender.dataset))
        planning = ("-p", contender.plans, "-tr", contender.planned_for, "-np", "1", *contender.planning)
        self.once(f"plan_{contender.dataset}_{contender.plans}", "nnunet-spine", "plan", *data, *planning)
        self.once(
            f"preprocess_{contender.dataset}_{contender.plans}_{contender.configuration}",
            "nnUNetv2_preprocess", *data, "-plans_name", contender.plans, "-c", contender.configuration, "-np", "1",
        )  # fmt: skip

    def images(self, contender: Contender, which: str = "images") -> Path:
        """Test scans, or their labels."""
        shared = which == "images" and contender.dataset == 712
        return self.folder / "nnUNet_raw" / DATASETS[710 if shared else contender.dataset] / f"{which}Ts"

    def predictions(self, contender: Contender) -> Path:
        """Folder of the predicted test scans."""
        return self.folder / "runs" / contender.slug / "predictions"

    def model(self, contender: Contender) -> Path:
        """Folder of the trained model."""
        folder = self.folder / "nnUNet_results" / DATASETS[contender.dataset]
        return folder / f"{contender.trainer}__{contender.plans}__{contender.configuration}"

    def run(self, contender: Contender) -> dict[str, object]:
        """Train, predict, measure; returns what `benchmarks.timed_training` measured."""
        self.prepare(contender)
        result = self.folder / "runs" / contender.slug / "measured.json"
        self.once(
            f"run_{contender.slug}",
            "python", "-m", "benchmarks.timed_training",
            "--dataset", str(contender.dataset), "--configuration", contender.configuration,
            "--plans", contender.plans, "--trainer", contender.trainer, "--minutes", str(self.minutes),
            "--images", str(self.images(contender)), "--predictions", str(self.predictions(contender)),
            "--result", str(result),
        )  # fmt: skip
        return read_json(result)

    def scores(self, contender: Contender, predictions: Path | None = None, name: str = "") -> dict[str, object]:
        """Summary of `nnunet-spine evaluate` for the predicted test scans, or for others in their place."""
        predictions = predictions or self.predictions(contender)
        out = self.folder / "runs" / contender.slug / f"evaluation{name}"
        arguments = ("-p", str(predictions), "-g", str(self.images(contender, "labels")), "-o", str(out), "-np", "1")
        self.once(f"evaluate_{contender.slug}{name}", "nnunet-spine", "evaluate", *arguments)
        return read_json(out / "evaluation.json")["summary"]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, form: str = ".3f") -> str:
    """A figure for a table; "-" for None."""
    return "-" if value is None else format(value, form)


LABEL_COLUMNS = ("binary Dice", "Dice per vertebra", "identified", "all correct")


def label_scores(summary: dict) -> list[str]:
    """Cells of `LABEL_COLUMNS` from a summary of `nnunet-spine evaluate`."""
    everything = next(region for region in summary["regions"] if region["group"] == "All")
    right = summary["all_labels_correct"]
    return [
        number(summary["binary_dice"]["mean"]),
        number(everything["dice"]["mean"]),
        number(everything["identification_rate"]["value"], ".1%"),
        f"{right['count']} of {right['total']}",
    ]
