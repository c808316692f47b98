"""Training of networks that segment the next vertebra, given those already found [Masuzawa et al. 2020]."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import nn
from torch._dynamo import OptimizedModule

from nnunet_spine.anatomy import BY_NAME, REGION_IDS
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import write_json
from nnunet_spine.io.preprocessed import affine_of_preprocessed
from nnunet_spine.losses import LossContext
from nnunet_spine.losses.next_vertebra import IGNORE, NextVertebraLoss
from nnunet_spine.training.base import BaseTrainer
from nnunet_spine.training.next_vertebra_cases import NextVertebraCases, places_in_walk
from nnunet_spine.training.next_vertebra_target import NextVertebraTransform
from nnunet_spine.training.readers import REORIENTING_READERS
from nnunet_spine.training.settings import Loss
from nnunet_spine.traversal import Rules, Scan, spine_parts, walk_spine
from nnunet_spine.traversal.agreement import agreement
from nnunet_spine.traversal.network import NetworkSegmenter

FEWEST_VOXELS = 8


class NextVertebraTrainer(BaseTrainer):
    """Two outputs, background and the next vertebra, and a third for its completeness; one more channel of input."""

    @classmethod
    def check(cls, plans, configuration, labels) -> None:
        super().check(plans, configuration, labels)
        if len(configuration.patch_size) != 3:
            raise InputError(f"{cls.__name__} cannot train slices: a walk needs three axes", "train 3d_fullres")
        reader = plans.plans["image_reader_writer"]
        if reader not in REORIENTING_READERS:
            raise InputError(
                f"a walk needs to know where the head is, and {reader} leaves scans as they lie",
                'set "overwrite_image_reader_writer": "NibabelIOWithReorient" in dataset.json and plan anew',
            )
        places_in_walk(labels.label_dict, upwards=cls.settings.walking.upwards)

    @classmethod
    def input_channels(cls, image_channels: int) -> int:
        return image_channels + 1

    @classmethod
    def output_channels(cls, labels: int) -> int:
        return 3 if cls.settings.walking.completeness else 2

    def _build_loss(self) -> nn.Module:
        ignore = IGNORE if self.label_manager.has_ignore_label else None
        context = LossContext(False, ignore, self.configuration_manager.batch_dice, self.is_ddp)
        settings = self.settings.loss if self.settings.loss.name else Loss("DiceCE")  # as nnU-Net's own
        return self._deeply_supervised(
            NextVertebraLoss(settings.build(context), self.settings.walking.completeness).to(self.device)
        )

    def _count_class_weights(self) -> tuple[float, ...]:
        """Weights of levels say nothing of background and the next vertebra: both weigh the same."""
        return 1.0, 1.0

    # -- patches -------------------------------------------------------------------------------------------------------

    def get_tr_and_val_datasets(self):
        training, validation = super().get_tr_and_val_datasets()
        self.oversample_foreground_percent = 1.0  # see `NextVertebraCases`
        walking = self.settings.walking
        places = places_in_walk(self.label_manager.label_dict, upwards=walking.upwards)
        read_size = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
        sizes = read_size, self.configuration_manager.patch_size
        return tuple(
            NextVertebraCases(cases, size, places, self.label_manager.ignore_label, walking.anywhere)
            for cases, size in zip((training, validation), sizes, strict=True)
        )

    def last_transforms(self, *, training: bool) -> list[BasicTransform]:
        walking = self.settings.walking
        voxel_mm3 = float(np.prod(self.configuration_manager.spacing))
        smallest = max(FEWEST_VOXELS, round(walking.smallest_mm3 / voxel_mm3))
        corruption = walking.corruption if training else 0.0
        return [NextVertebraTransform(smallest, walking.empty, walking.centred, corruption)]

    # -- validation ----------------------------------------------------------------------------------------------------

    def validation_step(self, batch: dict) -> dict:
        """Loss, and the counts of the next vertebra, of which nnU-Net makes its progress curve."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"]
        scales = [t.to(self.device, non_blocking=True) for t in (target if isinstance(target, list) else [target])]
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            output = self.network(data)
            loss = self.loss(output, scales if isinstance(target, list) else scales[0])
        logits = (output[0] if isinstance(output, list | tuple) else output).float()
        counted = scales[0][:, 0] != IGNORE
        found, there = (logits[:, 1] > logits[:, 0]) & counted, (scales[0][:, 0] > 0) & counted
        counts = ((found & there).sum(), (found & ~there).sum(), (~found & there).sum())
        tp, fp, fn = (count.reshape(1).cpu().numpy() for count in counts)
        return {"loss": loss.detach().cpu().numpy(), "tp_hard": tp, "fp_hard": fp, "fn_hard": fn}

    def case_validation(self) -> Callable[[str], float]:
        """Walks along a case within the parts of its reference; writes walk and agreement to the folder `validation`.

        The score is the mean Dice of the reference's vertebrae.
        """
        network = self.network.module if self.is_ddp else self.network
        network = network._orig_mod if isinstance(network, OptimizedModule) else network
        segment = NetworkSegmenter((network,), self.device)
        rules = Rules(upwards=self.settings.walking.upwards)
        names = {value: name for name, value in self.label_manager.label_dict.items() if name in BY_NAME}
        places = places_in_walk({name: value for value, name in names.items()}, upwards=False)
        folder = Path(self.output_folder) / "validation"

        def validate(case: str) -> float:
            image, segmentation, _, properties = self.dataset_class(self.preprocessed_dataset_folder, [case]).load_case(
                case
            )
            image, labels = np.asarray(image[:]), np.asarray(segmentation[:])[0]
            ranks, regions = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.uint8)
            for value, name in names.items():
                ranks[labels == value], regions[labels == value] = places[value], REGION_IDS[name[0]]
            affine = affine_of_preprocessed(properties, labels.shape, self.plans_manager.transpose_forward)
            walk = walk_spine(
                Scan(image, affine, spine_parts(regions, affine)), segment, self.configuration_manager.patch_size, rules
            )
            found = agreement(walk, ranks)
            write_json(folder / f"{case}.json", {"agreement": found.as_dict(), "walk": walk.as_dict()})
            self.print_to_log_file(
                f"{case}: {found.found} of {found.vertebrae} vertebrae found, {found.missed} missed, {found.merged} "
                f"merged, {found.split} split, {found.surplus} surplus, {found.passes_per_vertebra:.2f} passes each"
                + (f"; stopped at {walk.stopped}" if walk.stopped else "")
            )
            return found.mean_dice

        return validate
