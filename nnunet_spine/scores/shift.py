"""Predictions that are right but for being some levels off, as a whole or in parts."""

from collections.abc import Iterable
from itertools import groupby, product

from nnunet_spine.anatomy import spine_sequence

MIN_EXPLAINED = 0.8

_SEQUENCES = tuple(
    spine_sequence(last_thoracic=thoracic, last_lumbar=lumbar) for thoracic, lumbar in product((12, 11, 13), (5, 4, 6))
)


def level_shift(pairs: Iterable[tuple[str, str]]) -> int | None:
    """By how many levels the whole prediction is off; +1: every vertebra bears the name of the next one caudally.

    Levels are counted along one spine: of the nine variants (11-13 thoracic, 4-6 lumbar levels) that have all reference
    names, the one in which one shift explains most vertebrae, so that T13 follows T12 where the spine has it.

    Args:
        pairs: reference name and the name it was found as, of every vertebra found.

    Returns:
        The shift that explains at least 80 % of the pairs; None if there is none, if it is 0, or without pairs.
    """
    pairs = list(pairs)
    best, most = 0, 0
    for sequence in _SEQUENCES:
        position = {name: k for k, name in enumerate(sequence)}
        if any(name not in position for name, _ in pairs):
            continue
        offsets = [position[found] - position[name] for name, found in pairs if found in position]
        for offset in sorted(set(offsets), key=abs):
            if offsets.count(offset) > most:
                best, most = offset, offsets.count(offset)
    return best if best and most >= MIN_EXPLAINED * len(pairs) else None


def wrong_name_runs(vertebrae: Iterable[tuple[str, str | None]]) -> list[tuple[int, int]]:
    """Runs of consecutive vertebrae whose names are off by the same number of levels.

    >>> wrong_name_runs([("T11", "T11"), ("T12", "L1"), ("L1", "L2"), ("L2", "L2"), ("L3", None), ("L4", "L3")])
    [(1, 2), (-1, 1)]

    Levels are counted as in `level_shift`, along the spine in which most names are right.

    Args:
        vertebrae: reference name, cranio-caudal, and the name it was found as; None: not found, which ends a run.

    Returns:
        Shift (not 0) and length of each run, cranio-caudal; a name that the spine lacks is a shift by none and no run.
    """
    vertebrae = list(vertebrae)
    best: list[int | None] = []
    for sequence in _SEQUENCES:
        position = {name: k for k, name in enumerate(sequence)}
        if any(name not in position for name, _ in vertebrae):
            continue
        shifts = [position[found] - position[name] if found in position else None for name, found in vertebrae]
        if not best or shifts.count(0) > best.count(0):
            best = shifts
    return [(shift, len(list(run))) for shift, run in groupby(best) if shift]
