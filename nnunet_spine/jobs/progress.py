"""The progress bar of all commands."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress_bar(
    items: Iterable[T], total: int | None = None, *, unit: str, what: str | None = None, quiet: bool = False
) -> Iterator[T]:
    """Pass items on under a bar on stderr; without one if `quiet`, or where nobody watches (a log file, a pipe)."""
    from tqdm import tqdm

    return iter(tqdm(items, total=total, desc=what, unit=unit, disable=quiet or not sys.stderr.isatty()))


def say_beside_bar(line: str) -> None:
    """Print a line on stderr that does not share the line of a bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
