"""One writer for all data sets: prepares every case in a hidden folder, then shows the dataset by one rename.

Nothing is visible under the final name before every case is checked and written. Work that was interrupted is taken up
again: a case counts as done when its record is there and its signature (sources and choices) still holds.
"""

import contextlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from nnunet_spine.dataset_conversion.case import Problem
from nnunet_spine.dataset_conversion.prepare import Record
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.errors import InputError, WriteError, write_error
from nnunet_spine.io.files import read_json, write_json

try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None


class CaseJob(Protocol):
    """Work on one case of the source, of which one or several cases of the dataset come; picklable."""

    @property
    def case(self) -> str: ...

    def signature(self) -> str:
        """Changes whenever the result would."""

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        """Check the case, and write its files below `folder` unless that is None."""


Progress = Callable[[Iterator, int], Iterator]


def check_cases(jobs: Sequence[CaseJob], workers: int, progress: Progress) -> tuple[list[Record], list[Problem]]:
    """Check cases and write nothing.

    Returns:
        Records and problems, each sorted by case.
    """
    return _sorted(progress((result for _, result in _results(jobs, None, workers)), len(jobs)))


def prepare_cases(
    target: Target, jobs: Sequence[CaseJob], workers: int, progress: Progress
) -> tuple[list[Record], list[Problem]]:
    """Check and write cases into the hidden folder; what lies there already from an interrupted run is kept.

    Returns:
        Records and problems, each sorted by case.

    Raises:
        WriteError: the target cannot be written; finished cases stay for the next run.
    """
    done, left = [], []
    for job in jobs:
        records = _stored_records(target, job)
        (left.append(job) if records is None else done.append(records))

    def results() -> Iterator[tuple[Record, ...] | Problem]:
        yield from done
        signatures = {job.case: job.signature() for job in left}
        for case, result in _results(left, target.staging / "dataset", workers):
            if not isinstance(result, Problem):
                content = {"signature": signatures[case], "records": [asdict(record) for record in result]}
                write_json(_record_path(target, case), content)
            yield result

    return _sorted(progress(results(), len(jobs)))


def publish(target: Target, files: set[str]) -> None:
    """Give the prepared dataset its final name, with exactly these files in it.

    Raises:
        WriteError: the folder cannot be renamed.
    """
    folder = target.staging / "dataset"
    for path in sorted(folder.rglob("*"), reverse=True):
        # Left over from a killed run, or from cases that are no longer part of the dataset.
        if not path.is_dir() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    try:
        folder.rename(target.folder)
    except OSError as error:
        raise write_error(error, target.folder, found="cannot be renamed") from error
    discard(target)


def discard(target: Target) -> None:
    """Remove unfinished work."""
    shutil.rmtree(target.staging, ignore_errors=True)


@contextlib.contextmanager
def lock(target: Target) -> Iterator[None]:
    """Keep a second run out of the same unfinished work; the lock ends with the process, however that ends.

    Raises:
        InputError: another run holds it.
        WriteError: the folder cannot be written.
    """
    new = not target.raw.exists()
    try:
        target.staging.mkdir(parents=True, exist_ok=True)
        file = (target.staging / "lock").open("w")
    except OSError as error:
        raise write_error(error, target.raw) from error
    with file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError("another run writes this dataset", "wait for it", target.folder) from None
            except OSError:  # file systems without locks
                pass
        try:
            yield
        finally:
            if new:  # leave no empty folder behind where nothing was written
                with contextlib.suppress(OSError):
                    target.raw.rmdir()


def _record_path(target: Target, case: str) -> Path:
    return target.staging / "records" / f"{case}.json"


def _stored_records(target: Target, job: CaseJob) -> tuple[Record, ...] | None:
    path = _record_path(target, job.case)
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        signature = content["signature"]
        records = tuple(Record(**{**record, "files": tuple(record["files"])}) for record in content["records"])
    except (InputError, TypeError, KeyError, AttributeError):
        return None
    there = all((target.staging / "dataset" / name).exists() for record in records for name in record.files)
    return records if there and signature == job.signature() else None


def _attempt(job: CaseJob, folder: Path | None) -> tuple[str, tuple[Record, ...] | Problem]:
    try:
        return job.case, job.run(folder)
    except WriteError:
        raise
    except InputError as error:
        return job.case, Problem(job.case, str(error))
    except OSError as error:
        return job.case, Problem(job.case, f"not readable ({error.strerror or error}): {error.filename or ''}")


def _results(
    jobs: Sequence[CaseJob], folder: Path | None, workers: int
) -> Iterator[tuple[str, tuple[Record, ...] | Problem]]:
    """Case of the source and its result, in order of completion; one worker works in this process."""
    if workers <= 1 or len(jobs) <= 1:
        yield from (_attempt(job, folder) for job in jobs)
        return
    # Spawned, since forking a process with threads (numpy, edt) may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        waiting: set[Future] = set()
        try:
            queue = iter(jobs)
            for job in queue:
                waiting.add(pool.submit(_attempt, job, folder))
                if len(waiting) >= 4 * workers:
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BrokenProcessPool as error:
            cure = "run again with fewer workers (-np 1): it goes on where it stopped"
            raise InputError("a worker process was killed, probably for want of memory", cure) from error
        finally:
            for future in waiting:
                future.cancel()


def _sorted(results: Iterator[tuple[Record, ...] | Problem]) -> tuple[list[Record], list[Problem]]:
    everything = list(results)
    problems = sorted((p for p in everything if isinstance(p, Problem)), key=str)
    records = [record for result in everything if not isinstance(result, Problem) for record in result]
    return sorted(records, key=lambda r: r.case), problems


def available_workers(wanted: int | None) -> int:
    """Number of worker processes: as wanted, else the usable cores, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, wanted) if wanted is not None else min(8, cores)
