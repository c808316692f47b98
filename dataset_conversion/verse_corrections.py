"""Enumerations of VerSe'20 that later work disputes."""

from nnunet_spine.dataset_conversion.corrections import Correction, span


def _veridah() -> dict[str, Correction]:
    shifted = ["L1", "L2", "L3", "L4", "L5", "L6"]
    names = dict(zip(shifted, ["T13", *shifted], strict=False))
    patients = (509, 512, 513, 557, 576, 587, 593, 599, 613, 620, 623, 765)
    ends = {559: ("C3", "L4"), 606: ("C6", "L5"), 642: ("C6", "L6")}
    whole = {f"verse{n}": Correction(sequence=span(*pair)) for n, pair in ends.items()}
    return {**{f"verse{n}": Correction(names, where_present=True) for n in patients}, **whole}


VERIDAH: dict[str, Correction] = _veridah()
"""Enumerations of VerSe'20 disputed by Möller et al. 2026 (VERIDAH, arXiv:2601.14066): L1 is T13 and all lower levels
move up by one in twelve patients; three are named anew from head to foot."""
