"""Train one system for a number of minutes, predict with it, and measure both: one process per system.

    python -m benchmarks.timed_training --dataset 710 --configuration 2d --plans nnUNetSpinePlans \
        --trainer ConvLSTMTrainer --minutes 4 --images IMAGES --predictions OUT --result measured.json

Works for any trainer that nnU-Net finds, stock ones included. A short training beforehand gives the time of a step with
this machine's data loading; the real one then gets as many steps as fit the minutes, in `EPOCHS` epochs, so that its
learning rate falls to its end. Steps, not seconds, are fixed from there on: the minutes really spent are in the result.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine.io.files import write_json
from nnunet_spine.io.nifti import open_nifti

EPOCHS = 10
CALIBRATION_STEPS = 4


def make_trainer(arguments: argparse.Namespace, epochs: int, steps: int) -> nnUNetTrainer:
    """A trainer with this many epochs and steps, however it is called."""
    trainer = get_trainer_from_args(
        str(arguments.dataset), arguments.configuration, 0, arguments.trainer, arguments.plans, device=arguments.device
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, steps, 1
    return trainer


def seconds_per_step(arguments: argparse.Namespace) -> float:
    """Time of a training step, data loading included, as the second of two short epochs shows it.

    Both contain one validation step; its time counts as a part of the steps'.
    """
    results = os.environ["nnUNet_results"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["nnUNet_results"] = folder
        trainer = make_trainer(arguments, 2, CALIBRATION_STEPS)
        trainer.run_training()
        os.environ["nnUNet_results"] = results
    start, end = (trainer.logger.get_value(f"epoch_{which}_timestamps", step=1) for which in ("start", "end"))
    return (end - start) / CALIBRATION_STEPS


def network_cost(trainer: nnUNetTrainer) -> dict[str, float]:
    """Parameters in millions, and multiply-adds in 10^9 of one forward pass of one patch."""
    patch = torch.zeros(1, trainer.num_input_channels, *trainer.configuration_manager.patch_size, device=trainer.device)
    network = trainer.network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(patch)
    network.train()
    return {
        "parameters_m": sum(p.numel() for p in network.parameters()) / 1e6,
        "gmacs_per_patch": counter.get_total_flops() / 2e9,
    }


def predict(folder: str, images: Path, out: Path, device: torch.device) -> float:
    """Predict every image in turn; returns voxels of input per second, reading and writing included."""
    predictor = nnUNetPredictor(device=device, perform_everything_on_device=device.type != "cpu", allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(folder, (0,))
    files = sorted(images.glob("*_0000.nii.gz"))
    out.mkdir(parents=True, exist_ok=True)
    names = [str(out / file.name.removesuffix("_0000.nii.gz")) for file in files]
    voxels = sum(int(torch.tensor(open_nifti(file).shape).prod()) for file in files)
    start = time.perf_counter()
    predictor.predict_from_files_sequential([[str(file)] for file in files], names, overwrite=True)
    return voxels / (time.perf_counter() - start)


def peak_gib(device: torch.device) -> float:
    """Highest memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=int, required=True)
    for name in ("configuration", "plans", "trainer"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    for name in ("images", "predictions", "result"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()

    before_gib = peak_gib(arguments.device)
    step = seconds_per_step(arguments)
    steps = max(1, round(60 * arguments.minutes / step / EPOCHS))
    trainer = make_trainer(arguments, EPOCHS, steps)
    start = time.perf_counter()
    trainer.run_training()
    trained = time.perf_counter() - start
    measured = {
        "steps": EPOCHS * steps,
        "step_seconds": trained / (EPOCHS * steps),
        "trained_minutes": trained / 60,
        "peak_gib": peak_gib(arguments.device) - before_gib,
        "batch_size": trainer.batch_size,
        "patch_size": [int(n) for n in trainer.configuration_manager.patch_size],
        **network_cost(trainer),
    }
    speed = None
    ours = getattr(trainer, "declaration", None)
    if ours is None or ours.predicts_labels:
        speed = predict(trainer.output_folder_base, arguments.images, arguments.predictions, arguments.device)
    write_json(arguments.result, {**measured, "predicted_voxels_per_second": speed})


if __name__ == "__main__":
    main()
