"""Options and habits of the commands that work case by case."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_spine.jobs import Executor, Failure, Shard


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


def executor_of(args: argparse.Namespace) -> "Executor":
    """What the options say to compute with."""
    from nnunet_spine.jobs import processes

    return processes(args.workers, args.most_workers)


def shard_of(args: argparse.Namespace) -> "Shard":
    """The part of the cases that the options name.

    Raises:
        InputError: no such part.
    """
    from nnunet_spine.jobs import Shard

    return Shard(args.part_id, args.num_parts)


def bar_of(args: argparse.Namespace, unit: str) -> Callable[[Iterable, int], Iterator]:
    """What wraps an iterator of known length with a progress bar, unless the options or a log file forbid one."""
    from nnunet_spine.jobs import progress_bar

    def progress(items: Iterable, total: int) -> Iterator:
        return progress_bar(items, total, unit=unit, what=args.command, quiet=args.quiet)

    return progress


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
