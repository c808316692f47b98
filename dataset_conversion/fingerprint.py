"""What a case is made of, as plain values: the same in every process and on every machine."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath


def plain(value: object, path_text: Callable[[PurePath], str] = str) -> object:
    """A value as JSON has them; dataclasses with their type, functions by their name.

    Args:
        path_text: what stands for a path.

    Raises:
        TypeError: something else, whose text might hold an address in memory.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, PurePath):
        return path_text(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__qualname__, {f.name: plain(getattr(value, f.name), path_text) for f in fields(value)}]
    if isinstance(value, Mapping):
        return [[plain(key, path_text), plain(item, path_text)] for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, path_text) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item, path_text) for item in value]
    if isinstance(value, functools.partial):
        return [plain(part, path_text) for part in (value.func, value.args, value.keywords)]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"{type(value).__name__}; expected plain values, dataclasses or named functions")


def digest(lines: Iterable[object]) -> str:
    """Checksum of lines of text, 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(map(str, lines)).encode(errors="surrogateescape")).hexdigest()[:16]
