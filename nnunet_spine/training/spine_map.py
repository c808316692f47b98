"""Training of networks that tell where in the scan the spine is, as a coarse map [Sekuboyina et al. 2017]."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch._dynamo import OptimizedModule

from nnunet_spine.architectures.attention_net import cell_size
from nnunet_spine.errors import InputError
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.losses.spine_map import SpineMapLoss, spine_share
from nnunet_spine.spine_map.fusion import MAP_SUFFIX
from nnunet_spine.spine_map.predict import map_in_world, predict_map
from nnunet_spine.training.base import BaseTrainer
from nnunet_spine.training.sagittal import sagittal_axis


class SpineMapTrainer(BaseTrainer):
    """Learns the share of spine in each cell of the map, whatever the labels are."""

    @classmethod
    def check(cls, plans, configuration, labels) -> None:
        super().check(plans, configuration, labels)
        if len(configuration.patch_size) != 3:
            raise InputError(f"{cls.__name__} cannot train slices: its maps are three-dimensional", "train 3d_fullres")
        sagittal_axis(plans)

    @classmethod
    def output_channels(cls, labels: int) -> int:
        return 1

    def _build_loss(self) -> nn.Module:
        return SpineMapLoss(cell_size(sagittal_axis(self.plans_manager)), self.label_manager.ignore_label)

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

    def case_validation(self) -> Callable[[str], float]:
        """Writes the map of a case to the folder `validation`; its score is the soft Dice."""
        network = self.network.module if self.is_ddp else self.network
        network = network._orig_mod if isinstance(network, OptimizedModule) else network
        axis, patch_size = sagittal_axis(self.plans_manager), self.configuration_manager.patch_size

        def validate(case: str) -> float:
            dataset = self.dataset_class(self.preprocessed_dataset_folder, [case])
            data, seg, _, properties = dataset.load_case(case)
            image = torch.from_numpy(data[:])
            attention = predict_map(network, image, patch_size, axis, self.device)
            array, affine = map_in_world(attention, image.shape[1:], properties, self.plans_manager.transpose_forward)
            write_nifti(Path(self.output_folder) / "validation" / f"{case}{MAP_SUFFIX}", array, affine)
            target = torch.from_numpy(seg[:][None])
            tp, fp, fn = self._soft_counts(torch.from_numpy(attention)[None, None], target)[:, 0]
            return float(2 * tp / (2 * tp + fp + fn))

        return validate
