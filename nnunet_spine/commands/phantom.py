"""`nnunet-spine phantom -o DIR -n 40 --seed 7`."""

import argparse

from nnunet_spine.commands.batch import add_batch_options, complain, run_of
from nnunet_spine.errors import InputError

HELP = "draw synthetic CT scans of spines with exact labels, in VerSe's folder layout"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine phantom`."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder to write; an interrupted run is continued"
    )
    parser.add_argument("-n", "--number", type=int, default=40, metavar="N", help="number of scans")
    parser.add_argument("--seed", type=int, default=0, help="same seed and options: same scans, for any -n and -np")
    parser.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM", default=[1.0, 3.0],
        help="voxel size in mm, 0.5 to 5: one number for all axes, three along x y z, or two: each scan draws its own "
        "between them",
    )  # fmt: skip
    parser.add_argument(
        "--view",
        choices=("mixed", "whole", "crop", "lumbar"),
        default="mixed",
        help="whole spines, 7 to 13 levels, or both (mixed); lumbar: the lowest 5 to 7 levels",
    )
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels (default: fitted to the levels in view)"
    )
    parser.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(60, 20, 20),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the three folders",
    )
    parser.add_argument(
        "--plain", action="store_true", help="easy cases: no variants, curves, fractures, implants, flips or cropping"
    )
    parser.add_argument(
        "--domain",
        choices=("usual", "wide"),
        default="usual",
        help="wide: shapes, densities, surroundings and scanners vary far more than in patients, to train models that "
        "work on real scans",
    )
    add_batch_options(parser)
    parser.epilog = "Exit code 1 when a scan could not be drawn."


def run(args: argparse.Namespace) -> int:
    """Write the tree; see `nnunet_spine.phantom.write_tree`."""
    from nnunet_spine.phantom import TreeOptions, write_tree

    if args.shape and args.view != "mixed":
        raise InputError(f"--shape together with --view {args.view}", "give one of them")
    options = TreeOptions(
        seed=args.seed,
        spacing_mm=tuple(args.spacing * 3 if len(args.spacing) == 1 else args.spacing),
        shape=tuple(args.shape) if args.shape else None,
        view=args.view,
        split=tuple(args.split),
        plain=args.plain,
        domain=args.domain,
    )
    run_ = run_of(args, "scan")
    tree = write_tree(args.output, args.number, options, run_)
    run_.say(f"{len(tree.cases)} scans of {len({case.subject for case in tree.cases})} patients in {args.output}")
    if tree.missing:
        run_.say(f"{len(tree.missing)} of {args.number} are missing ({run_.shard})")
    return complain(args, tree.failures)
