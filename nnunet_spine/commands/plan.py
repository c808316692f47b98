"""`nnunet-spine plan`: plans for nnU-Net that suit spines and our networks."""

import argparse
import math
import sys

from nnunet_spine.errors import InputError
from nnunet_spine.io.environment import check_plans_name, nnunet_folder, nnunet_processes, raw_dataset
from nnunet_spine.jobs import usable_cores
from nnunet_spine.trainers import get_recipe
from nnunet_spine.training.preconditions import DEFAULT_PLANS, check_folder_name
from nnunet_spine.training.recipes import shortest

HELP = "plan a converted dataset for nnU-Net: spacing, sagittal slices, memory of our networks"

CPU_VOXELS_PER_STEP = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", dest="dataset", required=True, help="dataset id or name")
    parser.add_argument(
        "-tr", dest="trainer", default="ConvLSTMTrainer", help="trainer or recipe whose network has to fit the memory"
    )
    parser.add_argument(
        "--spacing",
        nargs="+",
        type=float,
        metavar="MM",
        help="target spacing in mm: one number, or cranio-caudal antero-posterior left-right; unset: the median",
    )
    parser.add_argument(
        "--patch",
        nargs=3,
        type=int,
        metavar="VOXELS",
        help="patch size cranio-caudal, antero-posterior, left-right, e.g. 64 112 96 for vertebra crops (with "
        "--spacing 1); unset: what fits the memory",
    )
    parser.add_argument(
        "--whole-volume",
        action="store_true",
        help="patches that show the whole of the largest scan: 128 voxels (or --patch) along each axis, at 1.5 mm or "
        "as much coarser as it takes (or --spacing)",
    )
    parser.add_argument(
        "--sagittal", action="store_true", help="slices of the 2d configuration are sagittal whatever the spacing"
    )
    parser.add_argument(
        "--window",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="clip CT to this range of HU, e.g. -512 1024, and map it to 0 to 2; unset: as the labelled bone has it",
    )
    parser.add_argument("--gpu-memory", type=float, default=8.0, metavar="GB", help="memory of the GPU to plan for")
    parser.add_argument(
        "--cpu", action="store_true", help="a small configuration that trains in minutes on two CPU cores"
    )
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS, help="name of the plans to write")
    parser.add_argument("-np", dest="processes", type=int, default=4, help="worker processes for reading the images")
    parser.add_argument("--verify", action="store_true", help="run nnU-Net's dataset integrity check first")


def run(args: argparse.Namespace) -> None:
    spacing_mm = _spacing(args.spacing)
    if args.patch and min(args.patch) < 8:
        raise InputError(f"--patch {' '.join(map(str, args.patch))}; expected three numbers of at least 8")
    if args.window and not args.window[0] < args.window[1]:
        raise InputError(f"--window {args.window[0]:g} {args.window[1]:g}; expected a lower and a higher HU")
    if args.gpu_memory <= 0:
        raise InputError(f"--gpu-memory {args.gpu_memory:g}; expected a positive number of GB")
    check_plans_name(args.plans_name)
    raw_dataset(args.dataset)
    nnunet_folder("nnUNet_preprocessed")
    recipe = get_recipe(args.trainer)
    check_folder_name(recipe.name, args.plans_name, recipe.trainer.recommended, shortest(recipe))
    from nnunet_spine.planning import CPU_MEMORY_GB, CPU_SPACING_MM, WHOLE_VOLUME_PATCH, PlanOptions, plan_dataset

    options = PlanOptions(
        network=recipe.settings.network,
        spacing_mm=spacing_mm or (CPU_SPACING_MM if args.cpu and not args.whole_volume else None),
        patch_size=tuple(args.patch) if args.patch else WHOLE_VOLUME_PATCH if args.whole_volume else None,
        whole_volume=args.whole_volume,
        sagittal=args.sagittal,
        cpu=args.cpu,
        window_hu=tuple(args.window) if args.window else None,
    )
    plans = plan_dataset(
        args.dataset,
        options,
        gpu_memory_gb=CPU_MEMORY_GB if args.cpu else args.gpu_memory,
        plans_name=args.plans_name,
        processes=args.processes,
        verify=args.verify,
        quiet=args.quiet,
    )
    for name, configuration in plans["configurations"].items():
        if "patch_size" in configuration:
            stages = configuration["architecture"]["arch_kwargs"]["n_stages"]
            print(
                f"{name:12} spacing {_times(configuration['spacing'])} mm, "
                f"patch {_times(configuration['patch_size'])}, batch {configuration['batch_size']}, {stages} stages"
            )
    if args.quiet:
        return
    if args.cpu:
        _warn_of_hours(plans["configurations"])
    dataset = int(plans["dataset_name"][7:10])  # DatasetXXX_Name; nnUNetv2_preprocess takes numbers only
    recommended = recipe.trainer.recommended
    configuration = recommended if recommended in plans["configurations"] else "2d"
    device = " -device cpu" if args.cpu else ""
    processes = nnunet_processes(usable_cores(), gpu=False)
    export = f"  export {' '.join(f'{name}={n}' for name, n in processes.items())}\n" if args.cpu else ""
    print(
        f"\nNext:\n{export}  nnUNetv2_preprocess -d {dataset} -plans_name {args.plans_name} -c {configuration}\n"
        f"  nnUNetv2_train {dataset} {configuration} 0 -p {args.plans_name} -tr {args.trainer}{device}"
    )


def _warn_of_hours(configurations: dict[str, dict]) -> None:
    """Say so where a training step of a CPU plan is far larger than what a few cores do in a second."""
    for name, configuration in configurations.items():
        voxels = math.prod(configuration.get("patch_size", [0])) * configuration.get("batch_size", 0)
        if voxels > CPU_VOXELS_PER_STEP:
            print(
                f"nnunet-spine plan: {name} takes {voxels / 1e6:.1f} million voxels per training step: hours on a few "
                "cores. Leave out --whole-volume, give a smaller --patch, or shorten the training (-tr "
                "TRAINER_10epochs_25iters)",
                file=sys.stderr,
            )


def _spacing(values: list[float] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3 or min(values) <= 0:
        raise InputError(f"--spacing {' '.join(map(str, values))}; expected one or three positive numbers in mm")
    return tuple(values)


def _times(values: list[float]) -> str:
    return " x ".join(f"{v:.4g}" for v in values)
