"""Attention net of Sekuboyina et al. 2017: where in the scan is the spine?"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import distributed, nn
from torch._dynamo import OptimizedModule

from nnunet_spine.architectures.attention_net import cell_size
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import write_nifti
from nnunet_spine.losses.spine_map import SpineMapLoss, spine_share
from nnunet_spine.spine_map.fusion import MAP_SUFFIX
from nnunet_spine.spine_map.predict import map_in_world, predict_map
from nnunet_spine.training.sagittal import SagittalTrainer, sagittal_axis


class AttentionTrainer(SagittalTrainer):
    """Learns the share of spine in blocks of 8 sagittal slices by 16 x 16 voxels, whatever the labels are.

    The result is a coarse map, no segmentation: `nnUNetv2_predict` cannot be used with it. `nnunet-spine spine-map`
    writes the maps, `nnunet-spine fuse` applies them to segmentations. The final validation writes the maps of the
    validation cases, and the progress shows the soft Dice of the maps.

    The `paper` preset follows the source: Adam 1e-4, rotation up to 20 degrees, scaling of each axis by up to 40 %.
    """

    summary = "coarse map of where the spine is, to clean segmentations with (nnunet-spine spine-map, fuse)"
    citation = "Sekuboyina et al., MSKI at MICCAI 2017"
    parameters = "0.35 M"
    recommended = "3d_fullres"

    architecture = "nnunet_spine.architectures.attention_net.AttentionNet"
    deep_supervision = False
    supports_regions = False
    predicts_labels = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "nnunet": {},
        "paper": {
            "optimizer_name": "Adam",
            "initial_lr": 1e-4,
            "weight_decay": 0.0,
            "lr_schedule": "constant",
            "augmentation": "spatial",
            "max_rotation_deg": 20.0,
            "scaling_range": (0.6, 1.4),
        },
    }

    def initialize(self) -> None:
        if len(self.configuration_manager.patch_size) != 3:
            raise InputError(
                f"{type(self).__name__} cannot train {self.configuration_name}: its maps are three-dimensional",
                "train 3d_fullres",
            )
        if self.adversarial == "vat":
            raise InputError(f"{type(self).__name__}: virtual adversarial training needs classes", "use fgsm or l2")
        self.build_network_architecture = self._build_with_one_output  # nnU-Net asks for an output per label
        super().initialize()

    def _build_with_one_output(
        self, plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
    ) -> nn.Module:
        return type(self).build_network_architecture(plans_manager, configuration_manager, num_input_channels, 1, False)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager,
        configuration_manager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network.

        Raises:
            InputError: more than one output, for which nnUNetv2_predict asks.
        """
        if num_output_channels != 1:
            raise InputError(
                f"{cls.__name__} predicts maps of where the spine is, no labels", "use `nnunet-spine spine-map`"
            )
        return super().build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, 1, enable_deep_supervision
        )

    def _build_loss(self) -> nn.Module:
        if self.loss_name is not None:
            raise InputError(
                f"{type(self).__name__}: the attention net has its own loss", f"leave out {self.loss_name}"
            )
        return SpineMapLoss(cell_size(sagittal_axis(self.plans_manager)), self.label_manager.ignore_label)

    def _loss_status(self) -> str:
        return "squared error of the share of spine"

    def validation_step(self, batch: dict) -> dict:
        """Loss, and the counts of which nnU-Net makes its progress curve: 2 Σpt / (Σp² + Σt²), 1 for a perfect map."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"].to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            logits = self.network(data)
            loss = self.loss(logits, target)
        tp, fp, fn = self._soft_counts(logits.float().sigmoid(), target)
        return {"loss": loss.cpu().numpy(), "tp_hard": tp, "fp_hard": fp, "fn_hard": fn}

    def _soft_counts(self, shares: torch.Tensor, target: torch.Tensor) -> np.ndarray:
        """Σpt, Σp² - Σpt and Σt² - Σpt over the counted cells; (3, 1)."""
        truth, counted = spine_share(target, self.loss.cell, self.label_manager.ignore_label)
        both, found, there = ((a * b * counted).sum() for a, b in ((shares, truth), (shares, shares), (truth, truth)))
        return torch.stack([both, found - both, there - both])[:, None].cpu().numpy()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Write the maps of the validation cases to the folder `validation`, and log their mean soft Dice.

        With several processes the first does it all; a scan takes seconds.
        """
        if self.local_rank == 0:
            self._write_validation_maps()
        if self.is_ddp:
            distributed.barrier()

    def _write_validation_maps(self) -> None:
        network = self.network.module if self.is_ddp else self.network
        network = network._orig_mod if isinstance(network, OptimizedModule) else network
        network.eval()
        _, keys = self.do_split()
        dataset = self.dataset_class(self.preprocessed_dataset_folder, keys)
        axis, patch_size = sagittal_axis(self.plans_manager), self.configuration_manager.patch_size
        scores = []
        for case in dataset.identifiers:
            data, seg, _, properties = dataset.load_case(case)
            image = torch.from_numpy(data[:])
            attention = predict_map(network, image, patch_size, axis, self.device)
            array, affine = map_in_world(attention, image.shape[1:], properties, self.plans_manager.transpose_forward)
            write_nifti(Path(self.output_folder) / "validation" / f"{case}{MAP_SUFFIX}", array, affine)
            target = torch.from_numpy(seg[:][None])
            tp, fp, fn = self._soft_counts(torch.from_numpy(attention)[None, None], target)[:, 0]
            scores.append(2 * tp / (2 * tp + fp + fn))
            self.print_to_log_file(f"{case}: soft Dice of the map {scores[-1]:.4f}")
        self.logger.log_summary("final_val/foreground_dice", np.mean(scores))
        self.print_to_log_file(f"Mean soft Dice of the maps: {np.mean(scores):.4f}")
