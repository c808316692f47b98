"""The command line `nnunet-spine`.

Exit codes: 0 done, 1 finished with a failure that is not the input's fault, 2 bad input or usage, 130 interrupted,
141 nobody read the output to its end.
"""

import argparse
import importlib
import sys

from nnunet_spine import __version__
from nnunet_spine.commands import COMMANDS
from nnunet_spine.commands.common import common_options, drop_output
from nnunet_spine.errors import InputError


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; imports neither torch nor nnU-Net."""
    parser = argparse.ArgumentParser(prog="nnunet-spine", description="Vertebrae in CT with nnU-Net v2.")
    parser.add_argument("--version", action="version", version=f"nnunet-spine {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"nnunet_spine.commands.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            parents=[common_options()],
            formatter_class=_Formatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except InputError as error:
        if args.debug:
            raise
        print(f"nnunet-spine {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # e.g. `nnunet-spine labels | head`
        drop_output()
        return 141
    except KeyboardInterrupt:
        print(f"nnunet-spine {args.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
