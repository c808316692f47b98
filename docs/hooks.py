"""Pages made from the code when the site is built: `<!-- made: commands -->` becomes the reference of the command line.

Nothing here is written twice: options come from the parser, trainers, labels and metrics from their declarations.
"""

import argparse
import html
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mkdocs.plugins import event_priority

_NOT_SHOWN = (argparse._HelpAction, argparse._SubParsersAction)
ROOT = Path(__file__).parents[1]
SIBLINGS = ("trainers", "architectures", "dataset_conversion")
sys.path.insert(0, str(ROOT))  # the checkout's package, whether or not it is installed
_COPY = Path(tempfile.mkdtemp(prefix="nnunet-spine-docs-"))


@event_priority(100)  # before mkdocstrings reads its configuration
def on_config(config):
    """Show mkdocstrings the package as it is when installed: in a checkout three of its folders lie beside it."""
    ignore = shutil.ignore_patterns("__pycache__", "vendor", "page")
    shutil.copytree(ROOT / "nnunet_spine", _COPY / "nnunet_spine", ignore=ignore, dirs_exist_ok=True)
    for name in SIBLINGS:
        shutil.copytree(ROOT / name, _COPY / "nnunet_spine" / name, ignore=ignore, dirs_exist_ok=True)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(_COPY)]
    config.watch += [str(ROOT / name) for name in ("nnunet_spine", *SIBLINGS)]
    return config


def on_post_build(config):
    """Remove the copy."""
    shutil.rmtree(_COPY, ignore_errors=True)


def on_page_markdown(markdown, **_):
    """Replace `<!-- made: NAME -->` by what the function of this name makes."""
    for name, make in MADE.items():
        marker = f"<!-- made: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(make()))
    return markdown


def commands() -> Iterator[str]:
    """Every subcommand: usage, what it does, its options."""
    from nnunet_spine.cli import build_parser

    for parser in _parsers(build_parser()):
        depth = parser.prog.count(" ") + 1
        yield f"{'#' * min(depth, 4)} `{parser.prog}` {{ #{parser.prog.replace(' ', '-')} }}\n" if depth > 1 else ""
        yield f"{_text(parser.description)[:1].upper()}{_text(parser.description)[1:]}\n"
        yield "```text\n" + parser.format_usage().strip() + "\n```\n"
        for group in parser._action_groups:
            actions = [a for a in group._group_actions if not isinstance(a, _NOT_SHOWN) and a.help != argparse.SUPPRESS]
            if actions and group.title != "everywhere":
                yield f"| {group.title} | |\n|---|---|"
                yield from (_row(parser, action) for action in actions)
                yield ""
        if parser.epilog:
            yield f"{_text(parser.epilog)}\n"


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _parsers(sub)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    shown = formatter._format_action_invocation(action)
    text = formatter._expand_help(action) if action.help else ""
    if action.required and action.option_strings:
        text += " (required)"
    return f"| `{shown.replace('|', chr(92) + '|')}` | {_text(text)} |"


def _text(text: str | None) -> str:
    """Help text as Markdown: what stands in backticks stays, the rest is literal."""
    words = " ".join((text or "").split()).split("`")
    return "`".join(word if i % 2 else _literal(word) for i, word in enumerate(words))


def _literal(text: str) -> str:
    return re.sub(r"([|_*\[\]])", r"\\\1", html.escape(text, quote=False))


def labels() -> Iterator[str]:
    """The table of levels."""
    from nnunet_spine.anatomy import LEVELS, REGION_NAMES

    yield "| level | region | VerSe id | nnU-Net id | colour |\n|---|---|---|---|---|"
    for level in LEVELS:
        swatch = f'<span class="swatch" style="background:{level.hex_color}"></span> `{level.hex_color}`'
        yield f"| {level.name} | {REGION_NAMES[level.region]} | {level.verse_id} | {level.nnunet_id} | {swatch} |"


def metrics() -> Iterator[str]:
    """Every metric as it is declared, with the default settings."""
    from nnunet_spine.scores import Settings
    from nnunet_spine.scores.metrics import METRICS, TOPICS

    for topic, title in TOPICS.items():
        yield f"### {title}\n\n| metric | of each | definition |\n|---|---|---|"
        for metric in METRICS:
            if metric.topic == topic:
                explained = _text(metric.explain(Settings()))
                yield f"| {_text(metric.name)} (`{metric.key}`) | {metric.level} | {explained} |"
        yield ""


def trainers() -> Iterator[str]:
    """Every trainer with its presets and options, then the options of all."""
    from nnunet_spine.trainers import TRAINERS
    from nnunet_spine.training.common_options import COMMON_OPTIONS
    from nnunet_spine.training.recipes import words_of

    for trainer in TRAINERS.values():
        summary = trainer.summary[:1].upper() + trainer.summary[1:]
        yield f"## {trainer.name}\n\n{_text(summary)}. {_text(trainer.citation)}.\n"
        yield f"{_text(trainer.description)}\n"
        yield f"Parameters: {_text(trainer.parameters)}. Recommended configuration: `{trainer.recommended}`.\n"
        if trainer.options:
            yield "| option | effect |\n|---|---|"
            yield from (f"| `{_words(words_of(o, trainer))}` | {_text(o.help)} |" for o in trainer.options)
            yield ""
        for name, preset in trainer.presets.items():
            if preset:
                yield f"`{name}` sets:\n\n| setting | value | source |\n|---|---|---|"
                yield from (
                    f"| `{address}` | `{_value(given.value)}` | {_text(given.source)} |"
                    for address, given in preset.items()
                )
                yield ""
        for refusal in trainer.refuses:
            value = "" if refusal.value is None else f" `{refusal.value}`"
            yield f"Does not take `{refusal.address}`{value}: {_text(refusal.reason)}.\n"
    yield "## Options of every trainer\n\n| option | effect |\n|---|---|"
    yield from (f"| `{_words(option.examples)}` | {_text(option.help)} |" for option in COMMON_OPTIONS)


def _value(value: object) -> object:
    return " to ".join(map(str, value)) if isinstance(value, tuple) else value


def _words(words: Iterable[str]) -> str:
    return "`, `".join(words)


def converters() -> Iterator[str]:
    """Data sets that `convert` knows."""
    from nnunet_spine.dataset_conversion import converters

    yield "| `convert` | data set | licence | reference |\n|---|---|---|---|"
    for name, converter in converters().items():
        yield f"| `{name}` | {_text(converter.title)} | {_text(converter.licence)} | {_text(converter.reference)} |"


MADE = {made.__name__: made for made in (commands, labels, metrics, trainers, converters)}
