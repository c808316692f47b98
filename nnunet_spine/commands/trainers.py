"""`nnunet-spine trainers`: what can be written after `-tr`."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from nnunet_spine.errors import InputError
from nnunet_spine.io.environment import nnunet_folder, raw_dataset
from nnunet_spine.io.files import read_json
from nnunet_spine.trainers import TRAINERS, get_recipe, get_trainer
from nnunet_spine.training.common_options import COMMON_OPTIONS
from nnunet_spine.training.declaration import Declaration
from nnunet_spine.training.options import Option
from nnunet_spine.training.preconditions import DEFAULT_PLANS, check_folder_name
from nnunet_spine.training.recipes import Recipe, options_of, shortest, words_of
from nnunet_spine.training.settings import Settings

HELP = "list the trainers and the options their names can carry; check a name and show what it sets"


@dataclass(frozen=True)
class Setting:
    """A setting in force: where it stands, its value, and who says so."""

    address: str
    value: Any
    origin: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a trainer or recipe: check it, and show what it takes and sets")
    parser.add_argument(
        "-d", dest="dataset", help="id or name of a planned dataset: check the name with its plans, too"
    )
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS, help="name of these plans, with -d")
    parser.add_argument("-c", dest="configuration", help="of these plans, with -d; unset: the recommended one")
    parser.add_argument("--json", action="store_true", help="as JSON, for scripts")


def run(args: argparse.Namespace) -> None:
    if args.dataset and not args.name:
        raise InputError(f"-d {args.dataset} without a trainer", "name the trainer or recipe to check")
    if args.name is None:
        _print_json([_describe(trainer) for trainer in TRAINERS.values()]) if args.json else _print_all()
        return
    recipe = get_recipe(args.name)
    if args.dataset:
        remark = _check_with_plans(recipe, args)
        print(f"{recipe.name} can train dataset {args.dataset} with {args.plans_name}", file=sys.stderr)
        if remark:
            print(remark, file=sys.stderr)
    else:
        check_folder_name(recipe.name, DEFAULT_PLANS, recipe.trainer.recommended, shortest(recipe))
    if args.json:
        settings = {s.address: {"value": s.value, "from": s.origin} for s in settings_of(recipe)}
        _print_json(
            [_describe(recipe.trainer)],
            recipe=recipe.name,
            sets=recipe.sets(),
            settings=settings,
            repeats=list(recipe.repetitions()),
        )
    else:
        _print_one(recipe)


def _check_with_plans(recipe: Recipe, args: argparse.Namespace) -> str | None:
    folder = nnunet_folder("nnUNet_preprocessed") / raw_dataset(args.dataset).name
    file = folder / f"{args.plans_name}.json"
    if not file.is_file():
        raise InputError("no such plans", f"run nnunet-spine plan -d {args.dataset} -p {args.plans_name} first", file)
    plans, dataset_json = read_json(file), read_json(folder / "dataset.json")
    from nnunet_spine.training.fit import check_with_plans

    configuration = args.configuration or recipe.trainer.recommended
    return check_with_plans(get_trainer(recipe.name), plans, configuration, dataset_json)


def settings_of(recipe: Recipe) -> Iterator[Setting]:
    """Every setting of a recipe that has an effect, with where its value comes from."""
    preset, idle = recipe.trainer.presets[recipe.preset], recipe.idle()
    words = {address: word for word, values in recipe.words.items() for address in values}
    for address, value in _flat(recipe.settings):
        if address in idle or recipe.trainer.refusal(address, None):
            continue
        if address in words:
            origin = f"option {words[address]}"
        elif address in preset and recipe.settings.value(address) == preset[address].value:
            origin = f"{recipe.preset}: {preset[address].source}"
        elif value == Settings().value(address):
            origin = "default of every trainer"
        else:
            origin = f"default of {recipe.trainer.name}"
        yield Setting(address, value, origin)


def _flat(value: Any, address: str = "") -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for part in fields(value):
            yield from _flat(getattr(value, part.name), f"{address}.{part.name}".lstrip("."))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{address}.{name}", inner
    else:
        yield address, value


def _describe(trainer: Declaration) -> dict[str, Any]:
    return {
        "name": trainer.name,
        "summary": trainer.summary,
        "description": trainer.description,
        "citation": trainer.citation,
        "configuration": trainer.recommended,
        "parameters": trainer.parameters,
        "presets": {
            name: {address: {"value": given.value, "source": given.source} for address, given in preset.items()}
            for name, preset in trainer.presets.items()
        },
        "options": {"|".join(words_of(o, trainer)): o.help for o in options_of(trainer)[1:]},
        "refuses": {refusal.address: refusal.reason for refusal in trainer.refuses},
    }


def _print_json(trainers: list[dict[str, Any]], **more: Any) -> None:
    print(json.dumps({"trainers": trainers, **more}, indent=2))


def _print_all() -> None:
    for trainer in TRAINERS.values():
        _print_head(trainer)
        print(f"  presets: {', '.join(trainer.presets)}")
        _print_options(trainer.options, trainer)
        for refusal in trainer.refuses:
            value = "" if refusal.value is None else f" {refusal.value}"
            print(f"  does not take {refusal.address}{value}: {refusal.reason}")
        print()
    print("Options of every trainer, each separated by one underscore:")
    _print_options(COMMON_OPTIONS)
    print("\n`nnunet-spine trainers NAME` checks a name with options and shows all that it sets.")


def _print_one(recipe: Recipe) -> None:
    _print_head(recipe.trainer)
    if recipe.trainer.description:
        print(f"\n{recipe.trainer.description}")
    print(f"\nOptions of {recipe.trainer.name}, each separated by one underscore:")
    _print_options(options_of(recipe.trainer), recipe.trainer)
    settings = list(settings_of(recipe))
    print(f"\n{recipe.name} sets:")
    width = max(len(setting.address) for setting in settings)
    for setting in settings:
        print(f"  {setting.address:{width}}  {_text(setting)}  ({setting.origin})")
    for word in recipe.repetitions():
        print(f"'{word}' repeats what holds without it.")


def _text(setting: Setting) -> str:
    value = setting.value
    if value is None:
        of_plans = setting.address in ("optimisation.batch_size", "network.architecture")
        of_nnunet = setting.address in ("loss.name", "augmentation.scaling", "augmentation.contrast")
        return "that of the plans" if of_plans else "nnU-Net's" if of_nnunet else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _print_head(trainer: Declaration) -> None:
    print(f"{trainer.name}  ({trainer.recommended} recommended)\n  {trainer.summary}\n  {trainer.citation}")
    print(f"  parameters: {trainer.parameters}")


def _print_options(options: tuple[Option, ...], trainer: Declaration | None = None) -> None:
    for option in options:
        words = "|".join(words_of(option, trainer) if trainer else option.examples)
        print(f"  {words:28}  {option.help}" if len(words) <= 28 else f"  {words}\n  {'':28}  {option.help}")
