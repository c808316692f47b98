"""`nnunet-spine trainers`: what can be written after `-tr`."""

import argparse
import json

HELP = "list the trainers and the options their names can carry"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a trainer or recipe: show only this one, with what it sets")
    parser.add_argument("--json", action="store_true", help="as JSON, for scripts")


def run(args: argparse.Namespace) -> None:
    from nnunet_spine.errors import InputError
    from nnunet_spine.trainers import TRAINERS
    from nnunet_spine.training.recipes import BASE_OPTIONS, parse_recipe

    names = list(TRAINERS)
    recipe = None
    if args.name:
        recipe = parse_recipe(args.name, TRAINERS)
        if recipe is None:
            raise InputError(f"no trainer '{args.name}'", f"there is {', '.join(TRAINERS)}")
        names = [recipe[0].__name__]
    rows = [_describe(TRAINERS[name]) for name in names]
    common = _options(BASE_OPTIONS)
    if args.json:
        print(json.dumps({"trainers": rows, "options": common, "sets": recipe[1] if recipe else {}}, indent=2))
        return
    for row in rows:
        print(f"{row['name']}  ({row['configuration']} recommended)\n  {row['summary']}\n  {row['citation']}")
        print(f"  presets: {', '.join(row['presets'])}; parameters: {row['parameters']}")
        _print_options(row["options"])
        print()
    print("Options of every trainer, each separated by one underscore:")
    _print_options(common)
    if recipe:
        print(f"\n{args.name} sets: {recipe[1] or 'nothing beyond the defaults'}")


def _describe(trainer: type) -> dict:
    return {
        "name": trainer.__name__,
        "summary": trainer.summary,
        "citation": trainer.citation,
        "configuration": trainer.recommended,
        "parameters": trainer.parameters,
        "presets": list(trainer.presets),
        "options": _options(trainer.options),
    }


def _options(options: tuple) -> dict[str, str]:
    return {option.example: option.help for option in options}


def _print_options(options: dict[str, str]) -> None:
    for example, text in options.items():
        print(f"  {example:28}  {text}" if len(example) <= 28 else f"  {example}\n  {'':28}  {text}")
