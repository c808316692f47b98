"""Training step of the ConvLSTM U-Net against the stock U-Net at the same plan and against the plain recurrence.

    python -m benchmarks.convlstm [--plan 2d 3d] [--device cuda] [--amp] [--compile] [--rounds 5]

All networks run in turn in one process. Printed per plan: median step time (forward, loss, backward, SGD step), its
ratio to the stock U-Net, what autograd keeps for the backward pass, and on a GPU the peak of allocated memory. The
convolutions of the default cells are 4/3 times cheaper than those of the plain recurrence (9 k C² multiplications per
voxel instead of 12 k C²), but a bi-directional level costs 11 k C² where concatenation costs 3 k C². On two free CPU
cores the default run takes some three minutes.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.naive_convlstm import use_naive_recurrence
from benchmarks.timing import alternate, kept_bytes, median_ratio
from nnunet_spine.architectures import ConvLSTMUNet

NUM_CLASSES = 5
STOCK, OURS = "PlainConvUNet", "ConvLSTMUNet (default)"
NAIVE, NAIVE_ONE = "plain recurrence, gate by gate", "plain recurrence, one convolution"
# the default, and what each cheaper choice saves
VARIANTS = {
    OURS: {},
    "ConvLSTMUNet, checkpoint_cells": {"checkpoint_cells": True},
    "ConvLSTMUNet, uni": {"convlstm": "uni"},
    "ConvLSTMUNet, hidden_fraction 0.25": {"hidden_fraction": 0.25},
}


@dataclass(frozen=True)
class Plan:
    """What nnU-Net's planner chooses for a patch: the batch, the patch in voxels and the features of the stages."""

    batch_size: int
    patch_size: tuple[int, ...]
    features: tuple[int, ...]

    def network_kwargs(self) -> dict:
        dimension, n_stages = len(self.patch_size), len(self.features)
        return {
            "input_channels": 1,
            "n_stages": n_stages,
            "features_per_stage": list(self.features),
            "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dimension],
            "kernel_sizes": [[3] * dimension] * n_stages,
            "strides": [[1] * dimension] + [[2] * dimension] * (n_stages - 1),
            "n_conv_per_stage": [2] * n_stages,
            "num_classes": NUM_CLASSES,
            "n_conv_per_stage_decoder": [2] * (n_stages - 1),
            "conv_bias": True,
            "norm_op": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimension],
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
            "deep_supervision": True,
        }


PLANS = {
    "2d": Plan(2, (256, 256), (32, 64, 128, 256, 512, 512, 512)),
    "3d": Plan(1, (32, 64, 64), (32, 64, 128, 256)),
}


def build_networks(plan: Plan) -> dict[str, nn.Module]:
    """The stock network, our variants and the plain recurrence inside our default network."""
    kwargs = plan.network_kwargs()
    return {
        STOCK: PlainConvUNet(**kwargs),
        **{name: ConvLSTMUNet(**kwargs, **options) for name, options in VARIANTS.items()},
        NAIVE: use_naive_recurrence(ConvLSTMUNet(**kwargs)),
        NAIVE_ONE: use_naive_recurrence(ConvLSTMUNet(**kwargs), one_convolution=True),
    }


def training_step(network: nn.Module, image: Tensor, targets: list[Tensor], amp: bool) -> Callable[[], None]:
    """Returns a function that runs one step: cross entropy at every level, SGD.

    Without momentum, and the gradients go after each step: otherwise the idle networks would hold gigabytes.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast(image.device.type, amp_dtype(image.device), enabled=amp):
            logits = network(image)
        losses = [functional.cross_entropy(x.float(), t) for x, t in zip(logits, targets, strict=True)]
        sum(losses).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def amp_dtype(device: torch.device) -> torch.dtype:
    """fp16 on a GPU, as nnU-Net; bf16 elsewhere, where fp16 is slow."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def peak_bytes(step: Callable[[], None], device: torch.device) -> int | None:
    """Peak of allocated memory during a step, the weights of all networks left out; None without a GPU."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def run(name: str, plan: Plan, device: torch.device, *, amp: bool, compiled: bool, rounds: int) -> None:
    """Measures all networks at one plan and prints the table."""
    torch.manual_seed(0)
    networks = {key: network.to(device) for key, network in build_networks(plan).items()}
    image = torch.randn(plan.batch_size, 1, *plan.patch_size, device=device)
    with torch.no_grad():
        sizes = [level.shape[2:] for level in networks[STOCK](image)]
    targets = [torch.randint(NUM_CLASSES, (plan.batch_size, *size), device=device) for size in sizes]

    kept = {}
    for key, network in networks.items():
        with torch.autocast(device.type, amp_dtype(device), enabled=amp):
            kept[key] = kept_bytes(network, image)
    runnable = {key: torch.compile(network) if compiled else network for key, network in networks.items()}
    steps = {key: training_step(network, image, targets, amp) for key, network in runnable.items()}
    synchronise = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else None
    seconds = alternate(steps, rounds=rounds, warmup=3 if compiled else 1, synchronise=synchronise)
    peaks = {key: peak_bytes(step, device) for key, step in steps.items()}

    precision = str(amp_dtype(device)).removeprefix("torch.") if amp else "fp32"
    print(
        f"\n{name}: batch {plan.batch_size}, patch {plan.patch_size}, features {plan.features}, {device}, {precision}"
    )
    print(f"{'compiled' if compiled else 'eager'}, {rounds} rounds, {torch.get_num_threads()} threads\n")
    print("| network | step | x stock | kept (eager) | x stock | peak |\n|---|---|---|---|---|---|")
    for key, times in seconds.items():
        peak = "-" if peaks[key] is None else f"{peaks[key] / 2**20:.0f} MiB"
        print(
            f"| {key} | {statistics.median(times) * 1e3:.0f} ms | {median_ratio(times, seconds[STOCK]):.2f} "
            f"| {kept[key] / 2**20:.0f} MiB | {kept[key] / kept[STOCK]:.2f} | {peak} |"
        )
    print(f"\nTime against {STOCK}: {median_ratio(seconds[OURS], seconds[STOCK]):.2f}x (aim at most 1.6x in 2D)")
    for key in (NAIVE, NAIVE_ONE):
        print(f"Faster than {key}: {median_ratio(seconds[key], seconds[OURS]):.2f}x (aim at least 1.5x)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--amp", action="store_true", help="autocast: fp16 on a GPU, bf16 on a CPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile every network")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.plan:
        run(
            name,
            PLANS[name],
            arguments.device,
            amp=arguments.amp,
            compiled=arguments.compile,
            rounds=arguments.rounds,
        )


if __name__ == "__main__":
    main()
