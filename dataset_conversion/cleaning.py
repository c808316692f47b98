"""Label values of a mask against the table of its data set: unknown ones, noise, islands."""

from dataclasses import dataclass, field

from nnunet_spine.dataset_conversion.case import Choices, Scan
from nnunet_spine.dataset_conversion.masks import UNLISTED_VOLUME_MM3, Mask, small_pieces, voxel_mm3
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import bounding_box
from nnunet_spine.io.streams import VolumeInfo


@dataclass
class Labels:
    """Labels of one mask by level name while they are checked."""

    values: dict[str, int]
    boxes: dict[str, tuple[slice, slice, slice]]
    islands: list[str] = field(default_factory=list)


def drop_labels(mask: Mask, values: tuple[int, ...]) -> None:
    """Turn unwanted mask values into background."""
    for value in values:
        hit = mask.array == value
        if hit.any():
            mask.array[hit] = 0
            mask.flags.append(f"label {value} dropped")


def clean_labels(
    mask: Mask,
    extents: dict[int, tuple[int, tuple[slice, slice, slice]]],
    scan: Scan,
    image: VolumeInfo,
    choices: Choices,
    listed: set[int],
) -> Labels:
    """Refuse unknown labels, remove noise, report islands."""
    if unknown := sorted(set(extents) - set(scan.labels)):
        raise InputError(
            f"unknown label {', '.join(map(str, unknown))} ({', '.join(str(extents[v][0]) for v in unknown)} voxels)",
            f"correct the mask, or drop the label with --drop-labels {' '.join(map(str, unknown))}",
            scan.mask,
        )
    size = voxel_mm3(image.affine)
    labels = Labels({}, {})
    for value, (count, box) in extents.items():
        name, volume = scan.labels[value], count * size
        limit = max(choices.min_volume_mm3, UNLISTED_VOLUME_MM3) if listed and value not in listed else 0
        one = mask.array[box] == value
        if volume < choices.min_volume_mm3 or (choices.min_volume_mm3 > 0 and volume < limit):
            mask.array[box][one] = 0
            why = "" if volume < choices.min_volume_mm3 else ", not in the centroid file"
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
