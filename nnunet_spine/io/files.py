"""Reading and writing files so that nothing is ever half written."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nnunet_spine.errors import InputError, write_error
from nnunet_spine.io.text import read_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = ".partial-"
_YOUNG_S, _OLD_S = 1.0, 86_400.0

# What file systems answer when they cannot link: another device, no such operation, no permission, too many links.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` when the block ends without an error.

    The name starts with a dot, so nnU-Net and our own scans never take it for a case.

    Raises:
        WriteError: the folder cannot be written to or the disk is full (the temporary file is removed).
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:])
    temporary = handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, suffix=suffix, dir=path.parent)
        temporary = Path(name)
        if fcntl is None:
            os.close(handle)
            handle = None
        else:  # says to `remove_left_over` that somebody is at work
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise write_error(error, path) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def remove_left_over(folder: str | Path) -> None:
    """Remove the temporary files of runs that were killed; those of living ones, on any machine, stay."""
    for path in Path(folder).glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if path.is_file() and _is_left_over(path):
                path.unlink()


def _is_left_over(path: Path) -> bool:
    age_s = time.time() - path.stat().st_mtime
    if fcntl is None or age_s < _YOUNG_S:  # perhaps not locked yet
        return age_s > _OLD_S
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return age_s > _OLD_S
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically; names of files that are no UTF-8 keep their bytes (surrogateescape)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | Path, content: object) -> None:
    """Write JSON atomically, indented, with a final newline."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: str | Path) -> object:
    """Read JSON in any encoding that `text.decode` knows.

    Raises:
        InputError: missing, unreadable or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"not readable as JSON ({error})", "restore the file", path) from error


def link_or_copy(source: str | Path, path: str | Path, *, copy: bool = False) -> str:
    """Make `path` hold the content of `source` without decoding it; appears atomically.

    Tries a hard link, then a symbolic link to the resolved source, then a copy.

    Args:
        source: an existing file; never changed.
        path: the new name; its folder is created.
        copy: copy at once. A copy is independent of the source: later changes to one do not show in the other.

    Returns:
        "hardlink", "symlink" or "copy".

    Raises:
        InputError: the source cannot be read.
        WriteError: nothing could be written.
    """
    source = Path(source).resolve()
    if not os.access(source, os.R_OK):
        raise InputError("no such file, or not readable", "check the path and its permissions", source)
    ways = {"hardlink": os.link, "symlink": os.symlink, "copy": shutil.copyfile}
    with atomic_path(path) as temporary:
        for way in ["copy"] if copy else list(ways):
            temporary.unlink(missing_ok=True)
            try:
                ways[way](source, temporary)
                return way
            except OSError as error:
                if way == "copy" or error.errno not in _NO_LINK:
                    raise
    raise AssertionError("unreachable")
