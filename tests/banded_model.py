"""A model that sees what it should, without training, and scans for it: grey values name the levels.

In these scans a vertebra of nnU-Net id k has 200 + 40 k HU, everything else less than 100.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import tiny_plans, write_tiny_model
from torch import nn

from nnunet_spine.anatomy import BY_NAME, dataset_labels
from nnunet_spine.io.nifti import write_nifti

STEP_HU = 40.0
SPACING_MM = 2.0


class BandNet(nn.Module):
    """Class k where the input is nearer to k + 5 (0: to 0) than to the others; found by name through the plans."""

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False):
        super().__init__()
        self.centres = nn.Parameter(torch.cat([torch.zeros(1), torch.arange(1.0, num_classes) + 5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x - self.centres.view(1, -1, *[1] * (x.ndim - 2))).abs().clamp(max=2)


def write_banded_model(folder: Path, *, labels: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a model folder whose network reads levels off the grey values.

    Args:
        labels: of dataset.json; None: all levels.
        changes: other entries of the plans.
    """
    plans = tiny_plans(
        patch_size=[32, 32, 32],
        resampling_fn_data_kwargs={"is_seg": False, "order": 0, "order_z": 0, "force_separate_z": None},
        architecture={"network_class_name": "banded_model.BandNet", "arch_kwargs": {}, "_kw_requires_import": []},
    )
    plans["foreground_intensity_properties_per_channel"] = {
        "0": {"mean": 0.0, "std": STEP_HU, "percentile_00_5": -2000.0, "percentile_99_5": 3000.0}
    }
    return write_tiny_model(folder, plans={**plans, **changes}, labels=labels or dataset_labels("vertebrae"))


def spine_ct(
    names: tuple[str, ...] = ("T11", "T12", "L1", "L2", "L3"), spacing_mm: float | tuple = SPACING_MM, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column of bodies of 32 x 32 x 20 mm with discs of 8 mm between them, the first on top.

    Returns:
        CT (int16), nnU-Net ids (uint8), and the affine.
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    size_mm = np.array([56.0, 56.0, 28.0 * len(names) + 12.0])
    shape = np.maximum(1, np.round(size_mm / spacing)).astype(int)
    x, y, z = (spacing[a] * (np.arange(shape[a]) + 0.5) for a in range(3))
    level = np.floor((size_mm[2] - 6 - z) / 28).astype(int)
    within = ((size_mm[2] - 6 - z) % 28 < 20) & (level >= 0) & (level < len(names))
    ids = np.array([BY_NAME[name].nnunet_id for name in names])
    column = np.where(within, ids[np.clip(level, 0, len(names) - 1)], 0)
    inside = (np.abs(x - 28) < 16)[:, None] & (np.abs(y - 28) < 16)[None]
    labels = np.where(inside[..., None], column, 0).astype(np.uint8)
    image = np.random.default_rng(seed).normal(30, 15, labels.shape)
    image[np.abs(x - 28) > 24], image[:, np.abs(y - 28) > 24] = -1000, -1000  # air
    image = np.where(labels > 0, 200 + STEP_HU * labels, image).astype(np.int16)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-28, -100, 50)
    return image, labels, affine


def write_scan(path: Path, **options: Any) -> np.ndarray:
    """Write `spine_ct` to a file; returns its labels."""
    image, labels, affine = spine_ct(**options)
    write_nifti(path, image, affine)
    return labels
