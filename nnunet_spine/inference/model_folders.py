"""Model folders as nnU-Net's training leaves them."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nnunet_spine.errors import InputError
from nnunet_spine.inference.models import Member, Model, choose_folds, digest
from nnunet_spine.io.files import read_json

CHECKPOINT = "checkpoint_final.pth"
MAIN = "main"

# nnU-Net's log of a training holds numbers of numpy; their pickles name these, under the names of numpy 1 as well.
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
_NUMBERS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_ARRAY, "numpy.core.multiarray._reconstruct"),
    (_ARRAY, "numpy._core.multiarray._reconstruct"),
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
]


def read_folder(folder: str | Path, *, folds: Sequence[str] = (), checkpoint: str = CHECKPOINT) -> Model:
    """Read a model folder; see `models.read_model`.

    Raises:
        InputError: it is no model folder, a fold or its checkpoint is missing or no checkpoint, or folds are of
            different trainings.
    """
    folder = Path(folder)
    require_folder(folder)
    plans, dataset_json = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    fingerprint = folder / "dataset_fingerprint.json"
    there = [file.parent.name.removeprefix("fold_") for file in sorted(folder.glob(f"fold_*/{checkpoint}"))]
    if not there:
        others = sorted({file.name for file in folder.glob("fold_*/*.pth")})
        cure = f"there is {', '.join(others)}: name it with -chk" if others else "train first"
        raise InputError(f"no fold with {checkpoint}", cure, folder)
    weights, facts = {}, {}
    for fold in choose_folds(there, folds, folder):
        content = read_checkpoint(folder / f"fold_{fold}" / checkpoint)
        weights[fold] = content["network_weights"]
        axes = content.get("inference_allowed_mirroring_axes")
        facts[fold] = (content["trainer_name"], content["init_args"]["configuration"], axes and tuple(axes))
    first, *others = facts.values()
    if any(other != first for other in others):
        raise InputError(f"folds of different trainings ({facts})", "choose those of one with -f", folder)
    read = read_json(fingerprint) if fingerprint.is_file() else None
    member = Member(MAIN, *first, plans, dataset_json, read, weights, folder)
    return Model(None, (member,), folder, digest([member]))


def require_folder(folder: Path) -> None:
    """Check that a folder is that of a model, with its folds in it.

    Raises:
        InputError: no such folder, or that of one fold.
    """
    if folder.name.startswith("fold_") and not (folder / "plans.json").is_file():
        fold = folder.name.removeprefix("fold_")
        raise InputError("is one fold of a model", f"give -m {folder.parent} -f {fold}", folder)
    if not folder.is_dir():
        raise InputError("no such folder", "check the path", folder)


def read_checkpoint(file: Path) -> dict:
    """A checkpoint of nnU-Net, loaded without running code that it may hold.

    Raises:
        InputError: missing, unreadable, no checkpoint of nnU-Net, or with other objects than weights and numbers.
    """
    if not file.is_file():
        raise InputError("no such file", "train this fold first", file)
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"holds more than weights and numbers, or is no checkpoint ({reason})", "restore the file", file
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"not readable as a checkpoint ({error})", "restore the file", file) from error
    wanted = ("network_weights", "trainer_name", "init_args")
    if not isinstance(content, dict) or any(name not in content for name in wanted):
        raise InputError("no checkpoint of nnU-Net", f"expected {', '.join(wanted)}", file)
    return content
