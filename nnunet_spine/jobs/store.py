"""Finished cases on disk, one JSON file each."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.jobs.contents import Contents, unchanged
from nnunet_spine.jobs.outcome import Done, Failure


def _same(value: object) -> object:
    return value


def _always(result: object) -> bool:
    return True


@dataclass(frozen=True)
class Store:
    """A folder with one record per finished case; picklable, so that workers write to it themselves.

    Records appear atomically and say what they were made of, so any number of runs may use one folder at once.

    Attributes:
        folder: created at need.
        encode: result -> JSON; a function that can be pickled.
        decode: the inverse. May raise KeyError, TypeError or ValueError for a record of another version.
        complete: whether all that belongs to a result is there, e.g. its files.
    """

    folder: Path
    encode: Callable[[object], object] = _same
    decode: Callable[[object], object] = _same
    complete: Callable[[object], bool] = _always

    def find(self, job: object) -> Done | Failure | None:
        """What is known of a case, or None: never done, done with other parameters or files, incomplete, or damaged."""
        from nnunet_spine.io.files import read_json  # here, so that lists and --help need not wait for nibabel

        path = self._path(job)
        try:
            noted_ns = path.stat().st_mtime_ns
            content = read_json(path)
            if content["parameters"] != _digest(job.parameters()):
                return None
            inputs = {name: Contents(**then) if then else None for name, then in content["inputs"].items()}
            files = job.inputs()
            if files.keys() != inputs.keys():
                return None
            if not all(unchanged(files[name], then, noted_ns) for name, then in inputs.items()):
                return None
            if "failure" in content:
                failure = Failure(**content["failure"])
                return failure if not failure.path or Path(failure.path).exists() else None
            result = self.decode(content["result"])
        except (InputError, OSError, KeyError, TypeError, ValueError, AttributeError):
            return None
        return Done(job.case, result, inputs) if self.complete(result) else None

    def put(self, job: object, outcome: Done | Failure, inputs: dict[str, Contents | None]) -> None:
        """Keep what became of a case, unless running again, or another version, may change it.

        Raises:
            WriteError: the folder cannot be written.
        """
        from nnunet_spine.io.files import write_json

        content = {
            "parameters": _digest(job.parameters()),
            "inputs": {name: asdict(held) if held else None for name, held in inputs.items()},
        }
        if isinstance(outcome, Done):
            content["result"] = self.encode(outcome.result)
        elif not (outcome.transient or outcome.trace):
            content["failure"] = asdict(outcome)
        else:
            return
        write_json(self._path(job), content)

    def forget(self, job: object) -> None:
        """Remove a case's record before its files are made anew, which then are not of that record any more."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._path(job).unlink()

    def tidy(self) -> None:
        """Remove what killed runs left half written."""
        from nnunet_spine.io.files import remove_left_over

        remove_left_over(self.folder)

    def _path(self, job: object) -> Path:
        return self.folder / f"{job.case}.json"


def _digest(parameters: object) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).hexdigest()
