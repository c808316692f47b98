"""Cases in, what became of them out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.jobs.contents import Contents, contents_of
from nnunet_spine.jobs.executors import HERE, Executor, Lost
from nnunet_spine.jobs.outcome import Done, Failure, failure_of
from nnunet_spine.jobs.shards import WHOLE, Shard
from nnunet_spine.jobs.store import Store

R = TypeVar("R")


class Job(Protocol):
    """One case; can be pickled. `inputs` and `parameters` are asked for only where work is kept in a store."""

    @property
    def case(self) -> str:
        """Unique name, also the name of its record."""

    def inputs(self) -> Mapping[str, Path]:
        """Name -> file, of all files whose contents the result depends on; they need not exist."""

    def parameters(self) -> object:
        """All else that the result depends on, version included, as JSON."""


J = TypeVar("J", bound=Job)


def _as_they_are(items: Iterable, total: int) -> Iterable:
    return items


@dataclass(frozen=True)
class Run:
    """How a batch of cases runs; changes nothing about its results.

    Attributes:
        executor: what computes.
        shard: the part of the cases to do.
        say: prints a remark.
        progress: wraps an iterator of known length, e.g. with a bar.
    """

    executor: Executor = HERE
    shard: Shard = WHOLE
    say: Callable[[str], None] = print
    progress: Callable[[Iterable, int], Iterable] = _as_they_are


ALONE = Run()
"""All cases, one after another, in this process."""


def run_jobs(
    jobs: Sequence[J],
    work: Callable[[J], R],
    *,
    executor: Executor = HERE,
    store: Store | None = None,
    peak_bytes: Callable[[J], float] | None = None,
) -> Iterator[Done[R] | Failure]:
    """What became of each job, as they finish; first those that were finished before.

    Args:
        jobs: the cases, longest first where that is known.
        work: a function that can be pickled; its errors become failures of the case.
        executor: what computes.
        store: keeps finished cases, each at once; also failures that the case's files explain.
        peak_bytes: memory that a job needs beside what Python takes.

    Raises:
        WriteError: nothing can be written; cases finished before stay in the store.
        InputError: worker processes cannot start, or two cases of one store have one name.
    """
    left = []
    if store and (twice := [case for case, count in Counter(job.case for job in jobs).items() if count > 1]):
        raise InputError(f"two cases called {twice[0]}", "give each a name of its own")
    for job in jobs:
        known = store.find(job) if store else None
        if known is None:
            left.append(job)
        else:
            yield known
    for index, outcome in executor.run(partial(_attempt, work, store), left, peak_bytes):
        if isinstance(outcome, WriteError):
            raise outcome
        if isinstance(outcome, Lost):
            outcome = Failure(left[index].case, f"its process {outcome.reason}", outcome.cure, transient=True)
        yield outcome
    if store:
        store.tidy()


def _attempt(work: Callable[[J], R], store: Store | None, job: J) -> Done[R] | Failure | WriteError:
    """Runs where the executor is: in a worker process, or on another machine."""
    inputs = {}
    try:
        if store:  # before the work: a file may change meanwhile, and is then found to be another
            store.forget(job)
            inputs = contents_of_inputs(job)
        outcome = Done(job.case, work(job), inputs)
    except WriteError as error:
        return error
    except Exception as error:
        outcome = failure_of(job.case, error)
    try:
        if store:
            store.put(job, outcome, inputs)
    except WriteError as error:
        return error
    return outcome


def contents_of_inputs(job: Job) -> dict[str, Contents | None]:
    """Name of each input file -> what it holds, None where there is none.

    Raises:
        OSError: there, but not readable.
    """
    return {name: contents_of(path) for name, path in job.inputs().items()}


def joined(jobs: Sequence[J], store: Store) -> tuple[list[Done | Failure], list[J]]:
    """What all parts of a run left in the store, in the order of `jobs`; and the jobs of which nothing is known."""
    found = [(job, store.find(job)) for job in jobs]
    return [outcome for _, outcome in found if outcome is not None], [job for job, outcome in found if outcome is None]
