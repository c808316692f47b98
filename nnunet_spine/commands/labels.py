"""`nnunet-spine labels`: the table of levels, ids and colours."""

import argparse
import json

from nnunet_spine.anatomy import LEVELS, REGION_NAMES

HELP = "show vertebral levels with their ids in VerSe, in our nnU-Net datasets, and their colours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for scripts")


def run(args: argparse.Namespace) -> None:
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
