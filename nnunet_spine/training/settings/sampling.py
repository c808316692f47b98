"""Which patches are drawn, and from which random numbers."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_spine.errors import InputError
from nnunet_spine.training.readers import REORIENTING_READERS

if TYPE_CHECKING:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.training.centred import CentredCases
    from nnunet_spine.training.drawn import DrawnCases


@dataclass(frozen=True)
class Sampling:
    """Which patches are drawn, and from which random numbers.

    Attributes:
        centred_mm: patches lie around the middle of the scan, in training off by up to so much along each axis, in
            validation not; None takes them anywhere, as nnU-Net does.
        foreground: share of patches that are placed to hold foreground, each by chance; None is nnU-Net's: a third, and
            one at least in each batch, which is half of them in batches of two.
        drawn: draw training cases, phantoms of the wide domain, instead of reading them; each gives so many patches.
            Validation reads the data set's. None reads all.
        seed: of initial weights, dropout, patches and augmentation; None draws them anew each time. The same seed gives
            the same training on the same machine, with the same `nnUNet_n_proc_DA` and number of GPUs, up to what
            torch leaves open: convolutions on a GPU add up in no fixed order. A training that was stopped and resumed
            goes on as if it had not been stopped only without worker processes (`nnUNet_n_proc_DA=0`); with them it
            sees other patches from there on, though the same each time.
    """

    centred_mm: float | None = None
    foreground: float | None = None
    drawn: int | None = None
    seed: int | None = None

    def idle(self) -> dict[str, str]:
        """Fields without effect, each with the reason."""
        both = self.centred_mm is not None and self.foreground is not None
        return {"foreground": "patches lie around the middle of the scan"} if both else {}

    def apply(self, trainer: "nnUNetTrainer") -> None:
        """Set what nnU-Net reads from its trainer; its constructor has set its own values."""
        if self.foreground is not None:
            trainer.oversample_foreground_percent, trainer.probabilistic_oversampling = self.foreground, True

    def seed_all(self, *numbers: int) -> None:
        """Seed torch, numpy and Python from the seed and these numbers; nothing without a seed."""
        if self.seed is None:
            return
        import numpy as np
        import torch

        state = int(np.random.SeedSequence((self.seed, *numbers)).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002 - nnU-Net draws from the global state
        random.seed(state)

    def loaders(
        self, make: Callable[[], tuple[Any, Any]], epoch: int, rank: int, device: "torch.device"
    ) -> tuple[Any, Any]:
        """nnU-Net's loaders; with a seed their workers are seeded and deliver in a fixed order.

        nnU-Net's own pool of workers has no seeds and delivers what is ready first.

        Args:
            make: makes nnU-Net's loaders of training and validation.
            epoch: the first one.
            rank: of this process.
            device: of the training.
        """
        if self.seed is None:
            return make()
        import numpy as np
        from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
        from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

        workers, before = get_allowed_n_proc_DA(), os.environ.get("nnUNet_n_proc_DA")
        os.environ["nnUNet_n_proc_DA"] = "0"
        try:
            loaders = make()
        finally:
            if before is None:
                del os.environ["nnUNet_n_proc_DA"]
            else:
                os.environ["nnUNet_n_proc_DA"] = before
        if workers == 0:
            return loaders
        seeded = []
        for part, (loader, n) in enumerate(zip(loaders, (workers, max(1, workers // 2)), strict=True)):
            seeds = np.random.SeedSequence((self.seed, epoch, rank, part)).generate_state(n).tolist()
            seeded.append(
                MultiThreadedAugmenter(loader.data_loader, None, n, seeds=seeds, pin_memory=device.type == "cuda")
            )
        return tuple(seeded)

    def check(self, patch_size: Sequence[int]) -> None:
        """Whether patches of this size can be drawn.

        Raises:
            InputError: patches around the middle of the scan would be slices.
        """
        if self.centred_mm is not None and len(patch_size) < 3:
            raise InputError(
                "patches around the middle of the scan need three axes, which a 2d configuration lacks",
                "train 3d_fullres",
            )

    def centred_cases(
        self, training: Any, validation: Any, patch_size: Sequence[int], read_size: Sequence[int], spacing_mm: Any
    ) -> "tuple[CentredCases, CentredCases]":
        """Cases that hold one patch around the middle of their scan.

        Args:
            training, validation: nnU-Net's data sets.
            patch_size: of the network.
            read_size: of the patch that training reads, before augmentation.
            spacing_mm: of the voxels.

        Raises:
            InputError: slices have no middle, or the scans are too large for one patch.
        """
        from nnunet_spine.training.centred import CentredCases

        self.check(patch_size)
        shape = training.load_case(training.identifiers[0])[0].shape[1:]
        if any(n > 1.5 * p for n, p in zip(shape, patch_size, strict=True)):
            raise InputError(
                f"patches of {_sizes(patch_size)} voxels are taken around the middle of each scan, and these scans "
                f"are larger ({_sizes(shape)})",
                "use crops of single vertebrae (nnunet-spine convert vertebra-crops), or the option 'volumes'",
            )
        shift = [self.centred_mm / mm for mm in spacing_mm]
        return CentredCases(training, read_size, shift), CentredCases(validation, patch_size, [0.0] * len(patch_size))

    def drawn_cases(
        self, training: Any, plans: "PlansManager", spacing_mm: Sequence[float], labels: Mapping[str, Any]
    ) -> "DrawnCases":
        """Training cases that are drawn.

        Args:
            training: nnU-Net's data set.
            plans: name axes and normalisation.
            spacing_mm: of the patches' axes.
            labels: of dataset.json.

        Raises:
            InputError: the data set or the plans are of another kind than what is drawn.
        """
        from nnunet_spine.training.ct_ranges import ct_window
        from nnunet_spine.training.drawn import DrawnCases, kind_of_labels

        if len(spacing_mm) < 3:
            raise InputError("drawn cases are volumes, and a 2d configuration reads slices", "train 3d_fullres")
        if plans.plans["image_reader_writer"] not in REORIENTING_READERS:
            raise InputError(
                "drawn cases lie in RAS, and the reader of these plans does not turn scans to it",
                "convert the data set with `nnunet-spine convert`",
            )
        return DrawnCases(
            training, kind_of_labels(labels), spacing_mm, plans.transpose_forward, ct_window(plans), self.drawn
        )


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(str(int(n)) for n in shape)
