"""The command line `nnunet-spine`.

Exit codes: 0 done, 1 finished with a failure that is not the input's fault, 2 bad input or usage, 130 interrupted,
141 nobody read the output to its end.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from nnunet_spine import __version__
from nnunet_spine.commands import COMMANDS
from nnunet_spine.commands.arguments import HelpFormatter, Parser, common_options
from nnunet_spine.commands.output import drop_output, printable_everywhere
from nnunet_spine.errors import InputError, Unfinished, WriteError

_EXIT_CODES = (
    "exit codes: 0 done, 1 failed (a case, the disk, memory), 2 bad input or usage, 130 interrupted, "
    "141 nobody read the output to its end"
)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; imports neither torch nor nnU-Net.

    Example:
        >>> build_parser().parse_args(["phantom", "-o", "phantoms", "-n", "5"]).number
        5
    """
    parser = Parser(prog="nnunet-spine", description="Vertebrae in CT with nnU-Net v2.", epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"nnunet-spine {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"nnunet_spine.commands.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            parents=[common_options()],
            formatter_class=HelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    name = next((f"nnunet-spine {word}" for word in argv if word in COMMANDS), "nnunet-spine")
    printable_everywhere()
    try:
        args = build_parser().parse_args(argv)
        return args.run(args) or 0
    except BrokenPipeError:  # e.g. `nnunet-spine labels | head`
        drop_output()
        return 141
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except (InputError, WriteError, Unfinished, MemoryError) as error:
        if "--debug" in argv:
            raise
        print(f"{name}: {error if str(error) else 'not enough memory'}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


if __name__ == "__main__":
    sys.exit(main())
