"""`nnunet-spine relabel -i MASKS -o OUT`."""

import argparse
from collections import Counter
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, counted, require_own_folder, run_batch
from nnunet_spine.errors import InputError

HELP = "give every bone of vertebra masks one name that fits its neighbours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine relabel`."""
    parser.add_argument("-i", "--input", required=True, metavar="MASKS", help="a mask, or a folder with masks")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the masks and their reports")
    parser.add_argument(
        "-s", "--scans", metavar="PATH",
        help="the CT of the mask, or a folder with CASE.nii.gz or CASE_0000.nii.gz: ribs and a sacrum tell levels",
    )  # fmt: skip
    parser.add_argument(
        "--labels", default="auto", metavar="TABLE",
        help="what the values mean: nnunet, verse, totalsegmentator, a dataset.json, `instances` (numbers that are no "
        "names), or auto: as the files and what lies beside them say",
    )  # fmt: skip
    parser.add_argument(
        "--sure", type=float, default=0.5, metavar="P",
        help="change a mask only if all its names are right with this probability",
    )  # fmt: skip
    parser.add_argument("--normal", action="store_true", help="only spines of 12 thoracic and 5 lumbar levels")
    add_batch_options(parser)
    parser.epilog = (
        "Only names change, of whole bones; the outline stays. A mask that is right, or of which it is not sure, is "
        "copied as it is. relabel.csv lists what changed and how sure it is, CASE_relabel.json each bone. Exit code 1 "
        "when a mask failed."
    )


def run(args: argparse.Namespace) -> int:
    """Relabel; see `nnunet_spine.inference.relabel_files`."""
    if not 0 <= args.sure <= 1:
        raise InputError(f"--sure {args.sure:g}", "give a probability from 0 to 1")
    from nnunet_spine.inference.relabel_files import (
        TABLE_FILE,
        RelabelCase,
        relabel_file,
        scans_of,
        write_table,
    )
    from nnunet_spine.io.given_masks import masks_in, table_for
    from nnunet_spine.io.masks import case_name

    masks, out = masks_in(args.input), Path(args.output)
    require_own_folder(args.output, masks=str(Path(args.input) if Path(args.input).is_dir() else masks[0].parent))
    twice = [name for name, count in Counter(map(case_name, masks)).items() if count > 1]
    if twice:
        raise InputError(f"two masks of the case {twice[0]}", "keep one of them", args.input)
    table = table_for(masks, args.labels)
    content = table.to_dict() if table else None
    scans = scans_of(masks, Path(args.scans)) if args.scans else {}
    without = [case_name(mask) for mask in masks if args.scans and mask not in scans]
    if without and not args.quiet:
        print(f"{counted(len(without), 'mask')} without a scan, named without it, e.g. {without[0]}")
    jobs = [RelabelCase(case_name(mask), mask, out, content, args.normal, args.sure, scans.get(mask)) for mask in masks]
    batch = run_batch(args, jobs, relabel_file, unit="mask", remarks=lambda row: row.remarks)
    rows = list(batch.results.values())
    part = f"_part{args.part_id}" if args.num_parts > 1 else ""
    write_table(out / TABLE_FILE.replace(".csv", f"{part}.csv"), rows)
    if not args.quiet:
        states = Counter(row.state for row in rows)
        print(
            f"{counted(len(rows), 'mask')}: {states['unchanged']} unchanged, {states['changed']} changed, "
            f"{states['unsure']} unsure and left as they are; {out / TABLE_FILE}"
        )
    return batch.code
