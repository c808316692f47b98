"""`nnunet-spine report`: one HTML page for an evaluation."""

import argparse
import os
import sys
from pathlib import Path

from nnunet_spine.errors import InputError

HELP = "one self-contained HTML page for an evaluation: numbers, distributions, pictures, slices and surfaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-e", "--evaluation", type=Path, required=True, help="evaluation.json, or its folder")
    parser.add_argument("-o", "--output", type=Path, help="page to write; unset: report.html beside evaluation.json")
    parser.add_argument("--title", help="heading of the page; unset: the method's name, or a general one")
    parser.add_argument(
        "--viewers",
        type=_number_or_all,
        default=12,
        metavar="N",
        help="how many of the most suspicious cases get interactive slices and surfaces, or 'all'",
    )
    parser.add_argument("--cases", nargs="+", default=[], metavar="NAME", help="further cases that get them")
    parser.add_argument("-np", dest="processes", type=int, default=min(4, os.cpu_count() or 1), help="worker processes")


def run(args: argparse.Namespace) -> None:
    if args.processes < 1:
        raise InputError(f"-np {args.processes}; expected 1 or more")
    from tqdm import tqdm

    from nnunet_spine.report import ReportOptions, build_report

    folder = args.evaluation if args.evaluation.is_dir() else args.evaluation.parent
    options = ReportOptions(args.title, args.viewers, tuple(args.cases), args.processes)
    report = build_report(
        args.evaluation,
        args.output or folder / "report.html",
        options,
        progress=lambda items, total: tqdm(items, total=total, desc="report", unit="case", disable=args.quiet),
    )
    if not args.quiet:
        for case, problems in report.problems.items():
            print(f"{case}: {' '.join(problems)}", file=sys.stderr)
    viewers = f"{report.viewers} case{'s' * (report.viewers != 1)} with slices and surfaces"
    print(f"{report.path} ({report.size_bytes / 1e6:.1f} MB, {viewers})")


def _number_or_all(text: str) -> int | None:
    if text == "all":
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"'{text}'; expected a number or 'all'")
    return number
