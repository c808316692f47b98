"""The dataset folder: where it lies, whether its number is free, and whether it is finished."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.jobs import Contents, Job, unchanged

RECEIPT = "conversion.json"


@dataclass(frozen=True)
class Target:
    """One nnU-Net raw dataset.

    Attributes:
        raw: the folder `nnUNet_raw`.
        number: dataset id, 1 to 999.
        name: without number, e.g. "VerSe".
    """

    raw: Path
    number: int
    name: str

    @property
    def dataset(self) -> str:
        return f"Dataset{self.number:03d}_{self.name}"

    @property
    def folder(self) -> Path:
        return self.raw / self.dataset

    @property
    def staging(self) -> Path:
        """Unfinished work; hidden, so nnU-Net does not see it. Becomes `folder` by one rename."""
        return self.raw / f".partial-{self.dataset}"


def find_target(raw: str | Path | None, number: int, name: str, *, dry_run: bool = False) -> Target:
    """Check number and name against nnU-Net's rules and against other datasets.

    Args:
        raw: folder for raw datasets; None takes the environment variable `nnUNet_raw`.
        dry_run: do without such a folder where none is named: nothing will be written.

    Raises:
        InputError: no folder, a number or name nnU-Net cannot use, or the number belongs to another dataset.
    """
    raw = raw or os.environ.get("nnUNet_raw")
    if not raw and dry_run:
        raw = "$nnUNet_raw"
    if not raw:
        raise InputError("the environment variable nnUNet_raw is not set", "set it, or give the folder with --raw")
    raw = Path(raw).expanduser()
    raw = raw if str(raw) == "$nnUNet_raw" else raw.absolute()
    if raw.exists() and not raw.is_dir():
        raise InputError("a file, not a folder", "give the folder of raw datasets with --raw", raw)
    if not 1 <= number <= 999:
        raise InputError(f"dataset id {number}", "choose -d between 1 and 999")
    if not name or not all(c.isalnum() or c in "_-" for c in name) or "__" in name:
        raise InputError(f"dataset name '{name}'", "use letters, digits, '-' and single '_'")
    target = Target(raw, number, name)
    places = [raw, *(os.environ.get(v) for v in ("nnUNet_preprocessed", "nnUNet_results"))]
    for place in filter(None, places):  # nnU-Net looks a number up in all three and wants one name
        for other in sorted(Path(place).glob(f"Dataset{number:03d}_*")):
            if other.name != target.dataset:
                raise InputError(f"dataset id {number} is taken", "choose another id with -d", other)
    return target


def existing_dataset(raw: str | Path, number: int) -> Path:
    """Folder of a finished dataset of ours.

    Raises:
        InputError: none with this number, or not written by this program.
    """
    folders = sorted(Path(raw).glob(f"Dataset{number:03d}_*"))
    if len(folders) != 1:
        found = ", ".join(f.name for f in folders) or "none"
        raise InputError(f"dataset {number}: {found}", "convert the vertebrae dataset first", raw)
    if not (folders[0] / RECEIPT).is_file():
        raise InputError(f"no {RECEIPT}, so not a dataset of nnunet-spine", "convert one first", folders[0])
    return folders[0]


def vertebrae_dataset(raw: str | Path, number: int) -> tuple[Path, dict]:
    """Folder and receipt of a finished dataset of ours whose labels are vertebrae.

    Raises:
        InputError: none with this number, not written by this program, or with other labels.
    """
    folder = existing_dataset(raw, number)
    receipt = read_json(folder / RECEIPT)
    if receipt["identity"].get("label_set") != "vertebrae":
        raise InputError("not a vertebrae dataset", "give the number of one", folder)
    return folder, receipt


def is_finished(
    target: Target, identity: Mapping[str, object], jobs: Sequence[Job] = (), *, thorough: bool = False
) -> bool:
    """Whether exactly this dataset already lies there, complete and of the files as they are now.

    Args:
        identity: what defines the dataset: converter, choices, source files.
        jobs: of its cases, whose source files are compared with what they held.
        thorough: read all of them, also where sizes and times say that nothing changed.

    Raises:
        InputError: something else lies there, files of it are missing, or source files have changed since.
    """
    if not os.path.lexists(target.folder):
        return False
    cure = "choose another id with -d, or move the folder away"
    if not (target.folder / RECEIPT).is_file():
        raise InputError("exists and was not written by nnunet-spine convert", cure, target.folder)
    receipt = read_json(target.folder / RECEIPT)
    if changed := _changed(receipt, jobs, (target.folder / RECEIPT).stat().st_mtime_ns, thorough):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        cure = "move the folder away and convert again, or choose another id with -d"
        raise InputError(f"was made before these changed: {', '.join(changed[:3])}{more}", cure, target.folder)
    there = receipt.get("identity", {}) if isinstance(receipt, dict) else {}
    if differing := differences(there, identity):
        raise InputError(f"exists and differs in: {', '.join(differing)}", cure, target.folder)
    if missing := [name for name in receipt.get("files", []) if not (target.folder / name).exists()]:
        raise InputError(
            f"{len(missing)} files of the finished dataset are missing, e.g. {missing[0]}",
            "restore them, or remove the folder and convert again",
            target.folder,
        )
    return True


def _changed(receipt: object, jobs: Sequence[Job], noted_ns: int, thorough: bool) -> list[str]:
    """Source files that hold something else than when the dataset was made, as far as its receipt says."""
    noted = receipt.get("contents", {}) if isinstance(receipt, dict) else {}
    changed = []
    for job in jobs:
        then = {name: Contents(**held) if held else None for name, held in noted.get(job.case, {}).items()}
        for name, path in job.inputs().items():
            if name in then and not unchanged(path, then[name], noted_ns, thorough=thorough):
                changed.append(f"{name} of {job.case} ({path})")
    return changed


ADDED_LATER = {
    "min_unlisted_mm3": 2000.0, "declared": [], "folds": "source", "accept": [], "believe": "auto", "border": "keep",
    "unlabelled": "background",
}  # fmt: skip
"""What datasets converted before an option existed were made with; their other new keys do not count."""


def differences(there: Mapping[str, object], identity: Mapping[str, object]) -> list[str]:
    """Keys in which a finished dataset differs from the wanted one.

    A dataset of an earlier format is still the one it is: only what its receipt says is compared.
    """
    if there.get("format") == identity.get("format"):
        return sorted(key for key in {*there, *identity} if there.get(key) != identity.get(key))
    there = {**ADDED_LATER, **there}
    common = (there.keys() & identity.keys()) - {"format"}
    nested = {key for key in common if isinstance(there[key], dict) and isinstance(identity[key], dict)}
    differing = [key for key in common - nested if there[key] != identity[key]]
    return sorted(differing + [key for key in nested if differences(there[key], identity[key])])
