"""`nnunet-spine demo`: the whole way once, on phantoms."""

import argparse
import os
import sys
from pathlib import Path

HELP = "phantoms, conversion, planning, training, prediction, scores and pictures, in about ten minutes on two cores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", dest="output", type=Path, default=Path("nnunet-spine-demo"), help="folder for everything")
    parser.add_argument("-n", dest="cases", type=int, help="number of phantoms")
    parser.add_argument("--seed", type=int, help="seed of the phantoms")
    parser.add_argument("--epochs", type=int, help="epochs of training")
    parser.add_argument("--iterations", type=int, help="training steps per epoch")
    parser.add_argument("-tr", dest="trainer", help="trainer or recipe, without its numbers of epochs and iterations")
    parser.add_argument("-device", choices=("cpu", "cuda"), help="unset: cuda where there is one")
    parser.add_argument("-np", dest="processes", type=int, default=min(4, os.cpu_count() or 1), help="worker processes")


def run(args: argparse.Namespace) -> int:
    from nnunet_spine.demo import DemoOptions, StepFailed, run_demo
    from nnunet_spine.errors import InputError

    chosen = {name: getattr(args, name) for name in DemoOptions.__dataclass_fields__ if getattr(args, name) is not None}
    options = DemoOptions(**chosen)
    if options.cases < 5 or options.epochs < 1 or options.iterations < 1:
        raise InputError("the demo needs at least 5 phantoms, 1 epoch and 1 iteration")
    from nnunet_spine.trainers import get_recipe

    get_recipe(options.recipe)  # a wrong name should not wait until the training
    from nnunet_spine.inference.devices import find_device

    device = find_device(args.device).type
    try:
        run_demo(args.output, options, device=device, processes=max(1, args.processes), quiet=args.quiet)
    except StepFailed as error:
        print(f"nnunet-spine demo: {error}\nStart the demo again to go on from this step.", file=sys.stderr)
        return 1
    return 0
