"""Predictions that are right but for being some levels off."""

from collections.abc import Iterable
from itertools import product

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
