"""A hidden folder in which any number of runs of one piece of work are busy, and which the last one clears."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nnunet_spine.errors import InputError, write_error

try:
    import fcntl
except ImportError:  # Windows: no locks, so runs at once are the user's care
    fcntl = None

_LOCK, _IDENTITY = "lock", "identity.json"


@dataclass
class Workplace:
    """A folder for unfinished work; its lock ends with the process, however that ends.

    Attributes:
        folder: hidden by its name, created at need.
        identity: of the work, as JSON; runs with another one are kept out while somebody works here.
    """

    folder: Path
    identity: object
    _lock: IO | None = field(default=None, repr=False)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Work here, beside other runs of the same work.

        Raises:
            InputError: a run with another identity works here.
            WriteError: the folder cannot be written.
        """
        self.identity = json.loads(json.dumps(self.identity))  # as it comes back from the file
        self._enter()
        try:
            yield
        finally:
            self._lock.close()

    def _enter(self) -> None:
        from nnunet_spine.io.files import write_json  # here, so that lists and --help need not wait for nibabel

        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = (self.folder / _LOCK).open("w", encoding="utf-8")
            except OSError as error:
                raise write_error(error, self.folder) from error
            if self._alone():
                write_json(self.folder / _IDENTITY, self.identity)
            self._flock("LOCK_SH")  # waits while another run publishes
            if not self._is_current():  # which has removed the folder
                self._lock.close()
                continue
            if self._identity_there() != self.identity:
                self._lock.close()
                found = "another run with other options or sources is at work here"
                raise InputError(found, "wait for it, or choose another target", self.folder)
            return

    def is_last(self) -> bool:
        """Whether no other run is busy here any more; whoever gets True may publish, and clear the folder.

        To be asked at the end: another run may come in afterwards, and finds all work done. Of several that end at the
        same moment exactly one gets True. Where there are no locks all do.
        """
        self._flock("LOCK_UN")
        return self._alone() and self._is_current()

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _alone(self) -> bool:
        try:
            self._flock("LOCK_EX", "LOCK_NB")
        except BlockingIOError:
            return False
        return True

    def _flock(self, *flags: str) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, sum(getattr(fcntl, flag) for flag in flags))
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            return

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), (self.folder / _LOCK).stat())
        except OSError:
            return False

    def _identity_there(self) -> object:
        from nnunet_spine.io.files import read_json

        try:
            return read_json(self.folder / _IDENTITY)
        except InputError:
            return None
