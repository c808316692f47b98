"""The labels of a dataset: all of a label set, or only those that occur in it."""

from collections.abc import Iterable, Mapping, Sequence

from nnunet_spine.anatomy import BY_NAME, NAMES, REGION_NAMES, dataset_labels
from nnunet_spine.errors import InputError

ALL, OCCURRING = "all", "occurring"
IGNORE = "ignore"
"""Name of voxels that are neither background nor a known vertebra; nnU-Net leaves them out of loss and validation."""


def names_of_set(label_set: str) -> tuple[str, ...]:
    """All names of a label set, cranio-caudal."""
    if label_set == "vertebrae":
        return NAMES
    return tuple(name for name in dataset_labels(label_set) if name != "background")


def parse_declared(words: Sequence[str], label_set: str) -> tuple[str, ...]:
    """What the user wants to declare: () for all, ("occurring",), or names in cranio-caudal order.

    Raises:
        InputError: an unknown name, or words together with names.
    """
    words = [word if word in (ALL, OCCURRING) else _known_name(word, label_set) for word in words]
    if not words or words == [ALL]:
        return ()
    if words == [OCCURRING]:
        return (OCCURRING,)
    if {ALL, OCCURRING} & set(words):
        raise InputError(f"--declare {' '.join(words)}", f"give {ALL}, {OCCURRING}, or names")
    names = names_of_set(label_set)
    declared = tuple(name for name in names if name in words)
    return () if declared == names else declared


def _known_name(word: str, label_set: str) -> str:
    known = {name.lower(): name for name in names_of_set(label_set)}
    if word.lower() not in known:
        raise InputError(f"--declare {word}", f"give {ALL}, {OCCURRING}, or some of {' '.join(known.values())}")
    return known[word.lower()]


def label_values(label_set: str, declared: Sequence[str] = ()) -> dict[str, int]:
    """Name -> value in masks and dataset.json, background included.

    Args:
        label_set: "vertebrae", "regions", "spine" or "vertebra".
        declared: names to be numbered from 1 on, as nnU-Net wants them; empty for the usual values of all.
    """
    if not declared:
        return dataset_labels(label_set)
    return {"background": 0, **{name: value for value, name in enumerate(declared, 1)}}


def ignore_value(values: Mapping[str, int]) -> int:
    """The value that nnU-Net wants its ignore label to have: one above all others."""
    return max(values.values()) + 1


def name_of_level(level: str, label_set: str) -> str:
    """The name under which a level goes in a label set."""
    if label_set == "vertebrae":
        return level
    return REGION_NAMES[BY_NAME[level].region] if label_set == "regions" else label_set


def missing_in(values: Mapping[str, int], names_of_cases: Iterable[Iterable[str]]) -> list[str]:
    """Names that are declared and occur in none of the cases, in order of their values."""
    there = {name for names in names_of_cases for name in names}
    return [name for name, value in sorted(values.items(), key=lambda item: item[1]) if value and name not in there]


def spans(names: Sequence[str]) -> str:
    """Names for people, neighbours in the spine drawn together: "C1-C7, T13"."""
    runs: list[list[str]] = []
    for name in sorted(names, key=lambda n: NAMES.index(n) if n in NAMES else len(NAMES)):
        follows = runs and name in NAMES and runs[-1][-1] == NAMES[NAMES.index(name) - 1]
        runs[-1].append(name) if follows else runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
