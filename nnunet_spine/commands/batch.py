"""Options and habits of the commands that work case by case."""

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_spine.jobs import Failure, Run


def add_batch_options(parser: argparse.ArgumentParser, most: int = 8) -> None:
    """Add `-np`, and `-num_parts` and `-part_id` as nnUNetv2_predict has them.

    Args:
        most: processes where no number is given.
    """
    parser.add_argument(
        "-np",
        dest="workers",
        type=_count,
        metavar="N",
        help=f"processes (default: by cores and memory, up to {most})",
    )
    parser.add_argument(
        "-num_parts", type=_count, default=1, metavar="N",
        help="do every N-th case only, as one of N runs on any machines, at once or not; the last one joins them",
    )  # fmt: skip
    parser.add_argument("-part_id", type=int, default=0, metavar="K", help="which of them, from 0 to N - 1")
    parser.set_defaults(most_workers=most)


def run_of(args: argparse.Namespace, unit: str, say: Callable[[str], None] = print) -> "Run":
    """How the options say to run.

    Args:
        unit: what a case is, for the progress bar.
        say: prints a remark, unless the options ask for quiet.

    Raises:
        InputError: no such part.
    """
    from nnunet_spine.jobs import Run, Shard, processes, progress_bar

    def progress(items: Iterable, total: int) -> Iterable:
        return progress_bar(items, total, unit=unit, what=args.command, quiet=args.quiet)

    shard = Shard(args.part_id, args.num_parts)
    quiet = (lambda line: None) if args.quiet else say
    return Run(processes(args.workers, args.most_workers), shard, quiet, progress)


def complain(args: argparse.Namespace, failures: "Iterable[Failure]") -> int:
    """Print failures on stderr, one line each, beside a bar where there is one; returns the exit code."""
    from nnunet_spine.jobs import say_beside_bar

    code = 0
    for failure in failures:
        code = 1
        say_beside_bar(f"nnunet-spine {args.command}: {failure}")
        if args.debug and failure.trace:
            say_beside_bar(failure.trace)
    return code


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected 1 or more")
    return number
