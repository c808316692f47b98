"""The progress bar of all commands, and numbers of things."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


def progress_bar(
    items: Iterable[T] | None = None,
    total: int | None = None,
    *,
    unit: str,
    what: str | None = None,
    quiet: bool = False,
) -> "tqdm":
    """A bar on stderr around items, or to be moved by `update`; none if `quiet` or where nobody watches (a log file).

    Args:
        items: what it passes on.
        total: how many there are.
        unit: what they are.
        what: heading.
    """
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit=unit, disable=quiet or not sys.stderr.isatty())


def say_beside_bar(line: str) -> None:
    """Print a line on stderr that does not share the line of a bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def counted(number: int, what: str) -> str:
    """A number of things: "1 case", "3 cases"."""
    return f"{number} {what}{'s' * (number != 1)}"
