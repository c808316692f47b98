"""`nnunet-spine labels`: the table of levels, ids and colours; with -i, put it into masks."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.anatomy import LEVELS, REGION_NAMES
from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunet_spine.io.label_tables import Kind

HELP = "show vertebral levels with ids and colours, or give masks (-i) their names for viewers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine labels`."""
    parser.add_argument("--json", action="store_true", help="show them as JSON, for scripts")
    parser.add_argument(
        "-i", "--input", type=Path, metavar="PATH",
        help="mask or folder of masks (.nii, .nii.gz): put the table into each file's header, voxels untouched, and "
        "write labels.json and tables for ITK-SNAP and 3D Slicer beside them; again changes nothing",
    )  # fmt: skip
    parser.add_argument(
        "--kind", metavar="KIND",
        help="with -i, what the values mean: nnunet, verse, regions, spine or vertebra; "
        "unset: as a dataset.json beside or above the masks says, or names in their headers, else by their values",
    )  # fmt: skip
    parser.add_argument(
        "--seg-nrrd", type=Path, metavar="DIR",
        help="with -i, also write each mask as NAME.seg.nrrd, which 3D Slicer opens with names and colours",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Show the table, or put it into masks."""
    if args.input is not None:
        _tag(args)
        return
    if args.kind or args.seg_nrrd:
        raise InputError("--kind or --seg-nrrd without -i", "name the masks with -i")
    rows = [
        {
            "name": level.name,
            "region": REGION_NAMES[level.region],
            "verse": level.verse_id,
            "nnunet": level.nnunet_id,
            "color": level.hex_color,
        }
        for level in LEVELS
    ]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'level':6}{'region':10}{'VerSe id':>9}{'nnU-Net id':>12}   color")
    for row in rows:
        print(f"{row['name']:6}{row['region']:10}{row['verse']:9}{row['nnunet']:12}   {row['color']}")


def _tag(args: argparse.Namespace) -> None:
    from nnunet_spine.io.label_tagging import write_label_tables
    from nnunet_spine.io.masks import case_name
    from nnunet_spine.io.slicer_files import write_seg_nrrd

    done = write_label_tables(args.input, args.kind)
    n_masks = len(done.masks)
    print(
        f"{n_masks} mask{'s' * (n_masks != 1)} with the table '{_title(done.kind)}', {done.written} of them written now"
    )
    if args.seg_nrrd is not None:
        for mask in done.masks:
            write_seg_nrrd(mask, args.seg_nrrd / f"{case_name(mask)}.seg.nrrd", done.kind)
        print(f"{n_masks} segmentations for 3D Slicer in {args.seg_nrrd}")


def _title(kind: "Kind") -> str:
    return kind if isinstance(kind, str) else " ".join(f"{name}={value}" for name, value in list(kind.items())[:6])
