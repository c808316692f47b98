"""The parser of the command line: one line per mistake, the nearest right word, defaults as one would type them."""

import argparse
import difflib
import re
from collections.abc import Iterable


class Parser(argparse.ArgumentParser):
    """`argparse` whose errors are one line; subcommands made from it are of the same kind.

    Options are written in full: a shortened one would change its meaning when another option comes to begin alike.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_known_args(self, args=None, namespace=None):
        """As `argparse`, but what is left over is an error of this (sub)command and not of the whole program."""
        namespace, left = super().parse_known_args(args, namespace)
        if left:
            self.error(self._left_over(left))
        return namespace, left

    def error(self, message: str) -> None:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {' '.join(_with_suggestion(message).split())} (see {self.prog} -h)\n")

    def _left_over(self, words: list[str]) -> str:
        word = next((word for word in words if word.startswith("-")), words[0])
        if not word.startswith("-"):
            return f"unexpected argument '{word}'"
        option = word.split("=")[0]
        known = [name for action in self._actions for name in action.option_strings]
        return f"unknown option {option}{did_you_mean(option, known)}"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there is one, several values as they are typed: `60 20 20`."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help if action.default in (None, False, [], ()) else super()._get_help_string(action)

    def _expand_help(self, action: argparse.Action) -> str:
        if not isinstance(action.default, list | tuple) or not action.default:
            return super()._expand_help(action)
        default = action.default
        action.default = " ".join(map(str, default))
        try:
            return super()._expand_help(action)
        finally:
            action.default = default


def common_options(default: object = False) -> argparse.ArgumentParser:
    """A parent parser with the options of every command.

    Args:
        default: `argparse.SUPPRESS` in a subcommand's subcommand, which must not undo what stands before its name.
    """
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("everywhere")
    group.add_argument(
        "--quiet", action="store_true", default=default, help="no progress bars and no remarks, only results and errors"
    )
    group.add_argument("--debug", action="store_true", default=default, help="show the traceback of an error")
    return common


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` with the nearest known word, or nothing where none is near.

    Example:
        >>> did_you_mean("--spaceing", ["--spacing", "--seed"])
        '; did you mean --spacing?'
        >>> did_you_mean("--levels", ["--spacing", "--seed"])
        ''
    """
    lower = {name.lower(): name for name in known}
    starts = [name for name in lower if len(word.strip("-")) > 1 and name.startswith(word.lower())]
    near = starts or difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.7)
    return f"; did you mean {lower[near[0]]}?" if near else ""


def _with_suggestion(message: str) -> str:
    """A message of `argparse` about a choice, with the nearest one."""
    match = re.search(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)$", message, re.DOTALL)
    if not match:
        return message
    choices = [choice.strip(" '\"") for choice in match[2].split(",")]
    suggestion = did_you_mean(match[1], choices)
    listed = suggestion or f"; there is {', '.join(choices)}"
    return f"{message[: match.start()]}no choice '{match[1]}'{listed}"
