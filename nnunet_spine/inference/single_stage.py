"""One model of nnU-Net as a segmenter: nnU-Net's preprocessing and predictor between our readers and export.

The network sees what `nnUNetv2_predict` would show it: the axes as the reader of the model's plans has them.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_spine import geometry
from nnunet_spine.errors import InputError
from nnunet_spine.inference.devices import find_device
from nnunet_spine.inference.export import export_bytes, segmentation_of
from nnunet_spine.inference.model_networks import make_predictor
from nnunet_spine.inference.model_reading import read_model
from nnunet_spine.inference.models import Member, Model
from nnunet_spine.inference.scan_files import Scan
from nnunet_spine.inference.segmenters import Segmentation
from nnunet_spine.io.label_ids import LabelTable, table_of_names

REORIENTING = "NibabelIOWithReorient"
AS_STORED = ("NibabelIO", "SimpleITKIO")
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class SingleStage:
    """How to open a model; see `model_reading.read_model` for the first three.

    Attributes:
        device: name of the device; None: a GPU if there is one.
        step_size: of the sliding window, as a share of the patch.
        mirroring: average over mirrored patches, if the model was trained so.
        threads: of torch on CPU; None: as many as it likes.
        patch_bar: show the progress within a scan.
    """

    model: str | Path | None = None
    folds: tuple[str, ...] = ()
    checkpoint: str | None = None
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    threads: int | None = None
    patch_bar: bool = False

    def open(self) -> "OpenSingleStage":
        """Read the model.

        Raises:
            InputError: it is missing, or no model of vertebrae in one CT.
        """
        model = read_model(self.model, folds=self.folds, checkpoint=self.checkpoint)
        member = model.only_member()
        table = _table_of(member)
        _check(member, table)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        options = {"tile_step_size": self.step_size, "use_mirroring": self.mirroring, "allow_tqdm": self.patch_bar}
        predictor = make_predictor(member, find_device(self.device), perform_everything_on_device=True, **options)
        return OpenSingleStage(self, model, member, predictor, table)


@dataclass(frozen=True, eq=False)
class OpenSingleStage:
    """A model in memory; see `segmenters.OpenSegmenter`."""

    spec: SingleStage
    model: Model
    member: Member
    predictor: nnUNetPredictor
    table: LabelTable

    @property
    def identity(self) -> dict[str, Any]:
        return self.model.identity

    @property
    def device(self) -> str:
        return str(self.predictor.device)

    @property
    def settings(self) -> object:
        return [self.model.sha256, self.spec.step_size, self.spec.mirroring and self.member.mirroring_axes is not None]

    def peak_bytes(self, shape: tuple[int, ...], affine: np.ndarray) -> float:
        """Memory of one scan, beside the network: that of preprocessing, network or export, whichever is most."""
        seen, affine = self._seen(np.broadcast_to(np.uint8(0), shape), affine)
        plans, configuration, labels = (
            self.predictor.plans_manager,
            self.predictor.configuration_manager,
            self.predictor.label_manager,
        )
        order = list(plans.transpose_forward)
        size, spacing = np.array(seen.shape)[::-1][order], geometry.spacing_mm(affine)[::-1][order]
        target = np.array([spacing[0], *configuration.spacing][-3:])
        inside_size = np.round(size * spacing / target)
        resampled = not np.array_equal(inside_size, size)
        voxels, inside = (
            float(np.prod(size)),
            float(np.prod(np.maximum(inside_size, [1, *configuration.patch_size][-3:]))),
        )
        heads = labels.num_segmentation_heads
        prepared = 12 * voxels + resampled * (16 * voxels + 12 * inside)
        network = (2 * heads * min(2, len(self.member.folds)) + 8) * inside
        grids = np.maximum(inside_size, 1).astype(int).tolist(), size.tolist()
        spacing_read = geometry.spacing_mm(affine)[::-1].tolist()
        exported = export_bytes(*grids, plans, configuration, labels, spacing_read, threads=torch.get_num_threads())
        exported += 2 * heads * (inside - float(np.prod(inside_size)))  # the predictor pads small scans to a patch
        return 4 * voxels + max(prepared, network, exported)

    def _seen(self, voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A volume with its axes as the reader of the model's plans has them, x first, and its affine."""
        if self.member.plans["image_reader_writer"] == REORIENTING:
            return geometry.reorient(voxels, affine)
        return voxels, affine

    def segment(self, scan: Scan) -> Segmentation:
        """See `segmenters.OpenSegmenter`."""
        start = time.perf_counter()
        predictor, seconds = self.predictor, {}

        def step(name: str) -> None:
            nonlocal start
            now = time.perf_counter()
            seconds[name], start = round(now - start, 3), now

        try:
            seen, affine = self._seen(scan.voxels, scan.affine)
            properties: dict[str, Any] = {"spacing": geometry.spacing_mm(affine)[::-1].tolist()}
            preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
            data, _, properties = preprocessor.run_case_npy(
                seen.transpose(2, 1, 0)[None], None, properties, predictor.plans_manager,
                predictor.configuration_manager, predictor.dataset_json,
            )  # fmt: skip
            step("preprocessing")
            logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
            step("network")
            labels = segmentation_of(
                logits, predictor.plans_manager, predictor.configuration_manager, predictor.label_manager, properties,
                threads=torch.get_num_threads(),
            )  # fmt: skip
            del logits
        except RuntimeError as error:
            if any(words in str(error) for words in _OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise
        labels = geometry.reorient(labels.transpose(2, 1, 0), affine, geometry.axis_codes(scan.affine))[0]
        labels = np.array(labels, np.uint8, order="F")
        self.table.to_ids(labels)
        step("export")
        return Segmentation(labels, self.table.kind, seconds)


def _table_of(member: Member) -> LabelTable:
    """What the labels of a model's predictions mean.

    Raises:
        InputError: no vertebrae among them.
    """
    labels, order = member.dataset_json["labels"], list(member.dataset_json.get("regions_class_order") or ())
    named = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    if any(isinstance(value, list | tuple) for value in named.values()):  # regions, in the order of their values
        named = dict(zip(named, order, strict=True))
    try:
        return table_of_names({int(value): name for name, value in named.items()}, member.path)
    except InputError as error:
        raise InputError(error.found, "give a model of vertebrae, regions or the spine", member.path) from None


def _check(member: Member, table: LabelTable) -> None:
    """Whether a model takes one CT and gives a label map of the spine.

    Raises:
        InputError: it is of another kind.
    """
    _, configuration = member.managers()
    channels = member.dataset_json.get("channel_names") or member.dataset_json.get("modality") or {}
    reader = member.plans["image_reader_writer"]
    if table.kind == "vertebra":
        found, cure = "a model of single vertebrae in crops", "use nnunet-spine crop, nnUNetv2_predict and paste"
    elif len(channels) != 1:
        found, cure = f"a model of {len(channels)} images per case", "give a model of one CT"
    elif configuration.previous_stage_name is not None:
        found = f"a model that refines predictions of {configuration.previous_stage_name}"
        cure = "give the model of 3d_fullres or 3d_lowres"
    elif reader not in (REORIENTING, *AS_STORED):
        found, cure = f"a model of images read by {reader}", f"expected {', '.join((REORIENTING, *AS_STORED))}"
    else:
        return
    raise InputError(found, cure, member.path)
