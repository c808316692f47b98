"""`nnunet-spine convert verse SRC [SRC ...] -d 710` and `nnunet-spine convert vertebra-crops -d 710 -t 720`."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nnunet_spine.commands.batch import add_batch_options, run_of
from nnunet_spine.errors import InputError, Unfinished, WriteError

if TYPE_CHECKING:
    from nnunet_spine.dataset_conversion.case import Converter
    from nnunet_spine.dataset_conversion.convert import Plan

HELP = "make an nnU-Net raw dataset of a public data set, or of single vertebrae; sources are never changed"
_NAME_ENDINGS = {"vertebrae": "", "regions": "Regions", "spine": "Spine"}
_LABELS_HELP = {"vertebrae": "26 levels", "regions": "3 regions", "spine": "1 spine"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each public data set, and `vertebra-crops`."""
    from nnunet_spine.commands.arguments import common_options
    from nnunet_spine.dataset_conversion import converters

    subparsers = parser.add_subparsers(dest="converter", metavar="what", required=True)
    everywhere = {"parents": [common_options(argparse.SUPPRESS)], "formatter_class": parser.formatter_class}
    for name, converter in sorted(converters().items()):
        text = f"{converter.title}: images are linked where nnU-Net can read them, sources are never changed"
        own = _own_options(converter)
        known = {**everywhere, "parents": [own, *everywhere["parents"]]}
        _add_data_set_arguments(subparsers.add_parser(name, help=text, description=text, **known), converter, own)
    text = "64 x 112 x 96 crops of 1 mm around single vertebrae of a converted dataset, each with a binary label"
    crops = subparsers.add_parser("vertebra-crops", help=text, description=text, **everywhere)
    _add_crop_arguments(crops)
    crops.set_defaults(plan=_plan_crops)


def main(converter: "Converter", argv: Sequence[str] | None = None) -> int:
    """The command line of a converter that is not listed in the package; returns the exit code."""
    from nnunet_spine.commands.arguments import HelpFormatter, Parser, common_options

    own = _own_options(converter)
    parser = Parser(description=converter.title, parents=[own, common_options()], formatter_class=HelpFormatter)
    _add_data_set_arguments(parser, converter, own)
    parser.set_defaults(command="convert")
    args = parser.parse_args(argv)
    try:
        return run(args)
    except (InputError, WriteError, Unfinished) as error:
        if args.debug:
            raise
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of whatever writes a raw dataset."""
    parser.add_argument("-o", "--raw", metavar="DIR", help="folder of raw datasets (default: variable nnUNet_raw)")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad cases out and list them at the end")
    parser.add_argument(
        "--verify", action="store_true",
        help="of a finished dataset, read every source again, also where sizes and times say that nothing changed",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="check, print the report, write nothing")
    add_batch_options(parser)


def _add_crop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dataset", type=int, required=True, metavar="ID", help="number of the vertebrae dataset to crop from"
    )
    parser.add_argument("-t", "--target", type=int, required=True, metavar="ID", help="number of the new dataset")
    parser.add_argument("--levels", nargs="+", metavar="LEVEL", help="names of levels, or `all` (default: L2 L3 L4 L5)")
    parser.add_argument(
        "--folds", default="source", metavar="FOLDS",
        help="`source`: those of the vertebrae dataset; `mita`: crops of 11 scans with L2 to L5, 9 for training and 2 "
        "to validate [Mita et al.]",
    )  # fmt: skip
    parser.add_argument("--name", default="VertebraCrops", help="dataset name")
    add_common_arguments(parser)


def _own_options(converter: "Converter") -> argparse.ArgumentParser:
    """A parent parser with what only this data set has."""
    own = argparse.ArgumentParser(add_help=False)
    converter.add_arguments(own.add_argument_group(f"of {converter.title}"))
    return own


def _add_data_set_arguments(
    parser: argparse.ArgumentParser, converter: "Converter", own: argparse.ArgumentParser
) -> None:
    """The options of every data set, as far as its scans have the parts that they concern."""
    names = [f"{converter.dataset_name}{_NAME_ENDINGS[label_set]}" for label_set in converter.label_sets]
    labels = ", ".join(_LABELS_HELP[label_set] for label_set in converter.label_sets)
    parser.add_argument(
        "sources", nargs="*", metavar="SRC", help="folders with the data, at any height; several are joined"
    )
    parser.add_argument(
        "-d",
        "--dataset",
        type=int,
        required=converter.guess is None,
        metavar="ID",
        help="number of the nnU-Net dataset",
    )
    if converter.guess is not None:
        parser.add_argument("--guess", action="store_true", help="print the table that would be used, and do no more")
    parser.add_argument("--name", help=f"dataset name (default: {', '.join(names)})")
    parser.add_argument("--labels", choices=converter.label_sets, default=converter.label_sets[0], help=labels)
    parser.add_argument(
        "--declare", nargs="+", default=["all"], metavar="NAME",
        help="labels that dataset.json declares: `all`; `occurring`, numbered from 1 on (reads all masks twice); or "
        "names. nnU-Net's mean Dice is nan, and nnUNetv2_find_best_configuration stops, where a declared label occurs "
        "in no validation scan",
    )  # fmt: skip
    parser.add_argument(
        "--images-from",
        type=int,
        metavar="ID",
        help="regions or spine: take cases and images of this vertebrae dataset",
    )
    group = parser.add_argument_group("how the sources are read")
    of_sources = [*_add_source_arguments(group, converter)]
    parser.add_argument("--copy", action="store_true", help="copy files instead of linking them")
    add_common_arguments(parser)
    parser.set_defaults(
        plan=_plan_data_set,
        data_set=converter,
        own_options={action.dest: action.default for action in own._actions},
        of_sources=[(a.option_strings[-1], a.dest, a.default) for a in (*of_sources, *own._actions)],
    )


def _add_source_arguments(parser: argparse._ArgumentGroup, converter: "Converter") -> Iterable[argparse.Action]:
    from nnunet_spine.plausibility.finding import KEYS

    yield parser.add_argument(
        "--folds", default="official", metavar="FOLDS",
        help="`official`: the data set's own, as fold 0; a number of folds, grouped by patient; `mita`: 9 scans for "
        "training and 2 to validate [Mita et al.]. Only the folds of splits_final.json can be trained as they are said",
    )  # fmt: skip
    yield parser.add_argument(
        "--split", action="append", metavar="[NAME=]SPLIT",
        help="training, validation or test, where neither the data set nor a folder's name says it plainly: for all "
        "such scans, or for a folder, case or patient of this name; can be repeated",
    )  # fmt: skip
    yield parser.add_argument(
        "--accept", nargs="+", default=[], choices=sorted(KEYS), metavar="KEY",
        help="take scans in spite of what they show, and flag them: "
        + "; ".join(f"{key} ({meaning})" for key, meaning in KEYS.items()),
    )  # fmt: skip
    lists = "".join(f"; or `{name}`" for name in converter.corrections)
    yield parser.add_argument(
        "--corrections", metavar="FILE", help=f"CSV with lines case,from,to{lists} (default: none)"
    )
    if "mask" not in converter.gives:
        return
    yield parser.add_argument(
        "--min-volume", type=float, default=100.0, metavar="MM3", help="labels smaller than this are noise"
    )
    if "landmarks" in converter.gives:
        yield parser.add_argument(
            "--min-unlisted", type=float, default=2000.0, metavar="MM3",
            help="so are labels smaller than this that the scan's landmark file does not list; 0 keeps them",
        )  # fmt: skip
    yield parser.add_argument("--remove-islands", action="store_true", help="also remove smaller pieces of labels")
    yield parser.add_argument(
        "--drop-labels", type=int, nargs="+", default=[], metavar="V", help="mask values to be background"
    )
    yield parser.add_argument(
        "--border", choices=("keep", "drop", "ignore"), default="keep",
        help="vertebrae that the field of view cuts at the ends of the spine: as the data set has them, background, or "
        "nnU-Net's ignore label; data sets differ in whether they label them",
    )  # fmt: skip
    yield parser.add_argument(
        "--unlabelled", choices=("background", "ignore"), default="background",
        help="what lies beyond the labelled vertebrae, where further ones may be in view: background as the data set "
        "has it, so that scores are those of its reference, or nnU-Net's ignore label, so that a network does not "
        "learn that vertebrae are background",
    )  # fmt: skip
    yield parser.add_argument("--resample", action="store_true", help="resample masks of another shape, too")
    if "image" in converter.gives:
        yield parser.add_argument(
            "--mask-grid", dest="believe", choices=("auto", "header", "voxels"), default="auto",
            help="where a mask lies that has its image's shape and another header; auto: by the grey values under its "
            "labels",
        )  # fmt: skip


def _plan_data_set(args: argparse.Namespace) -> "Plan":
    from nnunet_spine.dataset_conversion.case import Choices
    from nnunet_spine.dataset_conversion.convert import Request, plan_conversion
    from nnunet_spine.dataset_conversion.label_sets import parse_declared
    from nnunet_spine.dataset_conversion.split_names import parse_rules
    from nnunet_spine.dataset_conversion.target import find_target

    if args.dataset is None:
        raise InputError("no number for the dataset", "give it with -d, or look at what would be used with --guess")
    name = args.name or f"{args.data_set.dataset_name}{_NAME_ENDINGS[args.labels]}"
    declared = parse_declared(args.declare, args.labels)
    target = find_target(args.raw, args.dataset, name, dry_run=args.dry_run and args.images_from is None)
    if args.images_from is not None:
        from nnunet_spine.dataset_conversion.derive import plan_derived

        if args.sources:
            raise InputError("sources together with --images-from", "give one of the two")
        for option, dest, unset in args.of_sources:
            if getattr(args, dest) != unset:
                raise InputError(
                    f"{option} together with --images-from, which takes over cases and folds",
                    "give it when the vertebrae dataset is converted",
                )
        return plan_derived(target, args.images_from, args.labels, declared)
    if not args.sources:
        raise InputError("no source folder", "give the folders with the data, or --images-from")
    unset = Choices()
    choices = Choices(
        label_set=args.labels,
        declared=declared,
        min_volume_mm3=getattr(args, "min_volume", unset.min_volume_mm3),
        min_unlisted_mm3=getattr(args, "min_unlisted", unset.min_unlisted_mm3),
        remove_islands=getattr(args, "remove_islands", unset.remove_islands),
        drop_labels=tuple(sorted(set(getattr(args, "drop_labels", unset.drop_labels)))),
        resample=getattr(args, "resample", unset.resample),
        believe=getattr(args, "believe", unset.believe),
        border=getattr(args, "border", unset.border),
        unlabelled=getattr(args, "unlabelled", unset.unlabelled),
        accept=tuple(sorted(set(args.accept))),
        copy=args.copy,
    )
    request = Request(
        options={name: getattr(args, name) for name, unset in args.own_options.items() if getattr(args, name) != unset},
        splits=parse_rules(args.split or ()),
        folds=args.folds,
        corrections=args.corrections,
    )
    return plan_conversion(args.data_set, args.sources, target, choices, request)


def _plan_crops(args: argparse.Namespace) -> "Plan":
    from nnunet_spine.anatomy import NAMES
    from nnunet_spine.dataset_conversion.target import find_target
    from nnunet_spine.dataset_conversion.vertebra_crops import DEFAULT_LEVELS, plan_crops

    levels = NAMES if args.levels == ["all"] else args.levels or DEFAULT_LEVELS
    return plan_crops(find_target(args.raw, args.target, args.name), args.dataset, levels, args.folds)


def run(args: argparse.Namespace) -> int:
    """Convert; see `nnunet_spine.dataset_conversion.convert`."""
    from nnunet_spine.commands.output import drop_output
    from nnunet_spine.dataset_conversion.convert import Manner, build

    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:  # the conversion goes on when nobody reads its report
            drop_output()

    if getattr(args, "guess", False):
        for line in args.data_set.guess(args.sources):
            say(line)
        return 0
    build(args.plan(args), run_of(args, "scan", say), Manner(args.dry_run, args.skip_bad, args.verify))
    return 0
