"""`nnunet-spine crop -i SCANS -c CENTRES -o CROPS`."""

import argparse
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, require_own_folder, run_batch
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import counted

HELP = "cut crops around vertebrae for a model of single vertebrae"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine crop`."""
    parser.add_argument("-i", "--input", required=True, metavar="DIR", help="scans named CASE_0000.nii.gz")
    parser.add_argument(
        "-c", "--centres", required=True, metavar="DIR",
        help="for each scan CASE.json (body centres in RAS mm, as `convert` writes them) or a mask CASE.nii.gz with "
        "nnU-Net ids",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for CASE_LEVEL_0000.nii.gz")
    parser.add_argument(
        "--levels", nargs="+", metavar="LEVEL",
        help="only these levels, best those the model was trained on (default: all with a centre)",
    )  # fmt: skip
    add_batch_options(parser, most=1)
    parser.epilog = (
        "Then: nnUNetv2_predict -i CROPS -o PREDICTED --save_probabilities ..., and nnunet-spine paste -p PREDICTED. "
        "Exit code 1 when a scan failed."
    )


def run(args: argparse.Namespace) -> int:
    """Cut; see `nnunet_spine.inference.crop_files.cut`."""
    from nnunet_spine.anatomy import BY_NAME, NAMES
    from nnunet_spine.inference.crop_files import CropCase, cut, require_no_others, scans_in

    levels = tuple(args.levels or NAMES)
    if unknown := [name for name in levels if name not in BY_NAME]:
        raise InputError(f"--levels {' '.join(unknown)}", f"give some of {' '.join(NAMES)}")
    require_own_folder(args.output, scans=args.input, centres=args.centres)
    scans, centres, out = scans_in(args.input), Path(args.centres), Path(args.output)
    require_no_others(out, scans)
    jobs = [CropCase(case, scan, centres, out, levels) for case, scan in scans.items()]
    batch = run_batch(args, jobs, cut, unit="scan", remarks=lambda result: result.remarks)
    cuts = batch.results.values()
    written = sum(len(result.levels) for result in cuts)
    if not written and batch.code == 0 and args.num_parts == 1:
        there = {name for result in cuts for name in result.left_out}
        found = " ".join(name for name in NAMES if name in there) or "none"
        raise InputError(f"no scan has {' '.join(args.levels or ['a centre'])}", f"centres there are: {found}")
    if not args.quiet:
        print(f"{counted(written, 'crop')} of {counted(len(cuts), 'scan')} in {args.output}")
    return batch.code
