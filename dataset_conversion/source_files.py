"""Every file below a source folder, once: links are followed, loops and second names are not.

File names are bytes: a name that is not UTF-8 is an ordinary name (surrogateescape).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnunet_spine.errors import InputError

VOLUME_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".mgz")


def source_folders(sources: Iterable[str | Path]) -> list[Path]:
    """The source folders under the names that the user gave, each folder once.

    Raises:
        InputError: one is missing or no folder.
    """
    folders: dict[tuple[int, int], Path] = {}
    for source in sources:
        path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100, a link keeps its own name
        if not path.is_dir():
            raise InputError("no such folder", "check the path", path)
        folders.setdefault(_identity(path), path)
    return list(folders.values())


def walk(source: Path) -> Iterator[Path]:
    """Files below a folder in the order of their names; hidden ones and leftovers of macOS archives are left out.

    A folder that has several names is visited once, under its own name rather than a link's.
    """
    visited: set[tuple[int, int]] = set()
    waiting, linked = [source], []
    while waiting or linked:
        # Real folders come first, so that a link to one that lies in the tree finds it visited.
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            identity = _identity(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"not readable ({error.strerror})", "check its permissions", folder) from error
        if identity in visited:
            continue
        visited.add(identity)
        folders = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if not _is_folder(entry):
                yield Path(entry.path)
            elif entry.is_symlink():
                linked.append(Path(entry.path))
            else:
                folders.append(Path(entry.path))
        waiting += reversed(folders)


def same_files(paths: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether both lists name the same files, be it by links or by hard links."""
    return len(paths) == len(others) and all(_same(a, b) for a, b in zip(paths, others, strict=True))


def case_id(text: str) -> str:
    """A name as nnU-Net's case identifiers have to be: letters, digits, `-` and `_`.

    Example:
        >>> case_id("1.3.6.1.4 (2)")
        '1-3-6-1-4-2'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "case"


def stem(path: Path) -> str:
    """Name of a volume without its ending; dots in it stay."""
    lower = path.name.lower()
    ending = max((e for e in VOLUME_ENDINGS if lower.endswith(e)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


def is_volume(path: Path) -> bool:
    """Whether a file's name is that of an image or mask."""
    return path.name.lower().endswith(VOLUME_ENDINGS)


def _same(path: Path, other: Path) -> bool:
    try:
        return path == other or path.samefile(other)
    except OSError:  # a link to nothing
        return False


def volumes_left_out(seen: Iterable[Path], used: Iterable[Path]) -> tuple[Path, ...]:
    """Those of the files that look like images or masks and are part of no scan."""
    used = {os.path.realpath(path) for path in used}
    return tuple(p for p in seen if p.name.lower().endswith(VOLUME_ENDINGS) and os.path.realpath(p) not in used)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino
