"""An nnU-Net planner that knows spines: spacing, sagittal slices, and the memory of our networks.

nnU-Net searches planners only inside itself, so this one runs through `nnunet-spine plan`, which calls nnU-Net's own
planning function with it. The plans it writes name nnU-Net's plain network and are ordinary plans: any trainer, stock
or ours, can use them.
"""

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, plan_experiment_dataset
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_spine.errors import InputError
from nnunet_spine.io.environment import check_plans_name, nnunet_folder, raw_dataset
from nnunet_spine.io.files import read_json
from nnunet_spine.training.memory import PLANNED_GB
from nnunet_spine.training.networks import network_from_plans
from nnunet_spine.training.preconditions import DEFAULT_PLANS
from nnunet_spine.training.readers import REORIENTING_READERS
from nnunet_spine.training.settings import Network

SAGITTAL_FIRST = [2, 0, 1]
CPU_SPACING_MM = (4.0, 4.0, 4.0)
CPU_MEMORY_GB = 0.18
INTENSITIES = "foreground_intensity_properties_per_channel"
WHOLE_VOLUME_PATCH = (128, 128, 128)
WHOLE_VOLUME_SPACING_MM = 1.5


@dataclass(frozen=True)
class PlanOptions:
    """What a user may ask of the planner.

    Attributes:
        network: the one whose memory counts; without an architecture the plain U-Net.
        spacing_mm: target spacing cranio-caudal, antero-posterior, left-right; None for the data's median.
        patch_size: voxels cranio-caudal, antero-posterior, left-right, whatever the memory; the 2d configuration takes
            its slices' axes. None leaves it to nnU-Net.
        whole_volume: without `spacing_mm`, choose the spacing so that the largest scan fits `patch_size`, along each
            axis for itself and not below 1.5 mm; and plan no second resolution.
        sagittal: slices of the 2d configuration are sagittal whatever the spacing.
        cpu: small network and patch for training in minutes on a few CPU cores.
        window_hu: CT is clipped to this range and mapped to 0 to 2, so that padding is its lower end, instead of by
            what the fingerprint says of the foreground.
    """

    network: Network = field(default_factory=Network)
    spacing_mm: tuple[float, float, float] | None = None
    patch_size: tuple[int, int, int] | None = None
    whole_volume: bool = False
    sagittal: bool = False
    cpu: bool = False
    window_hu: tuple[float, float] | None = None


class SpinePlanner(ExperimentPlanner):
    """nnU-Net's planner with `PlanOptions`; make one with `configured_planner`."""

    options = PlanOptions()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.options.cpu:
            self.UNet_base_num_features = 12
            self.UNet_max_features_2d = self.UNet_max_features_3d = 128
        if self.options.cpu or self.options.whole_volume:
            # Whole phantoms and torsos fit one patch at the coarse spacing, so one resolution is enough.
            self.lowres_creation_threshold = 0
        reader = self.determine_reader_writer().__name__
        if self.options.sagittal and reader not in REORIENTING_READERS:
            raise InputError(
                f"sagittal slices need a reader that reorients, this dataset uses {reader}",
                'set "overwrite_image_reader_writer": "NibabelIOWithReorient" in dataset.json',
                self.raw_dataset_folder,
            )

    def determine_fullres_target_spacing(self) -> np.ndarray:
        if not self.options.whole_volume or self.overwrite_target_spacing is not None:
            return super().determine_fullres_target_spacing()
        fingerprint = self.dataset_fingerprint
        extents_mm = np.multiply(fingerprint["spacings"], fingerprint["shapes_after_crop"])
        return np.maximum(extents_mm.max(0) / self.options.patch_size, WHOLE_VOLUME_SPACING_MM)

    def determine_transpose(self) -> tuple[list[int], list[int]]:
        if not self.options.sagittal:
            return super().determine_transpose()
        return SAGITTAL_FIRST, [int(i) for i in np.argsort(SAGITTAL_FIRST)]

    def get_plans_for_configuration(
        self, spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
    ) -> dict:
        """nnU-Net's configuration, with the patch that was asked for and the batch that fits beside it.

        Raises:
            InputError: the patch does not survive the strides of the network.
        """
        arguments = data_identifier, approximate_n_voxels_dataset, _cache
        if self.options.patch_size is None:
            return super().get_plans_for_configuration(spacing, median_shape, *arguments)
        patch_size = [self.options.patch_size[axis] for axis in self.determine_transpose()[0]][-len(spacing) :]
        # nnU-Net starts from the median shape and makes it smaller until it fits the memory.
        memory_gb, self.UNet_vram_target_GB = self.UNet_vram_target_GB, 1e6
        plan = super().get_plans_for_configuration(spacing, patch_size, *arguments)
        self.UNet_vram_target_GB = memory_gb
        if list(plan["patch_size"]) != patch_size:
            text = " x ".join(str(n) for n in plan["patch_size"])
            raise InputError(
                f"patch {' x '.join(map(str, patch_size))} does not fit the network's strides",
                f"the nearest that does at this spacing is {text}",
            )
        architecture = plan["architecture"]
        need = self.static_estimate_VRAM_usage(
            patch_size,
            len(self.dataset_json["channel_names"]),
            len(self.dataset_json["labels"]),
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
        )
        of = "2d" if len(spacing) == 2 else "3d"
        reference = getattr(self, f"UNet_reference_val_{of}") * getattr(self, f"UNet_reference_val_corresp_bs_{of}")
        fits = round(reference / need * memory_gb / self.UNet_reference_val_corresp_GB)
        plan["batch_size"] = max(self.UNet_min_batch_size, min(plan["batch_size"], fits))
        plan["median_image_size_in_voxels"] = median_shape
        return plan

    def save_plans(self, plans: dict) -> None:
        """Write the plans, unless data were preprocessed by other plans of this name.

        Raises:
            InputError: they were; training would read them as if they were these plans' data.
        """
        plans[PLANNED_GB] = self.UNet_vram_target_GB
        if self.options.window_hu is not None:
            _normalise_by(plans, self.options.window_hu)
        recursive_fix_for_json_export(plans)
        new = json.loads(json.dumps(plans))  # as it will be read back: lists for tuples
        folder = nnunet_folder("nnUNet_preprocessed") / self.dataset_name
        file = folder / f"{self.plans_identifier}.json"
        old = read_json(file) if file.is_file() else {"configurations": {}}
        for name, configuration in new["configurations"].items():
            data = folder / configuration.get("data_identifier", "-")
            same = all(old.get(key) == new[key] for key in ("transpose_forward", "image_reader_writer", INTENSITIES))
            if data.is_dir() and not (same and old["configurations"].get(name) == configuration):
                raise InputError(
                    f"holds data preprocessed by other plans named {self.plans_identifier}",
                    "choose another name with -p, or remove the folder",
                    data,
                )
        super().save_plans(plans)

    def static_estimate_VRAM_usage(
        self, patch_size, input_channels, output_channels, arch_class_name, arch_kwargs, arch_kwargs_req_import
    ):
        """nnU-Net's estimate for the network that will be trained instead of the plain U-Net."""
        try:
            with torch.device("meta"):  # shapes only: no memory, no time
                network = network_from_plans(
                    self.options.network.architecture or arch_class_name,
                    arch_kwargs,
                    arch_kwargs_req_import,
                    self.options.network.options,
                    input_channels,
                    output_channels,
                    initialise=False,
                )
        except ValueError as error:
            found = f"the network does not fit this dataset: {error}"
            raise InputError(found, "choose other options with -tr") from error
        return network.compute_conv_feature_map_size(patch_size)


def _normalise_by(plans: dict, window_hu: tuple[float, float]) -> None:
    """Let nnU-Net's CT normalisation map a range of HU to 0 to 2.

    Raises:
        InputError: a channel is not normalised as CT.
    """
    schemes = {scheme for c in plans["configurations"].values() for scheme in c.get("normalization_schemes", ())}
    if schemes != {"CTNormalization"}:
        raise InputError(
            f"a window in HU for images normalised with {', '.join(sorted(schemes))}",
            'leave out --window, or name the channels "CT" in dataset.json',
        )
    low, high = window_hu
    for channel in plans[INTENSITIES].values():
        channel.update(percentile_00_5=low, percentile_99_5=high, mean=low, std=(high - low) / 2)


def configured_planner(options: PlanOptions) -> type[SpinePlanner]:
    """A planner class with these options; nnU-Net's planning function makes the instance."""
    return type("SpinePlanner", (SpinePlanner,), {"options": options, "__module__": __name__})


def plan_dataset(
    dataset: str | int,
    options: PlanOptions,
    *,
    gpu_memory_gb: float = 8.0,
    plans_name: str = DEFAULT_PLANS,
    processes: int = 4,
    verify: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Extract the fingerprint where it is missing or older than the dataset, plan, and write the plans for nnU-Net.

    Args:
        dataset: id or name of a dataset in `nnUNet_raw`.
        verify: run nnU-Net's dataset integrity check first.
        quiet: no progress bar.

    Returns:
        The plans as written.

    Raises:
        InputError: variables unset, no such dataset, options that do not fit it, or leftovers of another dataset or of
            other plans under the same name.
    """
    raw_folder = raw_dataset(dataset)
    preprocessed = nnunet_folder("nnUNet_preprocessed")
    if preprocessed.exists() and not preprocessed.is_dir():
        raise InputError("a file, expected a folder", "set nnUNet_preprocessed to a folder", preprocessed)
    name, dataset_id = raw_folder.name, convert_dataset_name_to_id(raw_folder.name)
    check_plans_name(plans_name)
    # nnU-Net prints whole plans; ours are summarised by the command.
    with Path(os.devnull).open("w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
        extract_fingerprint_dataset(
            dataset_id,
            num_processes=processes,
            check_dataset_integrity=verify,
            clean=_outdated(raw_folder),
            verbose=False,
            show_progress_bar=not quiet,
        )
        try:
            plans, _ = plan_experiment_dataset(
                dataset_id,
                configured_planner(options),
                gpu_memory_target_in_gb=gpu_memory_gb,
                overwrite_target_spacing=options.spacing_mm,
                overwrite_plans_name=plans_name,
            )
        except AssertionError as error:  # nnU-Net compares the folds of the raw and the preprocessed dataset
            raise InputError(
                "splits_final.json differs from that of the raw dataset",
                "it belongs to an earlier dataset of this id: remove the folder",
                preprocessed / name,
            ) from error
    return plans


def _outdated(raw_folder: Path) -> bool:
    """Whether the dataset was written anew after its fingerprint was taken."""
    fingerprint = nnunet_folder("nnUNet_preprocessed") / raw_folder.name / "dataset_fingerprint.json"
    description = raw_folder / "dataset.json"
    return fingerprint.is_file() and description.stat().st_mtime > fingerprint.stat().st_mtime
