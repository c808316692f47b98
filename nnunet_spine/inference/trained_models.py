"""Models in nnUNet_results, by nnU-Net's dataset, configuration, trainer and plans."""

from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.environment import nnunet_folder


def trained_model(
    dataset: str, configuration: str | None = None, trainer: str | None = None, plans: str | None = None
) -> Path:
    """The folder of a model that nnU-Net has trained.

    Args:
        dataset: its number or its full name.
        configuration, trainer, plans: as its folder names them; None: the only one there is.

    Raises:
        InputError: nnUNet_results is not set, no such model, or several.
    """
    results = nnunet_folder("nnUNet_results")
    there = sorted(p for p in results.glob("Dataset*_*") if p.is_dir())
    prefix = f"Dataset{int(dataset):03d}_" if dataset.isdigit() else ""
    found = [p for p in there if p.name == dataset or (prefix and p.name.startswith(prefix))]
    if not found:
        cure = f"there is {', '.join(p.name for p in there)}" if there else "train a model first, or give one with -m"
        raise InputError(f"no dataset '{dataset}' in nnUNet_results", cure, results)
    if len(found) > 1:
        raise InputError(f"number {dataset} belongs to {' and '.join(p.name for p in found)}", "give the full name")
    models = {p.name: tuple(p.name.split("__")) for p in sorted(found[0].glob("*__*__*")) if p.is_dir()}
    wanted = (trainer, plans, configuration)
    fitting = [
        name
        for name, parts in models.items()
        if len(parts) == 3 and all(want in (None, part) for want, part in zip(wanted, parts, strict=True))
    ]
    if len(fitting) == 1:
        return found[0] / fitting[0]
    if not models:
        raise InputError("no trained model", "train one first, or give one with -m", found[0])
    found_text = "several models" if fitting else f"no model of {_words(wanted)}"
    cure = f"name one with -tr, -p and -c: there is {', '.join(fitting or models)}"
    raise InputError(found_text, cure, found[0])


def _words(wanted: tuple[str | None, ...]) -> str:
    return " ".join(f"{option} {value}" for option, value in zip(("-tr", "-p", "-c"), wanted, strict=True) if value)
