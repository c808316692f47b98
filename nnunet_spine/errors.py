"""The one exception for bad input."""

from os import PathLike


class InputError(ValueError):
    """Input that cannot be used: says which file, what was found, and what to do about it.

    The command line prints it as one line and exits with code 2.

    Args:
        found: what came and, where it helps, what was expected ("4-D image (512, 512, 300, 2); expected 3-D").
        cure: what the user can do ("extract one volume first").
        path: the file or folder concerned.
    """

    def __init__(self, found: str, cure: str = "", path: "str | PathLike | None" = None):
        self.found, self.cure, self.path = found, cure, path
        super().__init__(found, cure, path)

    def __str__(self) -> str:
        head = f"{self.path}: " if self.path is not None else ""
        tail = f". {self.cure[0].upper()}{self.cure[1:]}" if self.cure else ""
        return " ".join(f"{head}{self.found}{tail}".split())
