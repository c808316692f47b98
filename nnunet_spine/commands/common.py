"""What several commands share."""

import argparse
import os
import sys


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


def drop_output() -> None:
    """Let nothing more reach a standard output whose reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
