"""Where work is done: the interface, and this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Lost:
    """A job whose process ended before its result.

    Attributes:
        reason: as the end of a sentence about the job, e.g. "killed (SIGKILL), probably for want of memory".
        cure: what the user can do.
    """

    reason: str
    cure: str = ""


class Executor(Protocol):
    """Applies a function to jobs, anywhere. A scheduler of a cluster is one more class with this method."""

    def run(
        self, work: Callable[[J], R], jobs: Sequence[J], peak_bytes: Callable[[J], float] | None = None
    ) -> Iterator[tuple[int, R | Lost]]:
        """Index of each job and its result, once each, in the order in which they finish.

        Args:
            work: raises nothing, and can be pickled like the jobs and its results.
            peak_bytes: memory that a job needs beside what Python takes.

        Closing the iterator ends what is still running.
        """


class Here:
    """One job after another in this process."""

    def run(
        self, work: Callable[[J], R], jobs: Sequence[J], peak_bytes: Callable[[J], float] | None = None
    ) -> Iterator[tuple[int, R | Lost]]:
        for index, job in enumerate(jobs):
            yield index, work(job)


HERE = Here()
