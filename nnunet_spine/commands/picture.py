"""`nnunet-spine picture -i CT -s MASKS -o OUT`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.commands.batch import add_batch_options, require_own_folder, run_batch
from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunet_spine.io.label_ids import LabelTable

HELP = "draw a picture per case: cuts and projection of the spine, names, and errors against a reference"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine picture`."""
    parser.add_argument("-i", "--images", metavar="CT", help="a CT, or a folder of CTs; unset: labels on black")
    parser.add_argument("-s", "--masks", required=True, metavar="MASKS", help="a mask, or a folder of masks")
    parser.add_argument("-r", "--references", metavar="MASKS", help="reference masks: draw both, and mark the errors")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder for CASE.png; of a single case also a file *.png"
    )
    parser.add_argument(
        "--labels", default="auto", metavar="TABLE",
        help="what the masks' values mean: nnunet, verse, totalsegmentator, regions, spine, a dataset.json, or auto: "
        "as the files and what lies beside them say",
    )  # fmt: skip
    parser.add_argument("--reference-labels", default="auto", metavar="TABLE", help="the same for references")
    add_batch_options(parser)
    parser.epilog = (
        "Files are paired by name; endings, _0000 and the suffixes of VerSe do not matter, nor does the name of a "
        "single file. Sagittal views have anterior on the left, coronal views the patient's right. Exit code 1 when a "
        "picture failed."
    )


def run(args: argparse.Namespace) -> int:
    """Draw; see `nnunet_spine.pictures`."""
    from nnunet_spine.io.label_ids import common_kind
    from nnunet_spine.pictures.cases import PictureCase, draw_case, pair_files

    cases = pair_files(args.masks, args.images, args.references)
    one_file = Path(args.output).suffix.lower() == ".png"
    if one_file and len(cases) > 1:
        raise InputError(f"one file for {len(cases)} cases", "name a folder with -o", args.output)
    if not one_file:
        places = {"masks": args.masks, "CTs": args.images, "references": args.references}
        require_own_folder(args.output, **{what: place for what, place in places.items() if place is not None})
    references = [case.reference for case in cases if case.reference is not None]
    table = _table([case.mask for case in cases], args.labels, "--labels")
    tables = (table, _table(references, args.reference_labels, "--reference-labels") if references else table)
    kind = common_kind({table.kind for table in tables})
    as_dicts = tuple(table.to_dict() for table in tables)
    out = Path(args.output)
    jobs = [PictureCase(case, out if one_file else out / f"{case.case}.png", as_dicts, kind) for case in cases]
    if not args.quiet:
        for what, absent in (
            ("CT", [case.case for case in cases if args.images and case.image is None]),
            ("reference", [case.case for case in cases if args.references and case.reference is None]),
        ):
            if absent:
                print(f"no {what}: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''} ({len(absent)})")
    batch = run_batch(args, jobs, draw_case, unit="picture", remarks=_said(args))
    if not args.quiet:
        print(f"{batch.share('picture')} in {args.output}")
    return batch.code


def _said(args: argparse.Namespace):
    return lambda remarks: () if args.quiet else remarks


def _table(masks: Sequence[Path], name: str, option: str) -> "LabelTable":
    from nnunet_spine.io.given_masks import masks_table

    try:
        return masks_table(masks, name)
    except InputError as error:
        cure = error.cure.replace("--{role}-labels", option)
        raise InputError(error.found, cure, error.path or masks[0].parent) from None
