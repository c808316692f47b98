"""From logits to labels on the grid of the image: nnU-Net's result voxel for voxel, in less time and memory.

nnU-Net resamples every channel to the full grid in float64, keeps all of them, and compares. Here the winner is found
on the network's grid, and only where neighbouring voxels disagree, or two classes are nearly equal, are logits
interpolated: with the same numbers in the same order, so that ties fall the same way (`export_codes` says why that is
enough). Plans that ask for something else than linear or nearest interpolation go to nnU-Net's own function.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from scipy import ndimage

from nnunet_spine.inference.export_codes import Map, agreed, codes_of, open_code
from nnunet_spine.inference.export_grid import Axis, axes_of

_SLAB_VOXELS = 1 << 20  # of the output, worked on at once by each thread
_POINTS = 1 << 17  # interpolated at once by each thread
_SLAB_BYTES = 1.7e7  # measured, beside the interpolated logits


@dataclass(frozen=True, eq=False)
class Reading:
    """Logits, and how nnU-Net reads them on the image's grid, the part of it that was cropped."""

    logits: np.ndarray
    axes: tuple[Axis, ...]
    labels: LabelManager

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.position) for axis in self.axes)

    def slabs(self, most_voxels: int) -> list[slice]:
        """Rows of the output to work on at once."""
        n_rows, row = self.shape[0], int(np.prod(self.shape[1:]))
        step = max(1, most_voxels // max(1, row))
        return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]

    def at(self, index: tuple[np.ndarray, ...]) -> np.ndarray:
        """Interpolated logits, in their own type: nnU-Net's to the last bit.

        Args:
            index: of output voxels per axis, arrays of one shape.

        Returns:
            (channels, *shape of an index array).
        """
        out = np.empty((len(self.logits), *index[0].shape), self.logits.dtype)
        if not index[0].size:
            return out
        box = [(int(a.low[i.min()]), int(a.high[i.max()]) + 1) for a, i in zip(self.axes, index, strict=True)]
        # Whole numbers are taken away exactly, so that the weights stay what they are.
        positions = np.stack([a.position[i] - low for a, i, (low, _) in zip(self.axes, index, box, strict=True)])
        part = tuple(slice(low, high) for low, high in box)
        for channel, target in zip(self.logits, out, strict=True):
            values = np.asarray(channel[part], np.float64)
            target[...] = ndimage.map_coordinates(values, positions, order=1, mode="nearest", prefilter=False)
        return out


def segmentation_of(
    logits: "np.ndarray | torch.Tensor",
    plans: PlansManager,
    configuration: ConfigurationManager,
    labels: LabelManager,
    properties: Mapping[str, Any],
    *,
    threads: int = 1,
) -> np.ndarray:
    """The label map that nnU-Net makes of logits (`convert_predicted_logits_to_segmentation_with_correct_shape`).

    Args:
        logits: (channels, n0, n1, n2) as the predictor returns them; may be a memory map, of which a slab is read at a
            time.
        properties: of the image, as the preprocessor returns them.
        threads: to work with.

    Returns:
        On the grid of the image as its reader gave it, uint8, or uint16 for more than 254 labels.
    """
    reading = reading_of(logits, plans, configuration, labels, properties)
    with _workers(threads) as each:
        found = reading and _segmentation(reading, each)
    if found is None:
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, labels, dict(properties), num_threads_torch=threads
        )
    return _uncropped(found, labels, properties).transpose(plans.transpose_backward)


def _segmentation(reading: Reading, each: Map) -> np.ndarray | None:
    """Labels of the part that was cropped; None if logits are not finite."""
    labels = reading.labels
    interpolated = not all(axis.is_nearest for axis in reading.axes)
    codes = codes_of(reading.logits, regions=labels.has_regions, interpolated=interpolated, each=each)
    if codes is None:
        return None
    undecided = open_code(codes.dtype)
    names = np.array([0, *labels.regions_class_order]) if labels.has_regions else np.arange(len(reading.logits))
    lookup = np.zeros(undecided + 1, _label_type(labels))
    lookup[: len(names)] = names
    out = np.empty(reading.shape, lookup.dtype)

    def fill(slab: slice) -> None:
        first, others = reading.axes[0].part(slab), reading.axes[1:]
        code = agreed(codes, [a.low for a in (first, *others)], [a.high for a in (first, *others)])
        out[slab] = lookup[code]
        points = np.flatnonzero(code == undecided)
        for start in range(0, len(points), _POINTS):
            i, j, k = np.unravel_index(points[start : start + _POINTS], code.shape)
            i += slab.start
            out[i, j, k] = labels.convert_logits_to_segmentation(reading.at((i, j, k)))

    for _ in each(fill, reading.slabs(_SLAB_VOXELS)):
        pass
    return out


def probabilities_of(
    logits: "np.ndarray | torch.Tensor",
    plans: PlansManager,
    configuration: ConfigurationManager,
    labels: LabelManager,
    properties: Mapping[str, Any],
    path: str | Path,
    *,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The label map and the probabilities that nnU-Net makes of logits; the latter stay in a file.

    As nnU-Net does, the label map is then made of the probabilities. Arguments as `segmentation_of`.

    Args:
        path: .npy file to write.

    Returns:
        The label map, and a memory map of the probabilities, float32 (channels, *shape of the label map).
    """
    shape = tuple(properties["shape_before_cropping"])
    reading = reading_of(logits, plans, configuration, labels, properties)
    into = [0] + [axis + 1 for axis in plans.transpose_backward]
    stored = np.lib.format.open_memmap(path, "w+", np.float32, (labels.num_segmentation_heads, *shape))
    if reading is None:
        found, whole = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, labels, dict(properties), return_probabilities=True, num_threads_torch=threads
        )
        view = stored.transpose(into)
        view[...] = whole
        return found, view
    if not labels.has_regions:
        stored[0] = 1  # background, outside what was cropped
    box = [slice(max(0, low), high) for low, high in properties["bbox_used_for_cropping"]]
    part = stored[(slice(None), *box)]
    cropped = np.empty(reading.shape, _label_type(labels))

    def fill(slab: slice) -> None:
        rows = np.arange(slab.start, slab.stop)
        index = np.meshgrid(rows, *map(np.arange, reading.shape[1:]), indexing="ij")
        probabilities = labels.apply_inference_nonlin(reading.at(tuple(index)))
        cropped[slab] = labels.convert_probabilities_to_segmentation(probabilities).numpy()
        part[:, slab] = probabilities.numpy()

    with _workers(threads) as each:
        for _ in each(fill, reading.slabs(_SLAB_VOXELS // 4)):
            pass
    return _uncropped(cropped, labels, properties).transpose(plans.transpose_backward), stored.transpose(into)


def export_bytes(
    shape: Sequence[int],
    new_shape: Sequence[int],
    plans: PlansManager,
    configuration: ConfigurationManager,
    labels: LabelManager,
    spacing_mm: Sequence[float],
    *,
    threads: int = 1,
) -> float:
    """Peak memory of `segmentation_of` for float16 logits, these included.

    Args:
        shape: of the logits without channels.
        new_shape: of the image, transposed as the plans say.
        spacing_mm: of the image as it was read.
    """
    heads, inside, voxels = labels.num_segmentation_heads, float(np.prod(shape)), float(np.prod(new_shape))
    if type(labels) is LabelManager and axes_of(shape, new_shape, plans, configuration, spacing_mm) is not None:
        codes, label = (1 if heads < 255 else 2), np.dtype(_label_type(labels)).itemsize
        work = threads * (_SLAB_BYTES + 2 * heads * _POINTS)
        return (2 * heads + codes) * inside + max(label * voxels + work, 2 * label * voxels)
    resampled = tuple(shape) != tuple(new_shape)
    there = (2 + 8 * resampled + 4 * labels.has_regions) * heads * inside
    return there + (2 * heads * resampled + 24 * resampled + 12) * voxels


def reading_of(logits, plans, configuration, labels, properties) -> Reading | None:
    """How logits are read; arguments as `segmentation_of`. None where nnU-Net's own function has to do it."""
    array = logits.numpy() if isinstance(logits, torch.Tensor) else logits
    new_shape = properties["shape_after_cropping_and_before_resampling"]
    if type(labels) is not LabelManager or array.dtype not in (np.float16, np.float32) or len(new_shape) != 3:
        return None
    axes = axes_of(array.shape[1:], new_shape, plans, configuration, properties["spacing"])
    return None if axes is None else Reading(array, axes, labels)


@contextmanager
def _workers(threads: int) -> Iterator[Map]:
    """Calls a function for each of some things, in order, in threads of our own."""
    if threads < 2:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map


def _label_type(labels: LabelManager) -> type:
    return np.uint8 if len(labels.foreground_labels) < 255 else np.uint16


def _uncropped(cropped: np.ndarray, labels: LabelManager, properties: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(properties["shape_before_cropping"])
    if cropped.shape == shape:
        return cropped
    return insert_crop_into_image(np.zeros(shape, _label_type(labels)), cropped, properties["bbox_used_for_cropping"])
