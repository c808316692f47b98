"""Whether a file is still the one that a result was made of."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_PIECE_BYTES = 1 << 20
_CLOCK_NS = 2_000_000_000
"""Coarsest time stamps in use (FAT); a file changed this shortly before may carry the time of the earlier one."""


@dataclass(frozen=True)
class Contents:
    """What a file held.

    Attributes:
        size: bytes.
        mtime_ns: time of its last change; contents are the same where only this differs.
        sha256: checksum of all of it.
    """

    size: int
    mtime_ns: int
    sha256: str


def contents_of(path: str | os.PathLike) -> Contents | None:
    """Contents of a file, all of it read; None where there is none.

    Raises:
        OSError: there, but not readable.
    """
    try:
        with Path(path).open("rb") as file:
            stat = os.fstat(file.fileno())
            digest = hashlib.sha256()
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Contents(stat.st_size, stat.st_mtime_ns, digest.hexdigest())


def unchanged(path: str | os.PathLike, then: Contents | None, noted_ns: int, *, thorough: bool = False) -> bool:
    """Whether a file still has the contents noted of it, reading it only where size and times cannot tell.

    Args:
        path: where it is now; it may have been moved or copied.
        then: its contents, None where there was no such file.
        noted_ns: when they were noted (the time of the record's file). Whatever touched the file later, its times
            set back or not, shows in its status change time, and makes it be read.
        thorough: read it in any case: a damaged disk changes no times.
    """
    try:
        stat = Path(path).stat()
    except OSError:
        return then is None
    if then is None or stat.st_size != then.size:
        return False
    touched_ns = max(stat.st_mtime_ns, stat.st_ctime_ns)
    if not thorough and stat.st_mtime_ns == then.mtime_ns and touched_ns + _CLOCK_NS < noted_ns:
        return True
    now = contents_of(path)
    return now is not None and now.sha256 == then.sha256
