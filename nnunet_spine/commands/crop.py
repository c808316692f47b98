"""`nnunet-spine crop -i SCANS -c CENTRES -o CROPS`."""

import argparse
import functools
import sys
from pathlib import Path

from nnunet_spine.errors import InputError

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
    parser.epilog = (
        "Then: nnUNetv2_predict -i CROPS -o PREDICTED --save_probabilities ..., and nnunet-spine paste -p PREDICTED. "
        "Exit code 1 when a scan failed."
    )


def run(args: argparse.Namespace) -> int:
    """Cut; see `nnunet_spine.inference.crop_files.cut`."""
    from tqdm import tqdm

    from nnunet_spine.anatomy import BY_NAME, NAMES
    from nnunet_spine.inference.crop_files import cut, scans_in

    levels = args.levels or NAMES
    if unknown := [name for name in levels if name not in BY_NAME]:
        raise InputError(f"--levels {' '.join(unknown)}", f"give some of {' '.join(NAMES)}")
    if Path(args.output).resolve() == Path(args.input).resolve():
        raise InputError("is the folder of scans", "choose another folder with -o", args.output)
    scans, written, failed = scans_in(args.input), 0, 0
    say = functools.partial(tqdm.write, file=sys.stderr)
    for case, scan in tqdm(scans.items(), unit="scan", disable=args.quiet):
        try:
            written += len(cut(case, scan, Path(args.centres), Path(args.output), levels, say))
        except InputError as error:
            failed += 1
            print(f"{case}: {error}", file=sys.stderr)
    if not args.quiet:
        print(f"{written} crops of {len(scans) - failed} of {len(scans)} scans in {args.output}")
    return 1 if failed else 0
