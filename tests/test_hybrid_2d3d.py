"""Hybrid 2D/3D U-Net: layout, any size and order of axes, training and stock prediction inside nnU-Net."""

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args
from torch import nn

from nnunet_spine.architectures.diffusion import AnisotropicDiffusion
from nnunet_spine.architectures.hybrid_2d3d import Hybrid2D3D
from nnunet_spine.trainers import Hybrid2D3DTrainer, get_trainer
from nnunet_spine.training.ranges import Ranges, adjust

CPU = torch.device("cpu")
SHORT = "1epochs_1iters_1valiters"


def net(**options) -> Hybrid2D3D:
    torch.manual_seed(0)
    return Hybrid2D3D(**{"input_channels": 1, "num_classes": 2, "conv_op": nn.Conv3d, **options}).eval()


def test_number_of_parameters():
    """Two convolutions per level with 3, 1, 3, 1, 1 across slices, 1 x 1 x 1 before up-sampling, by hand."""
    widths, taps = [32, 64, 128, 256, 512], [27, 9, 27, 9, 9]
    expected = 32 * 2 + 2  # head
    for before, width, k in zip([1, *widths], widths, taps, strict=False):
        expected += k * (before * width + width * width) + 4 * width  # two batch normalisations
    for width, k in zip(widths[:-1], taps, strict=False):
        expected += 2 * width * width + 2 * width  # from the level below
        expected += k * (2 * width * width + width * width) + 4 * width
    assert expected == 8_642_146
    assert sum(p.numel() for p in net().parameters()) == expected
    assert sum(p.numel() for p in net(diffusion=True).parameters()) == expected


def test_sees_other_slices_through_levels_one_and_three_only():
    network = net()
    across = [m.kernel_size[0] for stage in network.encoder for m in stage.modules() if isinstance(m, nn.Conv3d)]
    assert across == [3, 3, 1, 1, 3, 3, 1, 1, 1, 1]
    assert [pool.kernel_size for pool in network.pools] == [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]


def test_receptive_field_is_the_stated_one(monkeypatch):
    """Of the same layers with a channel each: maxima as means, weights of 1, so that everything seen has a gradient."""
    monkeypatch.setattr(Hybrid2D3D, "features", (1,) * 5)
    network = net(num_classes=1).double()
    network.pools = nn.ModuleList(nn.AvgPool3d(pool.kernel_size) for pool in network.pools)
    for name, parameter in network.named_parameters():
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    extents = []
    for size in ((64, 16, 16), (4, 512, 16)):
        axis = int(np.argmax(size))
        seen = []
        for offset in range(16):
            image = torch.ones(1, 1, *size, dtype=torch.float64, requires_grad=True)
            network(image).select(2 + axis, size[axis] // 2 + offset)[0, 0, 0, 0].sum().backward()
            others = [a for a in range(5) if a != 2 + axis]
            seen.append(int((image.grad.abs().sum(others) > 0).sum()))
        extents.append(max(seen))
    assert extents == [20, 204]


@pytest.mark.parametrize("size", [(4, 16, 16), (3, 20, 17), (1, 5, 33)])
def test_any_size(size):
    assert net()(torch.zeros(1, 1, *size)).shape == (1, 2, *size)


def test_filling_up_is_padding_with_zeros():
    image = torch.randn(1, 1, 3, 20, 16)
    padded = nn.functional.pad(image, (0, 0, 0, 12, 0, 1))
    torch.testing.assert_close(net()(image), net()(padded)[:, :, :3, :20])


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_may_lie_along_any_axis(axis):
    image = torch.randn(1, 1, 4, 16, 32)
    turned = net(slice_axis=axis)(image.movedim(2, 2 + axis))
    torch.testing.assert_close(turned.movedim(2 + axis, 2), net()(image), rtol=1e-4, atol=1e-5)


def test_diffusion_comes_first():
    image = torch.randn(1, 1, 4, 16, 16)
    torch.testing.assert_close(net(diffusion=True)(image), net()(AnisotropicDiffusion()(image)))


def test_dropout_in_training_only():
    network, image = net(), torch.randn(2, 1, 4, 16, 16)
    assert network.dropout.p == 0.5
    torch.testing.assert_close(network(image), network(image), rtol=0, atol=0)
    assert not torch.equal(network.train()(image), network(image))


def test_memory_estimate_counts_the_output_of_every_convolution():
    for network, size in ((net(), (4, 32, 32)), (net(conv_op=nn.Conv2d), (32, 48))):
        counts = []

        def count(module, inputs, output, counts=counts):
            counts.append(output.numel())

        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                module.register_forward_hook(count)
        network(torch.zeros(1, 1, *size))
        assert network.compute_conv_feature_map_size(size) == sum(counts)
        with pytest.raises(ValueError, match="spatial axes only"):
            network.compute_conv_feature_map_size((1, *size))


def make(recipe: str, dataset: int = 1):
    return get_trainer_from_args(str(dataset), "3d_fullres", 0, recipe, PLANS, device=CPU)


@pytest.mark.parametrize("option", ["", "_fgsm"])
def test_paper_preset_trains(boxes, option):
    trainer = make(f"Hybrid2D3DTrainer_paper_{SHORT}{option}")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
    assert isinstance(trainer.network.diffusion, AnisotropicDiffusion)
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert (trainer.settings.loss.name, trainer.initial_lr) == ("SquaredDice", 1e-4)


def training_transforms(trainer) -> list:
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    return loader.data_loader.transforms.transforms


def test_augmentation_of_the_paper_preset(boxes):
    trainer = make(f"Hybrid2D3DTrainer_paper_{SHORT}")
    spatial, contrast, *rest = training_transforms(trainer)
    assert isinstance(spatial, SpatialTransform)
    assert spatial.rotation.limits == pytest.approx((-np.deg2rad(2), np.deg2rad(2)))
    assert (spatial.scaling.sizes, spatial.p_synchronize_scaling_across_axes) == ((0.9, 1.1), 0)
    assert (spatial.p_rotation, spatial.p_scaling, spatial.p_elastic_deform) == (1, 1, 0)
    assert spatial.rotation.plane.normal == trainer.network.slice_axis
    assert isinstance(contrast.transform, ContrastTransform)
    assert contrast.transform.contrast_range.contrast_range == (0.9, 1.1)
    assert not any(isinstance(transform, RandomTransform) for transform in rest)


def test_augmentation_of_nnunet_is_left_alone(boxes):
    trainer = make(f"Hybrid2D3DTrainer_{SHORT}")
    transforms = training_transforms(trainer)
    assert (transforms[0].scaling, transforms[0].p_synchronize_scaling_across_axes) == ((0.7, 1.4), 1)
    assert sum(isinstance(transform, RandomTransform) for transform in transforms) == 7
    ours = type(trainer).get_training_transforms([32] * 3, (-0.1, 0.1), None, None, False)
    assert len(adjust(ours, Ranges()).transforms) == len(ours.transforms)


def test_option_switches_diffusion_on():
    assert get_trainer("Hybrid2D3DTrainer_diffusion").settings.network.options == {"diffusion": True}
    assert Hybrid2D3DTrainer.settings.network.options == {}
