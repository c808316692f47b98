"""Many cases: finished ones are kept on disk, the others scored in worker processes."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.evaluation.case_job import CaseJob, score_from_dict, score_to_dict
from nnunet_spine.io.files import open_nifti, read_json, write_json
from nnunet_spine.scores import CaseScore

_MOST_WORKERS = 4
_PROCESS_BYTES = 300e6
_BYTES_PER_VOXEL = 4  # both label maps, what is labelled in them, and distances of one vertebra; 2.5 measured


@dataclass(frozen=True)
class Failure:
    """A case without scores.

    Attributes:
        case: its name.
        path: the file concerned, "" if none.
        message: what was found and what to do.
    """

    case: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.case}: {self.path}: {self.message}" if self.path else f"{self.case}: {self.message}"


def score_jobs(jobs: Sequence[CaseJob], folder: Path, workers: int) -> Iterator[CaseScore | Failure]:
    """Scores in order of completion, one per job.

    Each score is stored in `folder` at once, and taken from there as long as files and settings are the same.

    Raises:
        WriteError: the folder cannot be written; finished cases stay.
        InputError: a worker process was killed.
    """
    signatures = {job.case: _signature(job) for job in jobs}  # before scoring: a file may change meanwhile
    left = []
    for job in jobs:
        stored = _stored(_path(folder, job), signatures[job.case])
        if stored is None:
            left.append(job)
        else:
            yield stored
    for job, result in _results(left, workers):
        if isinstance(result, CaseScore):
            write_json(_path(folder, job), {"signature": signatures[job.case], "score": score_to_dict(result)})
        yield result


def choose_workers(jobs: Sequence[CaseJob], wanted: int | None) -> int:
    """Number of processes: as wanted, else at most 4, the usable cores, and what fits into half of the memory."""
    if wanted is not None:
        return max(1, wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    largest = max((_voxels(job) for job in jobs), default=0)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8e9
    fitting = int(memory / 2 / (_PROCESS_BYTES + _BYTES_PER_VOXEL * largest))
    return max(1, min(_MOST_WORKERS, cores, fitting))


def _voxels(job: CaseJob) -> int:
    try:
        return int(np.prod(open_nifti(job.files.mask or job.files.prediction).shape, dtype=np.int64))
    except InputError:  # reported when its turn comes
        return 0


def _path(folder: Path, job: CaseJob) -> Path:
    return folder / f"{job.case}.json"


def _signature(job: CaseJob) -> str:
    try:
        return job.signature()
    except OSError:  # a file is gone, or a link leads nowhere: reported when its turn comes
        return ""


def _stored(path: Path, signature: str) -> CaseScore | None:
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        return score_from_dict(content["score"]) if content["signature"] == signature else None
    except (InputError, KeyError, TypeError):  # of another version, or damaged: score again
        return None


def _attempt(job: CaseJob) -> CaseScore | Failure:
    try:
        return job.run()
    except WriteError:
        raise
    except InputError as error:
        return Failure(job.case, str(error.path or ""), str(InputError(error.found, error.cure)))
    except MemoryError:
        return Failure(job.case, str(job.files.prediction), "not enough memory. Use fewer processes (-np 1)")
    except OSError as error:
        return Failure(job.case, str(error.filename or ""), f"not readable ({error.strerror or error})")


def _results(jobs: Sequence[CaseJob], workers: int) -> Iterator[tuple[CaseJob, CaseScore | Failure]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from ((job, _attempt(job)) for job in jobs)
        return
    # Spawned, since forking a process with threads (numpy, edt) may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_die_on_interrupt) as pool:
        futures = {pool.submit(_attempt, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            cure = "run again with fewer processes (-np 1): it goes on where it stopped"
            raise InputError("a worker process was killed, probably for want of memory", cure) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _die_on_interrupt() -> None:
    """Ctrl-C ends workers at once and without a traceback; only the main process writes files."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
