"""Models written as nnU-Net's own folders, so that its programs can use them, and their plans for another dataset."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from nnunet_spine.errors import InputError, write_error
from nnunet_spine.inference.model_folders import CHECKPOINT
from nnunet_spine.inference.models import Member, Model
from nnunet_spine.io.environment import nnunet_folder, other_datasets_of_number, raw_dataset
from nnunet_spine.io.files import link_or_copy, read_json, write_json, write_text


def install_folder(model: Model, results: str | Path, page: str) -> Path:
    """Write a model as nnU-Net's training would have left it; appears whole or not at all.

    Its checkpoints predict and initialise a training (`-pretrained_weights`), but cannot be continued: they hold no
    state of an optimiser.

    Args:
        results: the folder that nnUNet_results names, or another one.
        page: its card, written beside as card.md.

    Returns:
        The model folder.

    Raises:
        InputError: the model is a cascade, a folder of this name is there, or its number belongs to another dataset.
        WriteError: it cannot be written.
    """
    member = model.only_member()
    dataset = member.plans["dataset_name"]
    name = f"{member.trainer}__{member.plans['plans_name']}__{member.configuration}"
    folder = Path(results) / dataset / name
    if folder.exists():
        raise InputError("is there already", "remove it, or choose another place with -o", folder)
    if others := other_datasets_of_number(dataset):
        cure = "rename that one, or install with -o into a folder that nnU-Net does not search"
        raise InputError(f"the number of {dataset} belongs to {others[0]} as well", cure, folder)
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        temporary.chmod(folder.parent.stat().st_mode & 0o777)
        _write(member, temporary, page)
        temporary.rename(folder)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter where the disk is full
        raise write_error(error if isinstance(error, OSError) else OSError(str(error)), folder) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of an installed model."""
    return sorted(folder.glob(f"fold_*/{CHECKPOINT}"))


def plans_for(member: Member, dataset: str | int) -> Path:
    """Put a model's plans beside those of a dataset, so that it is preprocessed as the model wants it.

    As `nnUNetv2_move_plans_between_datasets`, which needs the dataset that the model was trained on.

    Args:
        dataset: number or name of a dataset in nnUNet_raw.

    Returns:
        The file of plans.

    Raises:
        InputError: no such dataset, it has other channels, or other plans of this name.
        WriteError: it cannot be written.
    """
    raw = raw_dataset(dataset)
    dataset_json = read_json(raw / "dataset.json")
    expected, found = (content.get("channel_names") for content in (member.dataset_json, dataset_json))
    if len(expected or ()) != len(found or ()):
        raise InputError(f"channels {found}; the model has {expected}", "choose another model", raw / "dataset.json")
    plans: dict[str, Any] = {**member.plans, "dataset_name": raw.name}
    cases = get_filenames_of_train_images_and_targets(str(raw), dataset_json)
    image = next(iter(cases.values()))["images"][0]
    reader = determine_reader_writer_from_dataset_json(dataset_json, image, True, verbose=False)
    plans["image_reader_writer"] = reader.__name__
    folder = nnunet_folder("nnUNet_preprocessed") / raw.name
    path = folder / f"{plans['plans_name']}.json"
    if path.is_file():
        if read_json(path) != plans:
            raise InputError("other plans of this name are there", "rename or remove them", path)
        return path
    if not (folder / "dataset.json").is_file():
        link_or_copy(raw / "dataset.json", folder / "dataset.json", copy=True)
    write_json(path, plans)
    return path


def _write(member: Member, folder: Path, page: str) -> None:
    write_json(folder / "plans.json", member.plans)
    write_json(folder / "dataset.json", member.dataset_json)
    if member.fingerprint is not None:
        write_json(folder / "dataset_fingerprint.json", member.fingerprint)
    write_text(folder / "card.md", page)
    for fold, weights in member.folds.items():
        content = {
            "network_weights": dict(weights),
            "optimizer_state": None,
            "grad_scaler_state": None,
            "logging": {},
            "_best_ema": None,
            "current_epoch": 0,
            "init_args": {
                "plans": member.plans,
                "configuration": member.configuration,
                "fold": fold if fold == "all" else int(fold),
                "dataset_json": member.dataset_json,
            },
            "trainer_name": member.trainer,
            "inference_allowed_mirroring_axes": member.mirroring_axes,
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(content, folder / f"fold_{fold}" / CHECKPOINT)
