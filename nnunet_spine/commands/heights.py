"""`nnunet-spine heights -i MASKS -o OUT`."""

import argparse
from collections import Counter
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, counted, require_own_folder, run_batch
from nnunet_spine.errors import InputError

HELP = "heights of vertebral bodies per level, as a table and a figure of the cohort"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine heights`."""
    parser.add_argument("-i", "--input", required=True, metavar="MASKS", help="a mask, or a folder with masks")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for heights.csv and heights.png")
    parser.add_argument(
        "--labels", default="auto", metavar="TABLE",
        help="what the values mean: nnunet, verse, totalsegmentator, a dataset.json, or auto: as the files and what "
        "lies beside them say",
    )  # fmt: skip
    add_batch_options(parser)
    parser.epilog = (
        "The axis of a body runs parallel to the line between its neighbours' body centres. A height is the median "
        "length of bone along it in the front, middle or rear fifth of the body's depth, within 5 mm of the middle. "
        "C1 and C2 have none, nor do bodies cut by the border of the volume or without a neighbour: the column "
        "`reason` says why. Exit code 1 when a mask failed."
    )


def run(args: argparse.Namespace) -> int:
    """Measure and draw; see `nnunet_spine.heights`."""
    from nnunet_spine.evaluation.heights import HeightCase, measure_heights, write_table
    from nnunet_spine.io.given_masks import masks_in, table_for
    from nnunet_spine.io.masks import case_name
    from nnunet_spine.pictures.heights import heights_picture

    masks, out = masks_in(args.input), Path(args.output)
    require_own_folder(args.output, masks=str(masks[0].parent))
    twice = [name for name, count in Counter(map(case_name, masks)).items() if count > 1]
    if twice:
        raise InputError(f"two masks of the case {twice[0]}", "keep one of them", args.input)
    table = table_for(masks, args.labels)
    if table is None:
        raise InputError("masks without levels", "name them with nnunet-spine relabel, or give --labels", args.input)
    jobs = [HeightCase(case_name(mask), mask, table.to_dict()) for mask in masks]
    batch = run_batch(args, jobs, measure_heights, unit="mask", remarks=lambda found: found.remarks)
    cases = list(batch.results.values())
    if not cases:
        return batch.code
    heights: dict[str, list[tuple[float, float, float]]] = {}
    for case in cases:
        for name, h in case.levels.items():
            if not h.reason:
                heights.setdefault(name, []).append((h.anterior_mm, h.middle_mm, h.posterior_mm))
    part = f"_part{args.part_id}" if args.num_parts > 1 else ""
    write_table(out / f"heights{part}.csv", cases)
    heights_picture(heights, out / f"heights{part}.png")
    if not args.quiet:
        n = sum(map(len, heights.values()))
        print(f"{n} bod{'y' if n == 1 else 'ies'} of {counted(len(cases), 'mask')} in {out / f'heights{part}.csv'}")
    return batch.code
