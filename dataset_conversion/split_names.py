"""Which part of a data set a folder holds, by its name, and what the user says about it.

A wrong guess here trains on a test set. So a folder counts only where its name says one thing plainly; where it says
nothing, or two things, the user is asked.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from nnunet_spine.dataset_conversion.case import SPLITS, Scan
from nnunet_spine.errors import InputError

UNCLEAR = "unclear"

_WORDS = {
    "training": r"train(?:ing)?",
    "validation": r"val(?:id(?:ation)?)?",
    "test": r"test(?:s|ing)?",
}
_WHAT = r"(?:sets?|data|cases?|scans?|images?|files?|split|part|subset)?"
_NEGATIONS = {"no", "non", "not", "without", "except", "excluding", "minus", "un"}
# The public test set of VerSe's challenges is the validation part of its releases.
_PUBLIC = {"public"}
_HARMLESS = {
    "latest", "greatest", "fastest", "shortest", "contest", "contests", "protest", "attest", "detest", "lightest",
    "brightest", "whitest", "testament", "testosterone", "strain", "strains", "restrain", "constrain", "trainer",
    "trainers",
}  # fmt: skip
_HIDES_A_WORD = re.compile(r"test.*|.*test|train.*|.*train(?:ing)?|val[ds]|vali.*|.*validation|(?:train|test).*val")


def split_of(folders: PurePath) -> str:
    """Split named by the innermost folder that names one.

    Words are found wherever letters end: `dataset-verse20test (1)`, `Verse19 Test`, `01_training`, `TestSet`. The
    folder counts, never the id, and the words follow the folders: VerSe's readme swaps "test" and "validation".

    Returns:
        "training", "validation" or "test"; "" where no folder says anything; `UNCLEAR` where one says it in a way that
        may mean something else (`train_val`, `publictest`, `no-test`).
    """
    return _named_by(folders)[0]


def _named_by(folders: PurePath) -> tuple[str, PurePath]:
    """The split, and the folder that names it."""
    for folder in (folders, *folders.parents):
        if split := _split_of_name(folder.name):
            return split, folder
    return "", PurePath()


def _split_of_name(name: str) -> str:
    tokens = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    tokens = [token.lower() for token in tokens]
    found, doubtful = set(), False
    for token in tokens:
        named = {split for split, word in _WORDS.items() if re.fullmatch(word + _WHAT, token)}
        found |= named
        doubtful |= not named and token not in _HARMLESS and bool(_HIDES_A_WORD.fullmatch(token))
    if not found and not doubtful:
        return ""
    if doubtful or len(found) > 1 or _NEGATIONS & set(tokens) or (found == {"test"} and _PUBLIC & set(tokens)):
        return UNCLEAR
    return found.pop()


@dataclass(frozen=True)
class SplitRules:
    """What the user says about splits.

    Attributes:
        of_others: split of the scans that neither their data set nor a folder's name gives one; "" for none.
        of_name: name of a folder, case or patient, in lower case -> split; goes before everything else.
    """

    of_others: str = ""
    of_name: Mapping[str, str] = field(default_factory=dict)


def parse_rules(texts: Iterable[str]) -> SplitRules:
    """Rules from the command line: `training` for all scans without a split, `NAME=test` for a folder, case or patient.

    Raises:
        InputError: not a split, or one thing said twice.
    """
    of_others, of_name = "", {}
    for text in texts:
        name, _, split = text.rpartition("=")
        if split not in SPLITS:
            raise InputError(f"--split {text}", f"give one of {', '.join(SPLITS)}, or FOLDER=SPLIT")
        if (not name and of_others not in ("", split)) or of_name.get(name.lower(), split) != split:
            raise InputError(f"--split says two things about {name or 'the scans without a split'}", "give one")
        if name:
            of_name[name.lower()] = split
        else:
            of_others = split
    return SplitRules(of_others, of_name)


def assign_splits(scans: Sequence[Scan], rules: SplitRules) -> list[Scan]:
    """Give each scan its split: by the user's word on its names, by its data set, by its folders, or by the user's word
    on all others.

    Raises:
        InputError: scans without a split, or with an unclear one; a rule that fits nothing.
    """
    used, open_names, out = set(), {}, []
    containers = _containers(scans)
    for scan in scans:
        rule, split, name = _split_of_scan(scan, rules, containers)
        used.add(rule)
        if split == "" and rules.of_others:
            split, scan = rules.of_others, replace(scan, flags=(*scan.flags, f"split {rules.of_others} by --split"))
        if split not in SPLITS:
            open_names.setdefault(name, []).append(scan.case)
        out.append(replace(scan, split=split))
    if open_names:
        raise _open_question(open_names, len(scans))
    if unused := sorted(set(rules.of_name) - used):
        raise InputError(f"--split {unused[0]}=...: no folder, case or patient of this name", "check the name")
    return out


def _containers(scans: Sequence[Scan]) -> set[PurePath]:
    """Folders with a split's name that hold folders with a split's name: what else lies in one is of unknown split.

    In `training_data/{dataset-verse20training, hold-out}` the outer name says nothing about `hold-out`.
    """
    naming = {_named_by(place)[1] for scan in scans if not scan.split for place in (scan.place, *scan.other_places)}
    return {outer for folder in naming for outer in folder.parents}


def _split_of_scan(scan: Scan, rules: SplitRules, containers: set[PurePath]) -> tuple[str | None, str, str]:
    """The rule that was used, the split, and the name to ask about where it is open."""
    places = (scan.place, *scan.other_places)
    names = [scan.case, scan.patient, *(part for place in places for part in reversed(place.parts))]
    if rule := next((name.lower() for name in names if name.lower() in rules.of_name), None):
        return rule, rules.of_name[rule], ""
    if scan.split:
        return None, scan.split, ""
    found = [_named_by(place) for place in places]
    found = [(split, folder) for split, folder in found if split and folder not in containers]
    named = {split for split, _ in found if split in SPLITS}
    if len(named) == 1:
        return None, named.pop(), ""
    if named:
        return None, UNCLEAR, scan.case
    return (None, *next(((UNCLEAR, folder.name) for _, folder in found), ("", scan.place.name)))


def _open_question(open_names: Mapping[str, Sequence[str]], n_scans: int) -> InputError:
    count = sum(map(len, open_names.values()))
    names = sorted(open_names)
    shown = ", ".join(f"'{name}' ({len(open_names[name])})" for name in names[:5]) + ", ..." * (len(names) > 5)
    return InputError(
        f"it is not clear whether {count} of {n_scans} scans are for training, validation or test: no folder or no "
        f"single one names it for {shown}",
        f"say it: --split {shlex.quote(f'{names[0]}=test')} for one folder, case or patient, or --split training for "
        "all whose folders say nothing",
    )


def patients_in_several_splits(scans: Iterable[Scan]) -> list[str]:
    """A sentence for each patient whose scans lie in several splits."""
    splits: dict[str, set[str]] = {}
    for scan in scans:
        splits.setdefault(scan.patient, set()).add(scan.split)
    return [
        f"patient {patient} has scans in {' and '.join(sorted(names))}; the official split would leak"
        for patient, names in sorted(splits.items())
        if len(names) > 1
    ]
