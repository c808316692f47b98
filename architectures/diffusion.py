"""Edge-preserving smoothing of the image as a first layer without parameters."""

import torch
from torch import Tensor, nn


class AnisotropicDiffusion(nn.Module):
    """Perona-Malik diffusion of a 2-D or 3-D image, in float32.

    Per step, I += time_step · Σ g(δ) δ over the differences δ to the direct neighbours, with
    g(δ) = exp(-δ² / (2 c² m)) and m the mean squared gradient magnitude of the image before the step. Differences far
    above the usual ones, at edges, are kept. A factor or an offset of the intensities changes nothing but the same
    factor and offset of the result, so it does not matter how the image was normalised. Spacing is ignored, neighbours
    are voxels; borders are replicated; each channel of each image has its own m. On an image that varies along one axis
    this is SimpleITK's `GradientAnisotropicDiffusion`, whose conductance at other places also sees the neighbouring
    axes.

    Sekuboyina et al. (2017) filter the CT beforehand, with unpublished parameters. As a layer, training and inference
    agree on any nnU-Net plans, and m is that of the patch. The layer sees the image after augmentation, so it also
    filters augmented noise.

    Args:
        steps: number of steps; 0 changes nothing.
        time_step: at most 1 / (2 · number of spatial axes) is stable.
        conductance: c; larger values keep fewer edges.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, *, steps: int = 5, time_step: float = 0.0625, conductance: float = 3.0):
        super().__init__()
        if steps < 0 or not 0 < time_step <= 0.25 or conductance <= 0:
            raise ValueError(
                f"AnisotropicDiffusion got steps={steps}, time_step={time_step}, conductance={conductance}; expected "
                "steps >= 0, 0 < time_step <= 0.25 and conductance > 0"
            )
        self.steps, self.time_step, self.conductance = steps, time_step, conductance

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, *spatial) to float32 of the same shape.

        There is nothing to learn, so a graph is only kept for images that want gradients (adversarial training).
        """
        x = x.float()
        for _ in range(self.steps):
            x = self._step(x)
        return x

    def _step(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(2, x.dim()) if x.shape[axis] > 1]
        differences = [x.diff(dim=axis) for axis in axes]
        scale = 2 * self.conductance**2 * _mean_squared_gradient(differences, axes, x)
        scale = scale.clamp(min=torch.finfo(x.dtype).tiny)  # a constant image stays as it is
        x = x.clone()
        for axis, difference in zip(axes, differences, strict=True):
            flux = self.time_step * difference * torch.exp(-(difference**2) / scale)
            # what flows to a voxel flows from its neighbour, and nothing across the border
            x.narrow(axis, 0, x.shape[axis] - 1).add_(flux)
            x.narrow(axis, 1, x.shape[axis] - 1).sub_(flux)
        return x

    def extra_repr(self) -> str:
        return f"steps={self.steps}, time_step={self.time_step}, conductance={self.conductance}"


def _mean_squared_gradient(differences: list[Tensor], axes: list[int], x: Tensor) -> Tensor:
    """Mean over voxels of |∇I|² by central differences with replicated borders; (B, C, 1, ...)."""
    total = x.new_zeros(x.shape[:2])
    for axis, difference in zip(axes, differences, strict=True):
        n = difference.shape[axis]
        inner = difference.narrow(axis, 0, n - 1) + difference.narrow(axis, 1, n - 1)
        border = torch.cat((difference.narrow(axis, 0, 1), difference.narrow(axis, n - 1, 1)), axis)
        total = total + inner.square().flatten(2).sum(2) + border.square().flatten(2).sum(2)
    mean = total / 4 / x[0, 0].numel()
    return mean[(...,) + (None,) * (x.dim() - 2)]
