"""Augmentation by a random general affine map, with shear and independent scaling: nnU-Net only rotates and scales."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform


class AffineTransform(BasicTransform):
    """Samples the central patch through the map I + N(0, sigma²) on coordinates from -1 to 1 over the patch.

    The image is interpolated linearly, the segmentation takes the nearest voxel; outside the given image both are 0.
    Coordinates are those of the patch, so an image larger than the patch fills its corners.

    Source: Hempe & Heinrich 2021, sigma 0.07 for all 12 entries of the 3 x 4 matrix.

    Args:
        patch_size: size of the result.
        sigma: standard deviation of each entry of the matrix, the translation included.
    """

    def __init__(self, patch_size: Sequence[int], sigma: float = 0.07):
        super().__init__()
        self.patch_size = tuple(int(n) for n in patch_size)
        self.sigma = sigma

    def get_parameters(self, **data_dict) -> dict:
        """Draw the map; returns the sampling grid (1, *patch_size, d) in units of the given image."""
        d = len(self.patch_size)
        # nnU-Net's workers start from one state of torch, but each from its own of numpy
        noise = np.random.standard_normal((d, d + 1))  # noqa: NPY002
        matrix = torch.eye(d, d + 1) + self.sigma * torch.from_numpy(noise).float()
        grid = F.affine_grid(matrix[None], [1, 1, *self.patch_size], align_corners=False)
        image_size = data_dict["image"].shape[1:]
        # affine_grid and grid_sample count the axes from the last
        scale = [p / n for p, n in zip(reversed(self.patch_size), reversed(image_size), strict=True)]
        return {"grid": grid * torch.tensor(scale)}

    def _apply_to_image(self, img: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(img[None].float(), grid, mode="bilinear", align_corners=False)[0]

    def _apply_to_segmentation(self, segmentation: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        sampled = F.grid_sample(segmentation[None].float(), grid, mode="nearest", align_corners=False)[0]
        return sampled.to(segmentation.dtype)
