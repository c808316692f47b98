import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_spine.architectures.diffusion import AnisotropicDiffusion


def test_one_step_by_hand():
    # central differences 0, 2, 2 (replicated borders): m = (0 + 4 + 4) / 3; only the step of 4 flows.
    image = torch.tensor([0.0, 0.0, 4.0]).reshape(1, 1, 1, 3)
    flux = 0.1 * 4 * math.exp(-16 / (2 * 9 * 8 / 3))
    result = AnisotropicDiffusion(steps=1, time_step=0.1)(image)
    torch.testing.assert_close(result.flatten(), torch.tensor([0, flux, 4 - flux]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_one_axis_it_is_simpleitks_filter(axis):
    profile = np.random.default_rng(0).normal(0, 50, 20).astype(np.float32) + np.linspace(0, 900, 20, dtype=np.float32)
    image = np.broadcast_to(np.expand_dims(profile, [a for a in range(3) if a != axis]), (20, 20, 20)).copy()
    expected = sitk.GetArrayFromImage(
        sitk.GradientAnisotropicDiffusion(sitk.GetImageFromArray(image), 0.0625, 3.0, 1, 5)
    )
    result = AnisotropicDiffusion()(torch.from_numpy(image)[None, None])[0, 0]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-2)
    assert np.abs(expected - image).max() > 10


def test_noise_goes_and_the_edge_stays():
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    image[..., 8:] += 100
    result = AnisotropicDiffusion(conductance=1)(image)
    assert result[..., :7].std() < 0.6 * image[..., :7].std()
    assert result[..., 9:].mean() - result[..., :7].mean() > 99


def test_scale_offset_and_batch_change_nothing():
    layer = AnisotropicDiffusion()
    image = torch.randn(2, 1, 6, 7, 8, dtype=torch.float64)
    image[1] *= 30  # the other image has its own m
    result = layer(image)
    torch.testing.assert_close(layer(image * 5 + 3), result * 5 + 3, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer(image[:1]), result[:1])
    torch.testing.assert_close(layer(image.transpose(2, 4)).transpose(2, 4), result)
    torch.testing.assert_close(result.mean(), image.mean().float(), rtol=1e-4, atol=1e-5)


def test_constant_single_and_2d_images():
    assert torch.equal(AnisotropicDiffusion()(torch.full((1, 2, 3, 3, 3), 7.0)), torch.full((1, 2, 3, 3, 3), 7.0))
    assert AnisotropicDiffusion()(torch.ones(1, 1, 1, 1, 1)).item() == 1
    assert AnisotropicDiffusion()(torch.randn(1, 1, 5, 6)).isfinite().all()


def test_float32_without_parameters_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        result = AnisotropicDiffusion()(torch.randn(1, 1, 4, 4, 4).bfloat16())
    assert result.dtype == torch.float32
    assert not result.requires_grad
    assert list(AnisotropicDiffusion().state_dict()) == []


def test_gradients_of_the_image_are_right():
    image = torch.randn(1, 1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    layer = AnisotropicDiffusion(steps=2, time_step=0.1)
    (gradient,) = torch.autograd.grad(layer(image)[0, 0, 1, 2, 1], image)
    moved = torch.randn_like(image)
    with torch.no_grad():
        change = layer(image + 1e-3 * moved)[0, 0, 1, 2, 1] - layer(image - 1e-3 * moved)[0, 0, 1, 2, 1]
    assert change.item() / 2e-3 == pytest.approx((gradient * moved).sum().item(), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("options", [{"steps": -1}, {"time_step": 0.0}, {"time_step": 0.5}, {"conductance": 0.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected steps >= 0"):
        AnisotropicDiffusion(**options)
