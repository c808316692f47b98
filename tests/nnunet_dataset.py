"""A tiny nnU-Net dataset: boxes of different brightness stacked along z, as a stand-in for vertebrae."""

import shutil
from pathlib import Path

import numpy as np

from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import write_nifti

LABELS = {"background": 0, "L1": 1, "L2": 2, "L3": 3}
REGIONS = {"background": 0, "all": [1, 2, 3], "lower": [2, 3], "L3": 3}
PLANS = "TestPlans"
WINDOW_PLANS = "TestWindowPlans"
"""The same data as those of `PLANS`, said to be clipped to [-512, 1024] HU."""


def prepare_boxes(root: Path) -> None:
    """Datasets 1 (plain labels; 2d and 3d_fullres), 2 (regions) and 3 (ignore label; 3d_fullres), ready for training.

    Patches are 32 voxels of 2 mm along each axis, larger than the scans along two; slices are sagittal.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset

    from nnunet_spine.planning import PlanOptions, plan_dataset

    raw = root / "nnUNet_raw"
    write_dataset(raw, 1)
    write_dataset(raw, 2, REGIONS, regions_class_order=[1, 2, 3])
    write_dataset(raw, 3, {**LABELS, "ignore": 4})
    fingerprint = "Dataset001_Boxes/dataset_fingerprint.json"
    for dataset, configurations in ((1, ["2d", "3d_fullres"]), (2, ["3d_fullres"]), (3, ["3d_fullres"])):
        folder = root / "nnUNet_preprocessed" / f"Dataset{dataset:03d}_Boxes"
        if dataset > 1:  # the boxes are alike, and taking a fingerprint starts processes
            folder.mkdir()
            shutil.copy(folder.parent / fingerprint, folder)
        options = PlanOptions(spacing_mm=(2.0,) * 3, patch_size=(32,) * 3, sagittal=True, cpu=True)
        plan_dataset(dataset, options, gpu_memory_gb=1, plans_name=PLANS, processes=1, quiet=True)
        preprocess_dataset(dataset, PLANS, configurations, [1], show_progress_bar=False)
    plans = read_json(root / "nnUNet_preprocessed" / "Dataset001_Boxes" / f"{PLANS}.json")
    plans["plans_name"] = WINDOW_PLANS
    plans["foreground_intensity_properties_per_channel"]["0"] |= {"percentile_00_5": -512.0, "percentile_99_5": 1024.0}
    write_json(root / "nnUNet_preprocessed" / "Dataset001_Boxes" / f"{WINDOW_PLANS}.json", plans)


def write_dataset(raw: Path, dataset_id: int, labels: dict | None = None, n_cases: int = 4, **dataset_json) -> Path:
    """Write images, labels and dataset.json; two-fold split.

    Args:
        labels: the `labels` entry; label values in the files are 1, 2, 3, and 4 for `ignore` where it is named.
        dataset_json: further entries.
    """
    labels = labels or LABELS
    folder = raw / f"Dataset{dataset_id:03d}_Boxes"
    rng = np.random.default_rng(dataset_id)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for i in range(n_cases):
        image, mask = make_case(rng)
        if "ignore" in labels:
            mask[:, :, :6] = 4
        write_nifti(folder / "imagesTr" / f"case{i}_0000.nii.gz", image, affine)
        write_nifti(folder / "labelsTr" / f"case{i}.nii.gz", mask, affine)
    content = {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        **dataset_json,
    }
    write_json(folder / "dataset.json", content)
    cases = [f"case{i}" for i in range(n_cases)]
    write_json(folder / "splits_final.json", [{"train": cases[:-1], "val": cases[-1:]}])
    return folder


def make_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """CT (int16) and mask (uint8) of 24 x 20 x 40 voxels."""
    image = rng.normal(0, 20, (24, 20, 40))
    mask = np.zeros(image.shape, np.uint8)
    shift = rng.integers(-2, 3)
    for label, z in ((3, 6), (2, 17), (1, 28)):
        box = np.s_[7 + shift : 17 + shift, 5:15, z : z + 8]
        mask[box] = label
        image[box] += 200 + 150 * label
    return image.astype(np.int16), mask
