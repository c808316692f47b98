"""What becomes of a case: a result, or a failure that says what to do."""

import errno
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nnunet_spine.errors import InputError, Unfinished
from nnunet_spine.jobs.contents import Contents

R = TypeVar("R")

_OF_THE_MACHINE = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
"""Memory, open files, disk: not the fault of the file that was read."""


@dataclass(frozen=True)
class Done(Generic[R]):
    """A case with a result.

    Attributes:
        case: its name.
        result: of its work.
        inputs: name of each input file -> contents that the result was made of (None: no such file); empty where the
            work is not kept in a store.
    """

    case: str
    result: R
    inputs: Mapping[str, Contents | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A case without a result.

    Attributes:
        case: its name.
        found: what came, and where it helps, what was expected.
        cure: what the user can do.
        path: the file concerned, "" if none.
        transient: not the fault of the case's files (memory, a killed process): running again may help, so nothing may
            be concluded about the case.
        trace: traceback of an error that nobody foresaw.
    """

    case: str
    found: str
    cure: str = ""
    path: str = ""
    transient: bool = False
    trace: str = ""

    @property
    def message(self) -> str:
        """What was found and what to do, without case and file."""
        return str(InputError(self.found, self.cure))

    @property
    def text(self) -> str:
        """File, what was found and what to do."""
        return str(InputError(self.found, self.cure, self.path or None))

    def __str__(self) -> str:
        return f"{self.case}: {self.text}"


def failure_of(case: str, error: Exception) -> Failure:
    """The failure that an exception stands for."""
    if isinstance(error, InputError):
        return Failure(case, error.found, error.cure, str(error.path or ""))
    if isinstance(error, Unfinished):
        return Failure(case, error.found, error.cure, str(error.path or ""), transient=True)
    if isinstance(error, MemoryError):
        return Failure(case, "not enough memory", "use fewer processes (-np 1)", transient=True)
    if isinstance(error, OSError):
        found = f"not readable ({error.strerror or error})"
        return Failure(case, found, path=str(error.filename or ""), transient=error.errno in _OF_THE_MACHINE)
    trace = "".join(traceback.format_exception(error))
    found = f"{type(error).__name__}: {error}"
    return Failure(case, found, "this should not happen: please report it with what --debug shows", trace=trace)
