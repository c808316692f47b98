"""`nnunet-spine report`: one HTML page for an evaluation."""

import argparse
import sys
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, complain, run_of
from nnunet_spine.jobs import counted

HELP = "one self-contained HTML page for an evaluation: numbers, distributions, pictures, slices and surfaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-e",
        "--evaluation",
        type=Path,
        required=True,
        help="evaluation.json, or comparison.json of several methods, or its folder",
    )
    parser.add_argument("-o", "--output", type=Path, help="page to write; unset: report.html beside it")
    parser.add_argument("--title", help="heading of the page; unset: the method's name, or a general one")
    parser.add_argument(
        "--viewers",
        type=_number_or_all,
        default=12,
        metavar="N",
        help="how many of the most suspicious cases get interactive slices and surfaces, or 'all'",
    )
    parser.add_argument("--cases", nargs="+", default=[], metavar="NAME", help="further cases that get them")
    add_batch_options(parser, most=4)


def run(args: argparse.Namespace) -> int:
    from nnunet_spine.report import ReportOptions, build_comparison, build_report, is_comparison

    folder = args.evaluation if args.evaluation.is_dir() else args.evaluation.parent
    if is_comparison(args.evaluation):
        path = build_comparison(args.evaluation, args.output or folder / "report.html", args.title)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB, methods side by side)")
        return 0
    run_ = run_of(args, "case")
    options = ReportOptions(args.title, args.viewers, tuple(args.cases))
    report = build_report(args.evaluation, args.output or folder / "report.html", options, run_)
    code = complain(args, report.failures)
    if report.missing:
        print(f"{run_.shard} drawn; {report.path} waits for {counted(report.missing, 'case')} of other parts")
        return code
    if not args.quiet:
        for case, problems in report.problems.items():
            print(f"{case}: {' '.join(problems)}", file=sys.stderr)
    viewers = f"{report.viewers} case{'s' * (report.viewers != 1)} with slices and surfaces"
    print(f"{report.path} ({report.size_bytes / 1e6:.1f} MB, {viewers})")
    return code


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
