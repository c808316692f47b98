"""A trained network as what a walk asks: patches in, probability of the next vertebra out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nnunet_spine.losses.next_vertebra import completeness_logit


@dataclass(frozen=True)
class NetworkSegmenter:
    """Networks of `IterativeInstanceTrainer`, one per fold.

    Attributes:
        networks: in evaluation mode, on the device, without deep supervision.
        device: to compute on.
        half: 16-bit on CUDA.
    """

    networks: tuple[nn.Module, ...]
    device: torch.device
    half: bool = True

    @torch.inference_mode()
    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Mean of all networks; the completeness is that of the voxels that are vertebra.

        Args:
            patches: (b, c + 1, *patch) float32.

        Returns:
            Probability (b, *patch) and completeness (b,), None for networks without that output.
        """
        data = torch.from_numpy(patches).to(self.device, non_blocking=True)
        total, complete = 0, []
        for network in self.networks:
            with torch.autocast(self.device.type, enabled=self.half and self.device.type == "cuda"):
                logits = network(data)
            probability = logits[:, :2].float().softmax(1)[:, 1]
            total = total + probability
            if logits.shape[1] > 2:
                complete.append(completeness_logit(logits, probability >= 0.5)[0].sigmoid())
        mean = (total / len(self.networks)).cpu().numpy()
        return mean, torch.stack(complete).mean(0).cpu().numpy() if complete else None
