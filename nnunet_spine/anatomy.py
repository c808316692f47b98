"""Vertebral levels: names, ids, regions, cranio-caudal order with its variants, and colours.

The single source of all of these. VerSe ids follow the VerSe repository (C1-C7 1-7, T1-T12 8-19, L1-L6 20-25, T13 28).
nnU-Net needs consecutive label values, so T13 is stored as 26; everything else keeps its VerSe id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nnunet_spine.errors import InputError

REGIONS = ("C", "T", "L")
REGION_NAMES = {"C": "cervical", "T": "thoracic", "L": "lumbar"}
REGION_IDS = {"C": 1, "T": 2, "L": 3}


@dataclass(frozen=True)
class Level:
    """One vertebral level.

    Attributes:
        name: "C1" ... "L6".
        verse_id: label value in VerSe masks and centroid files.
        nnunet_id: label value in our nnU-Net datasets.
        color: red, green, blue, 0-255; the same in every picture.
    """

    name: str
    verse_id: int
    nnunet_id: int
    color: tuple[int, int, int]

    @property
    def region(self) -> str:
        """ "C", "T" or "L"."""
        return self.name[0]

    @property
    def region_id(self) -> int:
        return REGION_IDS[self.region]

    @property
    def hex_color(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.color)


def _levels() -> tuple[Level, ...]:
    names = [f"C{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 14)] + [f"L{i}" for i in range(1, 7)]
    # Neighbouring levels contrast in hue and lightness; the cycle of nine never repeats within eight levels.
    palette = (
        (230, 57, 70), (255, 183, 3), (56, 205, 139), (67, 97, 238), (247, 127, 0),
        (144, 219, 244), (181, 23, 158), (144, 190, 109), (255, 255, 130),
    )  # fmt: skip
    verse = [*range(1, 20), 28, *range(20, 26)]
    nnunet = [*range(1, 20), 26, *range(20, 26)]
    return tuple(
        Level(name, v, n, tuple(int(c * (1 - 0.12 * (i // len(palette)))) for c in palette[i % len(palette)]))
        for i, (name, v, n) in enumerate(zip(names, verse, nnunet, strict=True))
    )


LEVELS: tuple[Level, ...] = _levels()
"""All 26 levels in cranio-caudal order: C1 ... C7, T1 ... T13, L1 ... L6."""

NAMES: tuple[str, ...] = tuple(level.name for level in LEVELS)
BY_NAME: dict[str, Level] = {level.name: level for level in LEVELS}
BY_VERSE_ID: dict[int, Level] = {level.verse_id: level for level in LEVELS}
BY_NNUNET_ID: dict[int, Level] = {level.nnunet_id: level for level in LEVELS}

SPACING_MM: dict[str, float] = dict(
    zip(
        NAMES,
        (
            17.2, 21.0, 17.0, 16.7, 16.4, 17.4, 19.2,
            20.8, 21.2, 21.5, 21.9, 22.4, 23.0, 23.7, 24.4, 25.3, 27.3, 29.7, 32.4, 33.0,
            34.2, 35.3, 35.8, 35.6, 36.0, 35.0,
        ),
        strict=True,
    )
)  # fmt: skip
"""Mean distance from a level's body centre to that of the next one caudally (of the last lumbar level: to S1).

A compromise of the medians of the reference centres of VID (Bürgin et al., MICCAI 2023) and VerSe'20 (Payer et al.),
which differ by up to 1.6 mm at most levels and by 5-6 mm at C2-C3, L4-L5 and L5-L6; SD between scans about 8 %.
"""

SUCCESSORS: dict[str, tuple[str, ...]] = {
    **{a: (b,) for a, b in pairwise(NAMES)},
    "T11": ("T12", "L1"),
    "T12": ("T13", "L1"),
    "L5": ("L6",),
    "L6": (),
}
"""What may follow a level caudally inside one spine. A spine or a field of view may end at any level."""


def spine_sequence(*, last_thoracic: int = 12, last_lumbar: int = 5) -> tuple[str, ...]:
    """Names of a whole spine, cranial to caudal.

    Args:
        last_thoracic: 11, 12 or 13.
        last_lumbar: 4, 5 or 6.

    Raises:
        InputError: for other counts.

    Example:
        >>> spine_sequence(last_lumbar=6)[-3:]
        ('L4', 'L5', 'L6')
    """
    if last_thoracic not in (11, 12, 13) or last_lumbar not in (4, 5, 6):
        raise InputError(f"{last_thoracic} thoracic and {last_lumbar} lumbar levels; expected 11-13 and 4-6")
    counts = {"C": 7, "T": last_thoracic, "L": last_lumbar}
    return tuple(level.name for level in LEVELS if int(level.name[1:]) <= counts[level.region])


def sort_cranio_caudal(names: Iterable[str]) -> list[str]:
    """Names of levels, or of other structures, in anatomical order (T13 between T12 and L1).

    Example:
        >>> sort_cranio_caudal(["L1", "C7", "T13", "T12"])
        ['C7', 'T12', 'T13', 'L1']
    """
    return sorted(names, key=_ORDER.__getitem__)


def expected_neighbours(above: str, below: str) -> bool:
    """Whether `below` may directly follow `above` in one spine.

    Example:
        >>> expected_neighbours("T12", "L1"), expected_neighbours("T10", "L1")
        (True, False)
    """
    return below in SUCCESSORS[above]


def lookup_table(source: str, target: str) -> np.ndarray:
    """Label value -> label value, as an array to index with a mask.

    Args:
        source, target: "verse", "nnunet", "region" (1 C, 2 T, 3 L) or "spine" (1); source only "verse" or "nnunet".

    Returns:
        int16 array of length 29 for VerSe ids, 27 for nnU-Net ids; 0 maps to 0, unknown values to -1.

    Example:
        >>> import numpy as np
        >>> lookup_table("verse", "nnunet")[np.array([0, 19, 28])].tolist()
        [0, 19, 26]
    """
    table = np.full(29 if source == "verse" else 27, -1, dtype=np.int16)
    table[0] = 0
    for level in LEVELS:
        values = {"verse": level.verse_id, "nnunet": level.nnunet_id, "region": level.region_id, "spine": 1}
        table[values[source]] = values[target]
    return table


KINDS = ("vertebrae", "regions", "spine", "vertebra")
"""What the labels of a dataset of ours stand for: levels, regions, the whole spine, or a single vertebra."""


@dataclass(frozen=True)
class Structure:
    """What one label value of a kind of dataset stands for.

    Attributes:
        value: in masks.
        name: "C1" ... "L6", "cervical", "thoracic", "lumbar", "spine" or "vertebra".
        region: "C", "T", "L", or "" for what spans several.
        color: red, green, blue, 0-255.
    """

    value: int
    name: str
    region: str
    color: tuple[int, int, int]


def structures(kind: str = "vertebrae") -> tuple[Structure, ...]:
    """The structures of a kind of dataset, cranio-caudal.

    Raises:
        InputError: another kind than those of `KINDS`.

    Example:
        >>> [structure.name for structure in structures("regions")]
        ['cervical', 'thoracic', 'lumbar']
    """
    if kind == "vertebrae":
        return tuple(Structure(level.nnunet_id, level.name, level.region, level.color) for level in LEVELS)
    if kind == "regions":
        first = {region: next(level for level in LEVELS if level.region == region) for region in REGIONS}
        return tuple(Structure(REGION_IDS[r], REGION_NAMES[r], r, first[r].color) for r in REGIONS)
    if kind in KINDS:
        return (Structure(1, kind, "", LEVELS[0].color),)
    raise InputError(f"label set '{kind}'; expected {', '.join(KINDS[:-1])} or {KINDS[-1]}")


_ORDER = {s.name: (k, i) for k, kind in enumerate(KINDS) for i, s in enumerate(structures(kind))}
_REGION_OF = {s.name: s.region for kind in KINDS for s in structures(kind)}


def region_of(name: str) -> str:
    """ "C", "T" or "L" of a structure, "" for what spans several.

    Example:
        >>> region_of("T13")
        'T'
    """
    return _REGION_OF[name]


def dataset_labels(kind: str = "vertebrae") -> dict[str, int]:
    """The `labels` entry of dataset.json, in order of label value.

    Args:
        kind: "vertebrae" (26 levels), "regions" (cervical, thoracic, lumbar), "spine", or "vertebra" (a single one).

    Example:
        >>> dataset_labels("regions")
        {'background': 0, 'cervical': 1, 'thoracic': 2, 'lumbar': 3}
    """
    return {"background": 0, **{s.name: s.value for s in sorted(structures(kind), key=lambda s: s.value)}}
