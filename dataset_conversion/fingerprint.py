"""What a case is made of, as plain values: the same in every process and on every machine."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath


def plain(value: object) -> object:
    """A value as JSON has them; dataclasses with their type, functions by their name.

    Raises:
        TypeError: something else, whose text might hold an address in memory.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__qualname__, {f.name: plain(getattr(value, f.name)) for f in fields(value)}]
    if isinstance(value, Mapping):
        return [[plain(key), plain(item)] for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, functools.partial):
        return [plain(value.func), plain(value.args), plain(value.keywords)]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"{type(value).__name__}; expected plain values, dataclasses or named functions")


def digest(lines: Iterable[object]) -> str:
    """Checksum of lines of text, 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(map(str, lines)).encode(errors="surrogateescape")).hexdigest()[:16]
