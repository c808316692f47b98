"""`nnunet-spine verify -d 710`."""

import argparse
import os

from nnunet_spine.commands.batch import add_batch_options, counted, run_batch
from nnunet_spine.errors import InputError

HELP = "check a raw dataset: files, geometry, labels, centres, splits, and scans that are there twice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine verify`."""
    parser.add_argument("-d", "--dataset", type=int, required=True, metavar="ID", help="number of the raw dataset")
    parser.add_argument("-o", "--raw", metavar="DIR", help="folder of raw datasets (default: variable nnUNet_raw)")
    parser.add_argument(
        "--thorough", action="store_true",
        help="read sources again also where sizes and times say that nothing changed",
    )  # fmt: skip
    add_batch_options(parser, parts=False)
    parser.epilog = (
        "Takes any raw dataset of nnU-Net 2; one that convert or merge wrote is held against its manifest and its "
        "receipt, too. Prints a table with the cure of each finding; exit code 1 where there is one."
    )


def run(args: argparse.Namespace) -> int:
    """Check; see `nnunet_spine.dataset_conversion.verify`."""
    from nnunet_spine.dataset_conversion.verify import check_case, check_dataset, open_dataset, table_lines

    raw = args.raw or os.environ.get("nnUNet_raw")
    if not raw:
        raise InputError("the environment variable nnUNet_raw is not set", "set it, or give the folder with --raw")
    dataset = open_dataset(raw, args.dataset, thorough=args.thorough)
    batch = run_batch(args, dataset.cases, check_case, unit="case")
    found = [*check_dataset(dataset), *(trouble for troubles in batch.results.values() for trouble in troubles)]
    for line in table_lines(found) if found else ():
        print(line)
    if not args.quiet:
        against = "its manifest and its own files" if dataset.ours else "its own files: another program wrote it"
        what = counted(len(found), "finding") if found else "nothing is wrong"
        print(f"{counted(len(dataset.cases), 'case')} of {dataset.folder.name} checked against {against}: {what}")
    return 1 if found else batch.code
