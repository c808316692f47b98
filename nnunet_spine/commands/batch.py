"""Options and habits of the commands that work case by case."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nnunet_spine.errors import InputError
from nnunet_spine.jobs import (
    HERE,
    Failure,
    Run,
    Shard,
    counted,
    processes,
    progress_bar,
    run_jobs,
    say_beside_bar,
)

J = TypeVar("J")
R = TypeVar("R")


def add_batch_options(parser: argparse.ArgumentParser, most: int = 8, *, parts: bool = True) -> None:
    """Add `-np`, and `-num_parts` and `-part_id` as nnUNetv2_predict has them.

    Args:
        most: processes where no number is given.
        parts: whether the command can do a part of its cases.
    """
    default = f"by cores and memory, up to {most}" if most > 1 else "1"
    parser.add_argument(
        "-np",
        dest="workers",
        type=_count,
        metavar="N",
        help=f"processes (default: {default})",
    )
    parser.set_defaults(most_workers=most, num_parts=1, part_id=0)
    if not parts:
        return
    parser.add_argument(
        "-num_parts", type=_count, default=1, metavar="N",
        help="do every N-th case only, as one of N runs on any machines, at once or not",
    )  # fmt: skip
    parser.add_argument("-part_id", type=int, default=0, metavar="K", help="which of them, from 0 to N - 1")


def run_of(args: argparse.Namespace, unit: str, say: Callable[[str], None] = print) -> Run:
    """How the options say to run.

    Args:
        unit: what a case is, for the progress bar.
        say: prints a remark, unless the options ask for quiet.

    Raises:
        InputError: no such part.
    """

    def progress(items: Iterable, total: int) -> Iterable:
        return progress_bar(items, total, unit=unit, what=args.command, quiet=args.quiet)

    shard = Shard(args.part_id, args.num_parts)
    quiet = (lambda line: None) if args.quiet else say
    return Run(processes(args.workers, args.most_workers), shard, quiet, progress)


@dataclass(frozen=True)
class Batch:
    """What became of the cases of a command.

    Attributes:
        results: by case, in the order of the cases; of those that did not fail.
        total: number of cases.
    """

    results: dict
    total: int

    @property
    def code(self) -> int:
        """Exit code: 1 when a case failed."""
        return int(len(self.results) < self.total)

    def share(self, what: str) -> str:
        """How many of the cases came to something: "2 of 3 maps", or "3 maps" for all."""
        done = len(self.results)
        return counted(done, what) if done == self.total else f"{done} of {counted(self.total, what)}"


def run_batch(
    args: argparse.Namespace,
    jobs: Sequence[J],
    work: Callable[[J], R],
    *,
    unit: str,
    remarks: Callable[[R], Iterable[str]] = lambda result: (),
    here: bool = False,
) -> Batch:
    """Do each case of a batch, or of the part that the options name; print what fails and remarks as they come.

    Args:
        args: with the options of `add_batch_options`.
        jobs: the cases.
        work: a function that can be pickled; its errors are failures of the case.
        unit: what a case is, for the progress bar.
        remarks: what to say of a result.
        here: use this process, for work that cannot be sent to another one.

    Raises:
        WriteError: nothing can be written.
    """
    run = run_of(args, unit)
    mine, results = run.shard.of(jobs), {}
    outcomes = run_jobs(mine, work, executor=HERE if here else run.executor, peak_bytes=peak_bytes_of)
    for outcome in run.progress(outcomes, len(mine)):
        if isinstance(outcome, Failure):
            complain(args, [outcome])
            continue
        results[outcome.case] = outcome.result
        for remark in remarks(outcome.result):
            say_beside_bar(f"{outcome.case}: {remark}")
    return Batch({job.case: results[job.case] for job in mine if job.case in results}, len(mine))


def peak_bytes_of(job: object) -> float:
    """Memory that a job says it takes, if it does."""
    return job.peak_bytes() if hasattr(job, "peak_bytes") else 0.0


def require_own_folder(output: str, **inputs: str) -> None:
    """Check that results are not put among the files they are made from.

    Args:
        output: of the command.
        inputs: what is in a folder -> the folder.

    Raises:
        InputError: the output is one of them.
    """
    for what, folder in inputs.items():
        if Path(output).resolve() == Path(folder).resolve():
            raise InputError(f"is the folder of {what}", "choose another folder with -o", output)


def complain(args: argparse.Namespace, failures: Iterable[Failure]) -> int:
    """Print failures on stderr, one line each, beside a bar where there is one; returns the exit code."""
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
