"""What a plausibility check found, and how a user overrules it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from nnunet_spine.errors import InputError

KEYS = {
    "header-spacing": "sform and qform or pixdim give voxels of different size",
    "header-place": "sform and qform place the volume differently",
    "shear": "the axes of the grid are not at right angles",
    "mask-grid": "mask and image have one shape and different headers, and the image does not show which is right",
    "mask-place": "labels do not lie on bone",
    "upside-down": "levels ascend from foot to head",
    "front-back": "vertebral bodies lie behind their processes",
    "spine-axis": "the spine does not run from head to foot",
    "level-order": "some levels are out of order along the spine",
    "level-gap": "a vertebra without a name between two named ones",
    "hu": "grey values are no Hounsfield units",
}
"""What can be found: key -> meaning, for `--help`."""


@dataclass(frozen=True)
class Finding:
    """A contradiction in the data of one case.

    Attributes:
        key: one of `KEYS`.
        sentence: what the data show, with its figures.
        stops: whether the case is refused unless the user accepts the key; otherwise it is flagged.
        cure: what to do about it.
        figures: the evidence as numbers.
    """

    key: str
    sentence: str
    stops: bool = False
    cure: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def settle(findings: Iterable[Finding], accepted: Collection[str] = (), path: object = None) -> list[str]:
    """Flags of the findings of one case.

    Args:
        accepted: keys that the user overrules: such findings flag and do not stop.
        path: the file concerned, for the message.

    Raises:
        InputError: one that stops, with the cure and the way to overrule it; of several, all are named.
    """
    findings = list(findings)
    if stops := [f for f in findings if f.stops and f.key not in accepted]:
        keys = " ".join(dict.fromkeys(f.key for f in stops))
        cures = dict.fromkeys(f.cure for f in stops if f.cure)
        overrule = f"if it is right as it is, go on with --accept {keys}"
        raise InputError("; ".join(f.sentence for f in stops), "; ".join([*cures, overrule]), path)
    return flags_of(findings)


def flags_of(findings: Iterable[Finding]) -> list[str]:
    """One line per finding for a manifest: "key: sentence"."""
    return [f"{f.key}: {f.sentence}" for f in findings]
