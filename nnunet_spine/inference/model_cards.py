"""The card of a model: what a person must know before using it, as JSON to write and Markdown to read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nnunet_spine.errors import InputError

RESEARCH_ONLY = "Research only. Not a medical device: not for diagnosis or treatment."
NOT_STATED = "not stated"
_TEXTS = ("name", "licence", "training_data", "summary", "citation", "use")
_LISTS = ("made", "limits")
_FIGURE = ("measure", "data", "value")


@dataclass(frozen=True)
class Card:
    """What a model is, where it comes from and what it is worth.

    Attributes:
        name: of the model.
        licence: under which the weights may be used.
        training_data: what it was trained on, and whether patients' scans are among it.
        summary: one sentence.
        citation: what to cite.
        use: what it may be used for.
        made: how it was made, step by step.
        seeds: name -> number.
        figures: what was measured: "measure", on which "data", and its "value".
        limits: what it cannot do.
    """

    name: str
    licence: str
    training_data: str
    summary: str = ""
    citation: str = ""
    use: str = RESEARCH_ONLY
    made: tuple[str, ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)
    figures: tuple[Mapping[str, str], ...] = ()
    limits: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, content: object, path: object = None) -> "Card":
        """A card as JSON has it.

        Args:
            content: an object with the attributes above.
            path: the file it comes from, for errors.

        Raises:
            InputError: an entry is missing, unknown or of the wrong kind.

        Example:
            >>> Card.from_json({"name": "A", "licence": "CC0-1.0", "training_data": "Phantoms."}).licence
            'CC0-1.0'
        """
        if not isinstance(content, dict):
            raise InputError("no card: expected an object with name, licence, training_data", "see the docs", path)
        missing = [name for name in ("name", "licence", "training_data") if not content.get(name)]
        if missing:
            raise InputError(f"a card without {', '.join(missing)}", "add it: whoever gets the model must know", path)
        known = [f.name for f in fields(cls)]
        if unknown := [name for name in content if name not in known]:
            raise InputError(f"a card with unknown entry '{unknown[0]}'", f"there is {', '.join(known)}", path)
        for name, value in content.items():
            if not _is_right(name, value):
                raise InputError(f"entry '{name}' of the card: {str(value)[:40]!r}", _expected(name), path)
        lists = {name: tuple(content[name]) for name in (*_LISTS, "figures") if name in content}
        return cls(**{**content, **lists})

    def to_json(self) -> dict[str, Any]:
        """The card as JSON, every entry."""
        content = asdict(self)
        return {**content, **{name: list(content[name]) for name in (*_LISTS, "figures")}}


def markdown(card: Card, network: Mapping[str, str]) -> str:
    """The card as a page.

    Args:
        network: further facts, title -> value, for a table.

    Example:
        >>> print(markdown(Card("A", "CC0-1.0", "Phantoms."), {"Folds": "0"}).splitlines()[0])
        # A
    """
    parts = [f"# {card.name}", card.summary, f"**{card.use}**" if card.use else ""]
    parts += [f"Licence: {card.licence}", "## Training data", card.training_data]
    if card.made:
        parts += ["## How it was made", "\n".join(f"{i}. {step}" for i, step in enumerate(card.made, 1))]
    if card.seeds:
        parts += ["## Seeds", table(("of", "seed"), [(name, str(seed)) for name, seed in card.seeds.items()])]
    if card.figures:
        rows = [tuple(str(figure[column]) for column in _FIGURE) for figure in card.figures]
        parts += ["## Figures", table(_FIGURE, rows)]
    if card.limits:
        parts += ["## Limits", "\n".join(f"- {limit}" for limit in card.limits)]
    parts += ["## Network", table(("what", "value"), list(network.items()))]
    if card.citation:
        parts += ["## Citation", card.citation]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table.

    Example:
        >>> print(table(("a", "b"), [("1", "2|3")]))
        | a | b |
        | --- | --- |
        | 1 | 2\\|3 |
    """
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |" for row in lines
    )


def _is_right(name: str, value: object) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "seeds":
        return isinstance(value, dict) and all(type(seed) is int for seed in value.values())
    if not isinstance(value, list | tuple):
        return False
    if name == "figures":
        return all(isinstance(row, dict) and sorted(row) == sorted(_FIGURE) for row in value)
    return all(isinstance(line, str) for line in value)


def _expected(name: str) -> str:
    if name in _TEXTS:
        return "write text"
    if name == "seeds":
        return "write an object of whole numbers"
    if name == "figures":
        return f"write a list of objects with {', '.join(_FIGURE)}"
    return "write a list of lines"
