"""`nnunet-spine paste -p PREDICTED -i SCANS -o OUT`."""

import argparse
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, require_own_folder, run_batch

HELP = "put predicted crops of single vertebrae together to label masks of the scans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine paste`."""
    parser.add_argument(
        "-p", "--predictions", required=True, metavar="DIR",
        help="what nnUNetv2_predict --save_probabilities wrote for the crops of `nnunet-spine crop`",
    )  # fmt: skip
    parser.add_argument("-i", "--input", required=True, metavar="DIR", help="the scans, CASE_0000.nii.gz")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the masks CASE.nii.gz")
    add_batch_options(parser, most=1)
    parser.epilog = (
        "Where crops overlap the more probable vertebra wins. Exit code 1 when a scan failed, or a crop of it was not "
        "predicted."
    )


def run(args: argparse.Namespace) -> int:
    """Paste; see `nnunet_spine.inference.crop_files.paste_case`."""
    from nnunet_spine.inference.crop_files import PasteCase, paste_case, scans_in

    require_own_folder(args.output, scans=args.input, predictions=args.predictions)
    predictions, out = Path(args.predictions), Path(args.output)
    jobs = [PasteCase(case, scan, predictions, out / f"{case}.nii.gz") for case, scan in scans_in(args.input).items()]
    batch = run_batch(args, jobs, paste_case, unit="scan", remarks=lambda result: result.remarks)
    if not args.quiet:
        for case, result in batch.results.items():
            print(f"{case}: {' '.join(result.levels) or 'no vertebra'}")
        print(f"{batch.share('mask')} in {args.output}")
    return 1 if any(result.unpredicted for result in batch.results.values()) else batch.code
