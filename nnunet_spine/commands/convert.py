"""`nnunet-spine convert verse SRC [SRC ...] -d 710` and `nnunet-spine convert vertebra-crops -d 710 -t 720`."""

import argparse
import sys
from typing import TYPE_CHECKING

from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunet_spine.dataset_conversion.convert import Plan

HELP = "make an nnU-Net raw dataset of a public data set, or of single vertebrae; sources are never changed"

# Options that say how sources are read, and their defaults.
_OF_SOURCES = {
    "folds": "official",
    "prefer": "auto",
    "corrections": None,
    "min_volume": 100.0,
    "remove_islands": False,
    "drop_labels": [],
    "resample": False,
    "verify": False,
}
_NAMES = {"vertebrae": "VerSe", "regions": "VerSeRegions", "spine": "VerSeSpine"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each public data set, and `vertebra-crops`."""
    from nnunet_spine.commands.arguments import common_options
    from nnunet_spine.dataset_conversion import CONVERTERS

    subparsers = parser.add_subparsers(dest="converter", metavar="what", required=True)
    everywhere = {"parents": [common_options(argparse.SUPPRESS)], "formatter_class": parser.formatter_class}
    for name in sorted(CONVERTERS):
        text = f"{name}: images are linked, sources are never changed"
        converter = subparsers.add_parser(name, help=text, description=text, **everywhere)
        _add_data_set_arguments(converter)
        converter.set_defaults(plan=_plan_data_set)
    text = "64 x 112 x 96 crops of 1 mm around single vertebrae of a converted dataset, each with a binary label"
    crops = subparsers.add_parser("vertebra-crops", help=text, description=text, **everywhere)
    _add_crop_arguments(crops)
    crops.set_defaults(plan=_plan_crops)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--raw", metavar="DIR", help="folder of raw datasets (default: variable nnUNet_raw)")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad cases out and list them at the end")
    parser.add_argument("--dry-run", action="store_true", help="check, print the report, write nothing")
    parser.add_argument("-np", dest="workers", type=int, metavar="N", help="processes (default: cores, at most 8)")


def _add_crop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dataset", type=int, required=True, metavar="ID", help="number of the vertebrae dataset to crop from"
    )
    parser.add_argument("-t", "--target", type=int, required=True, metavar="ID", help="number of the new dataset")
    parser.add_argument("--levels", nargs="+", metavar="LEVEL", help="names of levels, or `all` (default: L2 L3 L4 L5)")
    parser.add_argument("--name", default="VertebraCrops", help="dataset name")
    _add_common_arguments(parser)


def _add_data_set_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="*", metavar="SRC", help="folders with the data, at any height; several are joined"
    )
    parser.add_argument("-d", "--dataset", type=int, required=True, metavar="ID", help="number of the nnU-Net dataset")
    parser.add_argument("--name", help="dataset name (default: VerSe, VerSeRegions or VerSeSpine)")
    parser.add_argument(
        "--labels", choices=sorted(_NAMES), default="vertebrae", help="26 levels, 3 regions, or 1 spine"
    )
    parser.add_argument(
        "--images-from",
        type=int,
        metavar="ID",
        help="regions or spine: take cases and images of this vertebrae dataset",
    )
    parser.add_argument("--folds", default="official", metavar="N", help="`official`, or N folds grouped by patient")
    parser.add_argument(
        "--prefer", choices=("auto", "2019", "2020"), default="auto",
        help="scans in both years: auto takes the subject-based layout, then 2020",
    )  # fmt: skip
    parser.add_argument(
        "--corrections", metavar="FILE", help="CSV with lines case,from,to; or `veridah` (default: none)"
    )
    parser.add_argument(
        "--min-volume", type=float, default=100.0, metavar="MM3", help="labels smaller than this are noise"
    )
    parser.add_argument("--remove-islands", action="store_true", help="also remove smaller pieces of larger labels")
    parser.add_argument(
        "--drop-labels", type=int, nargs="+", default=[], metavar="V", help="mask values to be background"
    )
    parser.add_argument(
        "--resample",
        action="store_true",
        help="resample masks of another shape, too",
    )
    parser.add_argument("--verify", action="store_true", help="verify the checksum of every image (reads all of it)")
    parser.add_argument("--copy", action="store_true", help="copy files instead of linking them")
    _add_common_arguments(parser)


def _plan_data_set(args: argparse.Namespace) -> "Plan":
    from nnunet_spine.dataset_conversion.case import Choices
    from nnunet_spine.dataset_conversion.convert import plan_conversion
    from nnunet_spine.dataset_conversion.target import find_target

    target = find_target(args.raw, args.dataset, args.name or _NAMES[args.labels])
    if args.images_from is not None:
        from nnunet_spine.dataset_conversion.derive import plan_derived

        if args.sources:
            raise InputError("sources together with --images-from", "give one of the two")
        for option, unset in _OF_SOURCES.items():
            if getattr(args, option) != unset:
                raise InputError(
                    f"--{option.replace('_', '-')} together with --images-from, which takes over cases and folds",
                    "give it when the vertebrae dataset is converted",
                )
        return plan_derived(target, args.images_from, args.labels)
    if not args.sources:
        raise InputError("no source folder", "give the folders with the data, or --images-from")
    choices = Choices(
        label_set=args.labels,
        min_volume_mm3=args.min_volume,
        remove_islands=args.remove_islands,
        drop_labels=tuple(sorted(set(args.drop_labels))),
        resample=args.resample,
        verify=args.verify,
        copy=args.copy,
    )
    return plan_conversion(
        args.converter, args.sources, target, choices,
        prefer=args.prefer, folds=args.folds, corrections=args.corrections,
    )  # fmt: skip


def _plan_crops(args: argparse.Namespace) -> "Plan":
    from nnunet_spine.anatomy import NAMES
    from nnunet_spine.dataset_conversion.target import find_target
    from nnunet_spine.dataset_conversion.vertebra_crops import DEFAULT_LEVELS, plan_crops

    levels = NAMES if args.levels == ["all"] else args.levels or DEFAULT_LEVELS
    return plan_crops(find_target(args.raw, args.target, args.name), args.dataset, levels)


def run(args: argparse.Namespace) -> int:
    """Convert; see `nnunet_spine.dataset_conversion.convert`."""
    from nnunet_spine.commands.output import drop_output
    from nnunet_spine.dataset_conversion.convert import Run, build
    from nnunet_spine.dataset_conversion.writer import available_workers

    plan = args.plan(args)

    def progress(items, total):
        from tqdm import tqdm

        return tqdm(items, total=total, unit="scan", disable=args.quiet or not sys.stderr.isatty())

    def say(line: str) -> None:
        if args.quiet:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:  # the conversion goes on when nobody reads its report
            drop_output()

    def complain(line: str) -> None:
        print(line, file=sys.stderr)

    build(plan, Run(available_workers(args.workers), args.dry_run, args.skip_bad, say, complain, progress))
    return 0
