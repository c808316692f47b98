"""The ways to fail: input that cannot be used, a target that cannot be written, work that could not be finished."""

import errno
from os import PathLike

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY}


class _OneLine(Exception):
    """One line that says which file, what was found, and what to do about it."""

    def __init__(self, found: str, cure: str = "", path: "str | PathLike | None" = None):
        self.found, self.cure, self.path = found, cure, path
        super().__init__(found, cure, path)

    def __str__(self) -> str:
        head = f"{self.path}: " if self.path is not None else ""
        tail = f". {self.cure[0].upper()}{self.cure[1:]}" if self.cure else ""
        return " ".join(f"{head}{self.found}{tail}".split())


class InputError(_OneLine, ValueError):
    """Input that cannot be used: says which file, what was found, and what to do about it.

    The command line prints it as one line and exits with code 2.

    Args:
        found: what came and, where it helps, what was expected ("4-D image (512, 512, 300, 2); expected 3-D").
        cure: what the user can do ("extract one volume first").
        path: the file or folder concerned.

    Example:
        >>> print(InputError("4-D image; expected 3-D", "extract one volume", "scan.nii.gz"))
        scan.nii.gz: 4-D image; expected 3-D. Extract one volume
    """


class WriteError(_OneLine, RuntimeError):
    """The target cannot be written: disk full, no permission, a file where a folder should be.

    Not the input's fault: the command line prints it as one line and exits with code 1. Arguments as `InputError`.
    """


class Unfinished(_OneLine, RuntimeError):
    """Work that ended before its time through no fault of the input: memory, or a process that was killed.

    What is done is kept, and running again helps. The command line prints it as one line and exits with code 1.
    Arguments as `InputError`.
    """


def write_error(error: OSError, path: "str | PathLike", *, found: str = "cannot be written") -> WriteError:
    """What to raise when the system refused to write `path`, with the cure that fits its reason.

    Example:
        >>> print(write_error(PermissionError(errno.EACCES, "Permission denied"), "/data/out"))
        /data/out: cannot be written (Permission denied). Choose a folder you can write to
    """
    cure = "choose a folder you can write to"
    if error.errno in _FULL:
        cure = "free some space or choose another folder"
    elif error.errno in _IN_THE_WAY:
        cure = "remove what lies there or choose another folder"
    return WriteError(f"{found} ({error.strerror or error})", cure, path)
