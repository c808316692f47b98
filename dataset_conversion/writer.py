"""One writer for all data sets: prepares every case in a hidden folder, then shows the dataset by one rename.

Nothing is visible under the final name before every case is checked and written. Work that was interrupted is taken up
again, and any number of runs may share it: a case counts as done when its record is there, its sources hold what they
held, and the choices are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from nnunet_spine.dataset_conversion.prepare import Record
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.errors import Unfinished, write_error
from nnunet_spine.jobs import Contents, Done, Failure, Job, Run, Store, joined, run_jobs


class CaseJob(Job, Protocol):
    """Work on one case of the source, of which one or several cases of the dataset come."""

    def run(self, folder: Path | None) -> tuple[Record, ...]:
        """Check the case, and write its files below `folder` unless that is None."""

    def peak_bytes(self) -> float:
        """Memory that this takes, at most."""


@dataclass(frozen=True)
class Prepared:
    """What became of the cases.

    Attributes:
        records: of usable ones, by case.
        failures: bad ones, by case.
        contents: case -> name of a source file -> what it held.
        missing: number of cases that other parts of the run have not done yet.
    """

    records: list[Record]
    failures: list[Failure]
    contents: Mapping[str, Mapping[str, Contents | None]] = field(default_factory=dict)
    missing: int = 0


def check_cases(jobs: Sequence[CaseJob], run: Run) -> Prepared:
    """Check cases and write nothing.

    Raises:
        Unfinished: a case could not be done for want of memory or the like.
    """
    results = run_jobs(jobs, partial(_attempt, None), executor=run.executor, peak_bytes=_peak_bytes)
    return _prepared(list(run.progress(results, len(jobs))))


def prepare_cases(target: Target, jobs: Sequence[CaseJob], run: Run) -> Prepared:
    """Check and write this part's cases into the hidden folder; what lies there already from another run is kept.

    Raises:
        Unfinished: a case could not be done for want of memory or the like; the others stay for the next run.
        WriteError: the target cannot be written; finished cases stay for the next run.
    """
    folder = target.staging / "dataset"
    store = Store(target.staging / "records", _encode, _decode, partial(_is_there, folder))
    mine = run.shard.of(jobs)
    work = partial(_attempt, folder)
    results = run_jobs(mine, work, executor=run.executor, store=store, peak_bytes=_peak_bytes)
    outcomes = list(run.progress(results, len(mine)))
    if run.shard.is_whole:
        return _prepared(outcomes)
    _prepared(outcomes)  # what this part could not finish
    done, missing = joined(jobs, store)
    return _prepared(done, len(missing))


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


def _attempt(folder: Path | None, job: CaseJob) -> tuple[Record, ...]:
    return job.run(folder)


def _peak_bytes(job: CaseJob) -> float:
    return job.peak_bytes()


def _prepared(outcomes: Sequence[Done | Failure], missing: int = 0) -> Prepared:
    failures = sorted((o for o in outcomes if isinstance(o, Failure)), key=str)
    if unfinished := [failure for failure in failures if failure.transient]:
        more = f" and {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
        raise Unfinished(
            f"{unfinished[0].case}{more}: {unfinished[0].found}",
            f"{unfinished[0].cure or 'run again'}: it goes on where it stopped",
        )
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    records = sorted((record for outcome in done for record in outcome.result), key=lambda record: record.case)
    return Prepared(records, failures, {outcome.case: outcome.inputs for outcome in done}, missing)


def _encode(records: Sequence[Record]) -> list[dict]:
    return [asdict(record) for record in records]


def _decode(content: list[dict]) -> tuple[Record, ...]:
    return tuple(Record(**{**record, "files": tuple(record["files"])}) for record in content)


def _is_there(folder: Path, records: Sequence[Record]) -> bool:
    return all((folder / name).exists() for record in records for name in record.files)
