"""Options in the names of recipes: what a word may be, and which settings it gives.

An option names the settings that it sets by their addresses (`optimisation.epochs`), and is written in one line with
`flag`, `choice`, `integer` or `number`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine.errors import InputError

_DECIMAL = r"(\d+(?:p\d+)?(?:e-?\d+)?)"


@dataclass(frozen=True)
class Option:
    """One kind of word in a recipe; made by the functions below.

    Attributes:
        pattern: regular expression that the whole word must match.
        examples: words as one writes them, for lists and suggestions.
        help: what it does, one line.
        sets: addresses of the settings it sets.
        values: from a word that matches to the values at these addresses; raises `ValueError` where it is out of range.
    """

    pattern: str
    examples: tuple[str, ...]
    help: str
    sets: tuple[str, ...]
    values: Callable[[str], dict[str, Any]]

    def matches(self, word: str) -> bool:
        """Whether the word is of this kind, in range or not."""
        return re.fullmatch(self.pattern, word) is not None

    def suggestions(self, word: str) -> tuple[str, ...]:
        """Words of this option that a misspelt word may have meant: the examples, with the number that it holds."""
        number = re.search(r"\d[\dpe-]*", word)
        if number is None:
            return self.examples
        return tuple(re.sub(r"\d[\dpe-]*", number.group(), example) for example in self.examples)


def flag(word: str, sets: Mapping[str, Any], help: str) -> Option:
    """A word that stands for fixed values."""
    return Option(re.escape(word), (word,), help, tuple(sets), lambda _: dict(sets))


def choice(words: Sequence[str] | Mapping[str, Any], address: str, help: str) -> Option:
    """One of several words.

    Args:
        words: the values themselves, or from word to value.
    """
    values = dict(words) if isinstance(words, Mapping) else {word: word for word in words}
    pattern = "|".join(map(re.escape, values))
    return Option(pattern, tuple(values), help, (address,), lambda word: {address: values[word]})


def integer(
    template: str,
    address: str,
    help: str,
    *,
    example: int,
    at_least: int = 1,
    at_most: int | None = None,
    odd: bool = False,
    value: Callable[[int], Any] = int,
) -> Option:
    """A whole number in a word, where the template has `{}`.

    Args:
        value: from the number to the setting.
    """
    before, after = map(re.escape, template.split("{}"))
    expected = f"{'an odd number' if odd else 'a whole number'} of at least {at_least}"
    expected += f" and at most {at_most}" if at_most is not None else ""

    def values(word: str) -> dict[str, Any]:
        number = int(re.fullmatch(rf"{before}(\d+){after}", word).group(1))
        if number < at_least or (at_most is not None and number > at_most) or (odd and number % 2 == 0):
            raise ValueError(f"expected {expected}")
        return {address: value(number)}

    return Option(rf"{before}\d+{after}", (template.format(example),), help, (address,), values)


def number(
    template: str,
    address: str,
    help: str,
    *,
    example: str,
    above: float | None = None,
    also: Mapping[str, Any] | None = None,
) -> Option:
    """A decimal number in a word, where the template has `{}`: `1p5` is 1.5 and `1e-3` is 0.001.

    Names of folders and trainers had better hold no dot.

    Args:
        above: the number has to be above this; None asks for at least 0.
        also: further settings, fixed.
    """
    before, after = map(re.escape, template.split("{}"))
    also = dict(also or {})

    def values(word: str) -> dict[str, Any]:
        found = float(re.fullmatch(f"{before}{_DECIMAL}{after}", word).group(1).replace("p", "."))
        if above is not None and found <= above:
            raise ValueError(f"expected a number above {above:g}")
        return {**also, address: found}

    return Option(f"{before}{_DECIMAL}{after}", (template.format(example),), help, (*also, address), values)


def read_option(word: str, option: Option, recipe: str) -> dict[str, Any]:
    """The settings that a word gives.

    Raises:
        InputError: its number is out of range.
    """
    try:
        return option.values(word)
    except ValueError as error:
        example = " or ".join(option.examples[:2])
        raise InputError(f"trainer '{recipe}': option '{word}': {error}", f"for example {example}") from error
