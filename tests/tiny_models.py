"""Model folders as nnU-Net's training leaves them, made without training: random weights of a tiny network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nnunet_spine.io.files import write_json

LABELS = {"background": 0, "L1": 1, "L2": 2}
CARD = {
    "name": "Tiny",
    "licence": "CC0-1.0",
    "training_data": "Nothing: random weights.",
    "summary": "A network that knows nothing.",
    "seeds": {"weights": 0},
    "figures": [{"measure": "Dice", "data": "nothing", "value": "0"}],
    "limits": ["everything"],
}


def tiny_plans(configuration: str = "3d_fullres", **changes: Any) -> dict[str, Any]:
    """Plans of a U-Net with two stages for patches of 16 voxels of 2 mm.

    Args:
        changes: other entries of the configuration.
    """
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    statistics = {"mean": 100.0, "std": 200.0, "percentile_00_5": -500.0, "percentile_99_5": 1000.0}
    return {
        "dataset_name": "Dataset009_Tiny",
        "plans_name": "TinyPlans",
        "original_median_spacing_after_transp": [2.0, 2.0, 2.0],
        "original_median_shape_after_transp": [20, 20, 20],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            configuration: {
                "data_identifier": f"TinyPlans_{configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [16, 16, 16],
                "median_image_size_in_voxels": [20, 20, 20],
                "spacing": [2.0, 2.0, 2.0],
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {**resampling, "order": 3},
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": architecture,
                "batch_dice": False,
                **changes,
            }
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {**statistics, "min": -1000, "max": 2000, "median": 90}},
    }


def write_tiny_model(
    folder: Path,
    *,
    trainer: str = "nnUNetTrainer",
    folds: Sequence[str] = ("0",),
    plans: dict[str, Any] | None = None,
    labels: dict[str, Any] = LABELS,
    checkpoint: str = "checkpoint_final.pth",
    mirroring_axes: tuple[int, ...] | None = (0, 1, 2),
    **dataset_json: Any,
) -> Path:
    """Write a model folder with plans, dataset.json and a checkpoint of random weights per fold; returns it.

    Args:
        dataset_json: further entries.
    """
    import numpy as np

    from nnunet_spine.inference.model_networks import build_network
    from nnunet_spine.inference.models import Member

    plans = plans or tiny_plans()
    (configuration,) = plans["configurations"]
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    content |= dataset_json
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", content)
    write_json(folder / "dataset_fingerprint.json", {"spacings": [[2.0, 2.0, 2.0]]})
    for fold in folds:
        torch.manual_seed(7 + folds.index(fold))
        bare = Member("main", trainer, configuration, mirroring_axes, plans, content, None, {}, folder)
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        saved = {
            "network_weights": build_network(bare).state_dict(),
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
            "grad_scaler_state": None,
            "logging": {"train_losses": [np.float32(0.5), np.float64(0.25)], "dice": [np.array([0.5, np.nan])]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 2,
            "init_args": {"plans": plans, "configuration": configuration, "fold": fold, "dataset_json": content,
                          "device": torch.device("cpu")},
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": mirroring_axes,
        }  # fmt: skip
        torch.save(saved, folder / f"fold_{fold}" / checkpoint)
    return folder
