"""`nnunet-spine paste -p PREDICTED -i SCANS -o OUT`."""

import argparse
import sys
from pathlib import Path

from nnunet_spine.errors import InputError

HELP = "put predicted crops of single vertebrae together to label masks of the scans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine paste`."""
    parser.add_argument(
        "-p", "--predictions", required=True, metavar="DIR",
        help="what nnUNetv2_predict --save_probabilities wrote for the crops of `nnunet-spine crop`",
    )  # fmt: skip
    parser.add_argument("-i", "--input", required=True, metavar="DIR", help="the scans, CASE_0000.nii.gz")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the masks CASE.nii.gz")
    parser.epilog = "Where crops overlap the more probable vertebra wins. Exit code 1 when a scan failed."


def run(args: argparse.Namespace) -> int:
    """Paste; see `nnunet_spine.inference.crop_files.paste_back`."""
    import numpy as np
    from tqdm import tqdm

    from nnunet_spine.anatomy import BY_NNUNET_ID
    from nnunet_spine.inference.crop_files import paste_back, scans_in
    from nnunet_spine.io.label_tables import write_mask

    if Path(args.output).resolve() == Path(args.predictions).resolve():
        raise InputError("is the folder of predictions", "choose another folder with -o", args.output)
    names = {value: level.name for value, level in BY_NNUNET_ID.items()}
    scans, failed = scans_in(args.input), 0
    for case, scan in tqdm(scans.items(), unit="scan", disable=args.quiet):
        try:
            labels, affine = paste_back(case, scan, args.predictions)
            write_mask(Path(args.output) / f"{case}.nii.gz", labels, affine, "nnunet")
            if not args.quiet:
                present = np.unique(labels)
                levels = [name for value, name in names.items() if value in present]
                tqdm.write(f"{case}: {' '.join(levels) or 'no vertebra'}")
        except InputError as error:
            failed += 1
            print(f"{case}: {error}", file=sys.stderr)
    if not args.quiet:
        print(f"{len(scans) - failed} of {len(scans)} masks in {args.output}")
    return 1 if failed else 0
