"""Standard output and error: safe on any terminal, quiet when nobody reads them."""

import codecs
import os
import sys
import unicodedata

_PLAIN = {"±": "+/-", "×": "x", "–": "-", "→": "->", "≥": ">=", "≤": "<=", "µ": "u", "’": "'"}


def printable_everywhere() -> None:
    """Let any character be printed whatever the terminal's encoding; what it lacks is written in plain letters.

    Names of files that are no valid text show their odd bytes as `\\xe9`.
    """
    codecs.register_error("nnunet_spine.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="nnunet_spine.plain")


def drop_output() -> None:
    """Let nothing more reach a standard output whose reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Error handler of codecs: replaces the characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_replacement(c) for c in error.object[error.start : error.end]), error.end


def _replacement(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a file name, as Python carries it
        return f"\\x{ord(character) - 0xDC00:02x}"
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _PLAIN.get(character) or letters or "?"
