"""`nnunet-spine model pack|show|install`."""

import argparse
import json
from pathlib import Path

HELP = "make one file of a trained model, show what a model is, or install one as nnU-Net's folder"
_SHIPPED = "unset: the model that comes with the package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three subcommands."""
    from nnunet_spine.commands.arguments import common_options

    subparsers = parser.add_subparsers(dest="action", metavar="what", required=True)
    for name, text, add, do in (
        (
            "pack",
            "make one file of a model folder, without pickled code, with checksums and its card",
            _pack_args,
            _pack,
        ),
        ("show", "show the card of a model, and check its file", _show_args, _show),
        ("install", "write a model as nnU-Net's folder, for its own programs", _install_args, _install),
    ):
        sub = subparsers.add_parser(
            name,
            help=text,
            description=text,
            parents=[common_options(argparse.SUPPRESS)],
            formatter_class=parser.formatter_class,
        )
        add(sub)
        sub.set_defaults(do=do)


def run(args: argparse.Namespace) -> None:
    """Pack, show or install."""
    args.do(args)


def _pack_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", required=True, metavar="DIR", help="model folder that nnUNetv2_train wrote")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="file to write (.zip); its card goes beside it as .md"
    )
    parser.add_argument(
        "--card", required=True, metavar="FILE",
        help="JSON with name, licence and training_data, and where you have them summary, citation, use, made, seeds, "
        "figures, limits",
    )  # fmt: skip
    parser.add_argument("-f", "--folds", nargs="+", default=[], metavar="F", help="unset: all that are trained")
    parser.add_argument("-chk", "--checkpoint", metavar="FILE", help="of each fold; unset: checkpoint_final.pth")
    parser.add_argument("--float16", action="store_true", help="half the size; weights are rounded to three digits")


def _show_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"packaged file or model folder; {_SHIPPED}")
    parser.add_argument("--json", action="store_true", help="as JSON, for scripts")


def _install_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="FILE", help=f"packaged file; {_SHIPPED}")
    parser.add_argument("-o", "--output", metavar="DIR", help="results folder (default: variable nnUNet_results)")
    parser.add_argument(
        "--plans-for", metavar="ID",
        help="also put its plans beside those of this dataset, so that a training of it can start from the weights",
    )  # fmt: skip


def _pack(args: argparse.Namespace) -> None:
    from nnunet_spine.inference.model_cards import Card
    from nnunet_spine.inference.model_networks import build_network
    from nnunet_spine.inference.model_packages import write_package
    from nnunet_spine.inference.model_pages import page_of
    from nnunet_spine.inference.model_reading import read_model
    from nnunet_spine.io.files import read_json, write_text

    card = Card.from_json(read_json(args.card), args.card)
    model = read_model(args.model, folds=args.folds, checkpoint=args.checkpoint)
    for member in model.members:
        build_network(member)  # so that nobody packs weights that do not fit
    path = Path(args.output)
    packed = write_package(model, card, path, precision="float16" if args.float16 else "float32")
    write_text(path.with_suffix(".md"), page_of(packed))
    if not args.quiet:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, sha256 {packed.sha256[:12]}; {path.with_suffix('.md')}")


def _show(args: argparse.Namespace) -> None:
    from nnunet_spine.inference.model_pages import facts_of, page_of
    from nnunet_spine.inference.model_reading import read_model

    model = read_model(args.model)
    if args.json:
        card = model.card.to_json() if model.card else {}
        print(json.dumps({**model.identity, "card": card, "facts": facts_of(model)}, indent=2))
    else:
        print(page_of(model), end="")


def _install(args: argparse.Namespace) -> None:
    from nnunet_spine.inference.model_install import checkpoints_in, install_folder, plans_for
    from nnunet_spine.inference.model_pages import page_of
    from nnunet_spine.inference.model_reading import read_model
    from nnunet_spine.io.environment import nnunet_folder

    model = read_model(args.model)
    results = Path(args.output) if args.output else nnunet_folder("nnUNet_results")
    member = model.only_member()
    plans = plans_for(member, args.plans_for) if args.plans_for else None
    folder = install_folder(model, results, page_of(model))
    if args.quiet:
        return
    print(f"{model.name} in {folder}")
    if plans is not None:
        name, configuration = member.plans["plans_name"], member.configuration
        print(f"plans in {plans}; train from its weights with")
        print(f"  nnUNetv2_preprocess -d {args.plans_for} -plans_name {name} -c {configuration}")
        print(
            f"  nnUNetv2_train {args.plans_for} {configuration} 0 -p {name} -tr {member.trainer} "
            f"-pretrained_weights {checkpoints_in(folder)[0]}"
        )
