"""The masks that a command is given, and what their values mean."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.io.label_evidence import table_of_masks
from nnunet_spine.io.label_ids import NNUNET, LabelTable, find_table, present_values
from nnunet_spine.io.masks import is_mask_name, read_mask

INSTANCES = "instances"
"""Name of a table whose numbers are no names."""


def masks_in(place: str | Path) -> list[Path]:
    """A mask, or the masks directly in a folder.

    Raises:
        InputError: none there.
    """
    place = Path(place)
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError("no such file or folder", "check the path", place)
    masks = sorted(p for p in place.iterdir() if is_mask_name(p))
    if not masks:
        raise InputError("no mask (.nii.gz, .nii, .nrrd, .mha, .mhd)", "give the folder with the masks", place)
    return masks


def table_for(masks: Sequence[Path], name: str) -> LabelTable | None:
    """What the values of some masks mean.

    Args:
        masks: the files.
        name: "instances" (nothing), "auto" (as the files and what lies beside them say), or see `find_table`.

    Returns:
        None for plain instances, and for tables of regions or the whole spine, whose bones have no names yet.

    Raises:
        InputError: no such table, or the files do not tell.
    """
    if name == INSTANCES:
        return None
    try:
        table = masks_table(masks, name)
    except InputError as error:
        raise InputError(
            error.found, error.cure.format(role="mask").replace("--mask-labels", "--labels"), error.path
        ) from None
    return table if table.kind == "vertebrae" else None


def masks_table(masks: Sequence[Path], name: str) -> LabelTable:
    """What the values of some masks mean, of whatever kind.

    Args:
        masks: files; or folders with one file per vertebra, which are called after their levels.
        name: "auto" (as the files and what lies beside them say), or see `find_table`.

    Raises:
        InputError: no such table, or the files do not tell; `{role}` in its cure stands for whose masks these are.
    """
    if name != "auto":
        return find_table(name)
    files = [mask for mask in masks if not mask.is_dir()]
    if not files:
        return NNUNET
    return table_of_masks(files, lambda: [present_values(read_mask(mask).labels) for mask in files])
