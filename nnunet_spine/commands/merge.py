"""`nnunet-spine merge -d 710 720 -t 750`."""

import argparse
from typing import TYPE_CHECKING

from nnunet_spine.commands import convert

if TYPE_CHECKING:
    from nnunet_spine.dataset_conversion.convert import Plan

HELP = "join converted datasets: one label table, images linked, no scan twice, no patient on two sides of a split"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine merge`."""
    parser.add_argument(
        "-d", "--datasets", type=int, nargs="+", required=True, metavar="ID", help="numbers of vertebrae datasets"
    )
    parser.add_argument("-t", "--target", type=int, required=True, metavar="ID", help="number of the new dataset")
    parser.add_argument("--name", default="Spines", help="dataset name")
    parser.add_argument(
        "--folds", default="official", metavar="FOLDS",
        help="`official`: the training and validation cases of all of them, as fold 0; or a number, grouped by patient",
    )  # fmt: skip
    parser.add_argument(
        "--overlaps", choices=("refuse", "first"), default="refuse",
        help="scans that several datasets hold, by what their images show: refuse, or keep that of the first one",
    )  # fmt: skip
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="CASE", help="cases not to take")
    convert.add_common_arguments(parser)
    parser.set_defaults(plan=_plan)


def _plan(args: argparse.Namespace) -> "Plan":
    from nnunet_spine.dataset_conversion.merge import plan_merge
    from nnunet_spine.dataset_conversion.target import find_target

    target = find_target(args.raw, args.target, args.name)
    return plan_merge(target, args.datasets, folds=args.folds, overlaps=args.overlaps, leave_out=args.leave_out)


def run(args: argparse.Namespace) -> int:
    """Merge; see `nnunet_spine.dataset_conversion.merge`."""
    return convert.run(args)
