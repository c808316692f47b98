"""A trained model from where it lies: a folder, a packaged file, or the package itself.

No pickled code runs on the way: checkpoints are loaded with torch's weights-only loading, packaged files hold none.
"""

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_folders import CHECKPOINT, read_folder
from nnunet_spine.inference.model_packages import read_package
from nnunet_spine.inference.models import Model


def shipped_model() -> Path:
    """Where the model that comes with the package lies, its card (.md) beside it."""
    return Path(__file__).resolve().parents[1] / "models" / "starter.zip"


def read_model(path: str | Path | None = None, *, folds: Sequence[str] = (), checkpoint: str | None = None) -> Model:
    """Read a model.

    Args:
        path: a model folder that nnU-Net's training left, or a file of `nnunet-spine model pack`; None: the model that
            comes with the package.
        folds: names such as "0" or "all"; empty means all: of a folder those that have the checkpoint, "all" only if
            it is alone.
        checkpoint: file name in each fold of a folder; None is checkpoint_final.pth. A packaged file has one
            checkpoint, and its name is not asked for.

    Raises:
        InputError: there is no such model, or what is there is not one, with the reason.
    """
    if path is None:
        path = shipped_model()
        if not path.is_file():
            raise InputError("no model comes with this version", "give one with -m, -d or train one", path)
    path = Path(path)
    if path.is_dir():
        return read_folder(path, folds=folds, checkpoint=checkpoint or CHECKPOINT)
    if checkpoint is not None and path.is_file():
        raise InputError(f"checkpoint {checkpoint} of a packaged model", "leave it out: a package holds one", path)
    return read_package(path, folds=folds)
