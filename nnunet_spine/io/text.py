"""Text files as people's programs write them: encodings, line ends, and tables of cells."""

import codecs
import csv
import io
from pathlib import Path

from nnunet_spine.errors import InputError

_MARKS = {  # UTF-32's little-endian mark begins with UTF-16's
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = (",", ";", "\t")


def decode(content: bytes) -> str:
    """Text of unknown encoding, line ends as newlines.

    The rule: a byte order mark decides; without one, zero bytes tell UTF-16; then UTF-8 if it is valid, and else
    Windows-1252, the superset of Latin-1 that Windows editors save as "ANSI". Every byte has a meaning in the last.

    Raises:
        UnicodeDecodeError: broken UTF-16 or UTF-32, or a wrong mark.

    Example:
        >>> [decode("é".encode(name)) for name in ("utf-8", "utf-8-sig", "utf-16", "latin-1")]
        ['é', 'é', 'é', 'é']
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:200]:
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    text = _unmarked(content) if encoding is None else content.decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unmarked(content: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")  # five bytes mean nothing in Windows-1252


def read_text(path: str | Path) -> str:
    """The text of a file, see `decode`.

    Raises:
        InputError: missing, not readable, or no text.
    """
    try:
        return decode(Path(path).read_bytes())
    except FileNotFoundError:
        raise InputError("no such file", "check the path", path) from None
    except OSError as error:
        raise InputError(f"not readable ({error.strerror or error})", "check the path", path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"no text ({error.reason})", "save it as UTF-8", path) from error


def read_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file as spreadsheet programs save it: number and cells, without empty lines and comments (#).

    Cells are separated by commas, semicolons or tabs, whichever splits all lines alike; space around them goes.

    Raises:
        InputError: missing, not readable, no text, or an unclosed quotation mark.
    """
    lines = ["" if line.startswith(("#", "sep=")) else line for line in read_text(path).split("\n")]  # sep=: Excel
    tables, problem = [], None
    for separator in _SEPARATORS:
        try:
            tables.append(_rows("\n".join(lines), separator))
        except csv.Error as error:
            problem = error
    if not tables:
        raise InputError(f"not readable as CSV ({problem})", "save it as CSV again", path)

    def fit(rows: list[tuple[int, list[str]]]) -> tuple[bool, int]:
        widths = [len(cells) for _, cells in rows] or [0]
        return min(widths) == max(widths) > 1, widths[0]

    return max(tables, key=fit)


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(number, row) for number, row in rows if any(row)]


def read_records(path: str | Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The lines of a CSV file with a header line, by column name in lower case; cells that are missing are "".

    Args:
        columns: which must be there.

    Raises:
        InputError: as `read_rows`, a column is missing or there twice, or a line has more cells than the header.
    """
    rows = read_rows(path)
    names = [name.lower() for name in rows[0][1]] if rows else []
    if missing := [name for name in columns if names.count(name) != 1]:
        found = f"the header line has {names.count(missing[0])} columns '{missing[0]}'"
        raise InputError(found, f"give a CSV file with a line of column names, among them {', '.join(columns)}", path)
    records = []
    for number, cells in rows[1:]:
        if len(cells) > len(names):
            raise InputError(f"line {number} has {len(cells)} cells for {len(names)} columns", "correct it", path)
        records.append(dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=True)))
    return records
