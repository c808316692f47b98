"""`nnunet-spine spine-map -i IMAGES -o OUT -m MODEL`."""

import argparse
from functools import partial
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, require_own_folder, run_batch
from nnunet_spine.errors import InputError

HELP = "write maps of where the spine is, with a model of AttentionTrainer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--input", required=True, metavar="DIR", help="images named as for nnU-Net: case_0000.nii.gz"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write case_attention.nii.gz to")
    parser.add_argument("-m", "--model", required=True, metavar="DIR", help="model folder that nnUNetv2_train wrote")
    parser.add_argument(
        "-f", "--folds", nargs="+", default=[], metavar="F", help="folds to average; unset: all that are trained"
    )
    parser.add_argument("-chk", "--checkpoint", metavar="FILE", help="of each fold; unset: checkpoint_final.pth")
    parser.add_argument("-device", "--device", metavar="D", help="cuda, cpu or mps; unset: cuda if there is one")
    add_batch_options(parser, most=1)
    parser.epilog = "Exit code 1 when a case failed."


def run(args: argparse.Namespace) -> int:
    """Write the maps; see `nnunet_spine.inference.spine_map.write_map`."""
    if not Path(args.input).is_dir():
        raise InputError("no such folder", "check the path", args.input)
    require_own_folder(args.output, images=args.input)
    from nnunet_spine.inference.devices import find_device
    from nnunet_spine.inference.spine_map import MapCase, cases_in, load_model, write_map

    device = find_device(args.device)
    model = load_model(args.model, device, folds=args.folds, checkpoint=args.checkpoint)
    cases = cases_in(args.input, model.dataset_json["file_ending"])
    jobs = [MapCase(case, tuple(files), Path(args.output)) for case, files in cases.items()]
    batch = run_batch(args, jobs, partial(write_map, model, device), unit="scan", here=True)
    if not args.quiet:
        print(f"{batch.share('map')} in {args.output}")
    return batch.code
