"""Label values of a mask against the table of its data set: unknown ones, noise, islands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.dataset_conversion.case import Choices
from nnunet_spine.dataset_conversion.label_sets import IGNORE
from nnunet_spine.dataset_conversion.masks import Mask, small_pieces, voxel_mm3
from nnunet_spine.dataset_conversion.sources import OpenMask
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import bounding_box


@dataclass
class Labels:
    """Labels of one mask by level name while they are checked; values to be ignored apart."""

    values: dict[str, int]
    boxes: dict[str, tuple[slice, slice, slice]]
    islands: list[str] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)


def drop_labels(mask: Mask, values: tuple[int, ...]) -> None:
    """Turn unwanted mask values into background."""
    for value in values:
        hit = mask.array == value
        if hit.any():
            mask.array[hit] = 0
            mask.flags.append(f"label {value} dropped")


def clean_labels(
    mask: Mask,
    extents: Mapping[int, tuple[int, tuple[slice, slice, slice]]],
    source: OpenMask,
    path: Path,
    choices: Choices,
    listed: frozenset[str],
) -> Labels:
    """Refuse unknown labels, remove noise, report islands.

    Args:
        mask: changed in place.
        extents: of its labels, see `label_extents`.
        source: grid and names of the values.
        path: for messages.
        listed: levels that the scan's landmark file lists; empty where there is none.

    Raises:
        InputError: a value without a name, or two values of one level.
    """
    if unknown := sorted(set(extents) - set(source.names)):
        raise InputError(
            f"unknown label {', '.join(map(str, unknown))} ({', '.join(str(extents[v][0]) for v in unknown)} voxels)",
            f"correct the mask, or drop the label with --drop-labels {' '.join(map(str, unknown))}",
            path,
        )
    size = voxel_mm3(source.grid.affine)
    labels = Labels({}, {})
    for value, (count, box) in extents.items():
        name, volume = source.names[value], count * size
        if name == IGNORE:
            labels.ignored.append(value)
            continue
        if name in labels.values:
            raise InputError(f"two values for {name}: {labels.values[name]} and {value}", "correct the mask", path)
        limit = max(choices.min_volume_mm3, choices.min_unlisted_mm3) if listed and name not in listed else 0
        one = mask.array[box] == value
        if volume < choices.min_volume_mm3 or (choices.min_volume_mm3 > 0 and volume < limit):
            mask.array[box][one] = 0
            why = "" if volume < choices.min_volume_mm3 else f", not in the centroid file and below {limit:g} mm3"
            labels.islands.append(f"{name} removed ({volume:.3g} mm3{why})")
            continue
        pieces, found = small_pieces(one, size, choices.min_volume_mm3)
        if found.count:
            done = "removed" if choices.remove_islands else "kept"
            labels.islands.append(f"{name} {found.count} pieces {done} ({found.volume_mm3:.3g} mm3)")
        if choices.remove_islands and pieces is not None:
            mask.array[box][pieces] = 0
            left = bounding_box(mask.array[box] == value)
            box = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, left, strict=True))
        labels.values[name], labels.boxes[name] = value, box
    return labels
