"""What `relabel` says of a mask, in a file beside it."""

from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.masks import case_name

SUFFIX = "_relabel.json"


@dataclass(frozen=True)
class NamingReport:
    """How sure the names of a mask are.

    Attributes:
        probability: that all are right; None where there was nothing to decide.
        ambiguous: why they may be shifted as a whole, or were left as they were; "" if they are not.
    """

    probability: float | None
    ambiguous: str


def report_beside(mask: str | Path) -> Path | None:
    """The report of a mask, if there is one."""
    path = Path(mask).parent / f"{case_name(mask)}{SUFFIX}"
    return path if path.is_file() else None


def read_naming_report(path: str | Path) -> NamingReport:
    """Read a report.

    Raises:
        InputError: missing, or something else.
    """
    content = read_json(path)
    try:
        probability = content["probability_all_right"]
        return NamingReport(
            None if probability is None else float(probability), str(content["ambiguous"] or content["reason"])
        )
    except (KeyError, TypeError, ValueError):
        raise InputError("no report of `nnunet-spine relabel`", "relabel again, or remove it", path) from None
