"""The network of Hempe & Heinrich: published layout, any image size, memory; and its augmentation and first layer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnunet_spine.architectures import MobileASPPNet, SmallUNet
from nnunet_spine.architectures.intensity_range import IntensityRange
from nnunet_spine.training.affine import AffineTransform


def network(**options) -> MobileASPPNet:
    torch.manual_seed(0)
    return MobileASPPNet(**{"input_channels": 1, "num_classes": 29, "conv_op": nn.Conv3d, **options})


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_the_published_ones():
    net = network()
    assert [n_parameters(m) for m in (net.backbone, net.aspp, net.head)] == [155_584, 1_001_216, 121_949]
    assert n_parameters(net) == 1_278_749
    assert n_parameters(net.backbone) + n_parameters(net.head) == 277_533
    # without ASPP the head's first convolution sees 64 instead of 128 channels
    assert n_parameters(network(aspp=False)) == 277_533 - 64 * 64


def test_twenty_four_convolutions_and_three_shortcuts_in_the_backbone():
    net = network()
    assert sum(isinstance(m, nn.Conv3d) for m in net.backbone.modules()) == 24
    assert [block.has_shortcut for block in net.backbone] == [False, False, True, False, True, False, False, True]


@pytest.mark.parametrize("size", [(20, 33, 18), (7, 5, 6), (33, 18)], ids=str)
def test_any_image_size(size):
    net = network(num_classes=3, conv_op=nn.Conv3d if len(size) == 3 else nn.Conv2d).eval()
    image = torch.randn(2, 1, *size)
    logits = net(image)
    assert logits.shape == (2, 3, *size)
    padded = F.pad(image, [p for n in reversed(size) for p in (0, -n % 4)])
    torch.testing.assert_close(logits, net(padded)[(..., *(slice(n) for n in size))])


class TestComparators:
    def test_parameters_of_the_unet(self):
        with torch.device("meta"):
            net = SmallUNet(input_channels=1, num_classes=29, conv_op=nn.Conv3d)
        assert n_parameters(net) == 5_229_364 - 29 * (32 + 64 + 128 + 3)  # without the heads of coarser levels

    def test_parameters_of_the_resnet(self):
        with torch.device("meta"):
            net = network(backbone="resnet18")
        widths = [64, 128, 256, 512]
        expected = 7**3 * 64 + 2 * 64  # stem
        for before, width in zip([64, *widths], widths, strict=False):
            expected += 27 * (before + 3 * width) * width + 4 * 2 * width
            expected += (before * width + 2 * width) * (before != width)
        assert n_parameters(net.backbone) == expected == 33_160_000

    def test_the_resnet_has_eighteen_layers_less_the_classifier_at_the_resolution_of_the_mobilenet(self):
        net = network(backbone="resnet18", num_classes=3).eval()
        kernels = [m.kernel_size[0] for m in net.backbone.modules() if isinstance(m, nn.Conv3d)]
        assert len([k for k in kernels if k > 1]) == 17
        maps = []
        for part in net.backbone:
            part.register_forward_hook(lambda module, inputs, output: maps.append(tuple(output.shape[1:])))
        assert net(torch.randn(1, 1, 20, 18, 16)).shape == (1, 3, 20, 18, 16)
        assert maps[0] == (64, 10, 10, 8)
        assert maps[-1] == (512, 5, 5, 4)
        assert maps[-1][1:] == net.backbone[-1].output_size(maps[-2][1:])

    def test_an_unknown_backbone_is_refused(self):
        with pytest.raises(ValueError, match="there is mobilenet, resnet18"):
            network(backbone="resnet50")

    def test_unet_of_any_size(self):
        net, image = SmallUNet(input_channels=1, num_classes=2, conv_op=nn.Conv3d).eval(), torch.randn(1, 1, 18, 7, 16)
        padded = F.pad(image, (0, 0, 0, 9, 0, 14))
        torch.testing.assert_close(net(image), net(padded)[:, :, :18, :7])


def test_a_batch_of_one_trains():
    net = network(num_classes=2)
    logits = net(torch.randn(1, 1, 16, 16, 16))
    logits.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_checkpointing_changes_neither_gradients_nor_statistics():
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, checkpointed = network(dropout=0.0), network(dropout=0.0, checkpointing=True)
    for net in (plain, checkpointed):
        net(image).square().mean().backward()
    for ours, theirs in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(
        plain.state_dict()["backbone.7.layers.7.running_var"],
        checkpointed.state_dict()["backbone.7.layers.7.running_var"],
    )


@pytest.mark.parametrize("options", [{}, {"aspp": False}, {"backbone": "resnet18"}], ids=str)
def test_memory_estimate_follows_the_tensors_autograd_keeps(options):
    net = network(num_classes=4, **options)
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    size, batch, bytes_per_element = (32, 32, 32), 2, 4
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = net(torch.randn(batch, 1, *size))
    measured = sum(n for pointer, n in kept.items() if pointer not in weights) / batch / bytes_per_element / 2
    assert logits.shape[2:] == size
    assert net.compute_conv_feature_map_size(size) == pytest.approx(measured, rel=0.08)


def test_checkpointing_saves_memory():
    size = (128, 128, 128)
    with torch.device("meta"):
        plain, checkpointed = (network(checkpointing=c).compute_conv_feature_map_size(size) for c in (False, True))
    assert checkpointed < plain / 2


def test_a_range_for_each_channel():
    layer = IntensityRange([(-2.0, 2.0), (0.0, 1.0)])
    image = torch.tensor([[-2.0, 0.0, 2.0, 4.0], [0.0, 0.5, 1.0, 2.0]])[None, :, :, None]
    expected = torch.tensor([[-1.0, 0.0, 1.0, 2.0], [-1.0, 0.0, 1.0, 3.0]])
    torch.testing.assert_close(layer(image)[0, :, :, 0], expected)
    assert list(layer.state_dict()) == []  # weights of networks with and without it are interchangeable
    with pytest.raises(ValueError, match="lower and a higher"):
        IntensityRange([(1.0, 1.0)])
    with pytest.raises(ValueError, match="1 input_ranges for 2 channels"):
        network(input_channels=2, input_ranges=[(0.0, 1.0)])


def test_padding_becomes_air():
    """Two channels: padding is where both are exactly 0."""
    layer = IntensityRange([(-2.0, 2.0), (-1.0, 3.0)], pad_with_lowest=True)
    image = torch.tensor([[0.0, 0.0, 2.0], [0.0, 1.0, 0.0]])[None, :, :, None]
    expected = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, -0.5]])
    torch.testing.assert_close(layer(image)[0, :, :, 0], expected)


@pytest.mark.parametrize("build", [network, lambda **options: SmallUNet(**options)], ids=["mobilenet", "unet"])
def test_a_padded_volume_is_one_with_air_around_it(build):
    """nnU-Net's zeros, and the network's own up to its stride, count as the lowest intensity."""
    torch.manual_seed(0)
    options = {"input_channels": 1, "num_classes": 2, "conv_op": nn.Conv3d, "input_ranges": [(-3.0, 2.0)]}
    plain, padding = build(**options).eval(), build(**options, pad_with_lowest=True).eval()
    padding.load_state_dict(plain.state_dict())
    scan = torch.rand(1, 1, 16, 16, 16) + 0.1
    zeros, air = (F.pad(scan, (0, 15, 16, 0, 0, 0), value=value) for value in (0.0, -3.0))
    torch.testing.assert_close(padding(zeros), plain(F.pad(air, (0, 1), value=-3.0))[..., :-1])
    assert not torch.allclose(plain(zeros), padding(zeros))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_gradients_are_the_eager_ones_in_float64(backend):
    torch.compiler.reset()
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for run in (lambda net: net, lambda net: torch.compile(net, backend=backend)):
        net = network(num_classes=3, dropout=0.0).double()
        run(net)(image).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    eager, compiled = gradients
    assert (compiled - eager).norm() < 1e-10 * eager.norm()


def test_rounding_shows_in_the_gradient_only_through_the_kinks_of_relu():
    """With smooth functions in their place, float32 follows float64 to its own precision."""

    def error(smooth: bool) -> float:
        image = torch.randn(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        gradients = []
        for dtype in (torch.float64, torch.float32):
            net = network(num_classes=3, dropout=0.0)
            for module in list(net.modules()):
                for name, child in module.named_children():
                    if smooth and isinstance(child, nn.ReLU | nn.ReLU6):
                        setattr(module, name, nn.Softplus())
            net = net.to(dtype)
            net(image.to(dtype)).square().mean().backward()
            gradients.append(torch.cat([p.grad.double().flatten() for p in net.parameters()]))
        return ((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item()

    assert error(smooth=True) < 5e-5
    assert error(smooth=True) < error(smooth=False) / 10


@pytest.mark.parametrize("patch_size", [(6, 8, 10), (7, 9)], ids=str)
def test_affine_without_noise_is_the_central_crop(patch_size):
    larger = tuple(n + 4 for n in patch_size)
    image = torch.randn(2, *larger)
    segmentation = torch.randint(-1, 27, (1, *larger), dtype=torch.int16)
    out = AffineTransform(patch_size, sigma=0.0)(image=image, segmentation=segmentation)
    centre = (..., *(slice(2, n + 2) for n in patch_size))
    torch.testing.assert_close(out["image"], image[centre], rtol=0, atol=1e-4)
    assert torch.equal(out["segmentation"], segmentation[centre])
    assert out["segmentation"].dtype == segmentation.dtype


def test_affine_moves_image_and_segmentation_alike():
    torch.manual_seed(3)
    coordinates = torch.stack(torch.meshgrid(*[torch.arange(24) - 11.5] * 3, indexing="ij"))
    inside = (coordinates[0].abs() < 6) & (coordinates[1].abs() < 4) & (coordinates[2].abs() < 8)
    out = AffineTransform((16, 16, 16), sigma=0.1)(image=inside[None].float(), segmentation=5 * inside[None].short())
    assert set(out["segmentation"].unique().tolist()) == {0, 5}
    overlap = ((out["image"] > 0.5) == (out["segmentation"] == 5)).float().mean()
    assert overlap > 0.97
    assert not torch.equal(out["segmentation"][0], 5 * inside[4:-4, 4:-4, 4:-4].short())


def test_affine_map_has_the_given_spread():
    np.random.seed(0)  # noqa: NPY002 - the transform draws from the global state
    transform = AffineTransform((9, 9, 9), sigma=0.07)
    torch.manual_seed(0)
    one = transform.get_parameters(image=torch.zeros(1, 9, 9, 9))["grid"]
    torch.manual_seed(0)  # as in another of nnU-Net's workers
    assert not torch.equal(transform.get_parameters(image=torch.zeros(1, 9, 9, 9))["grid"], one)
    # at the centre of the patch only the translation is left, in units of half a patch
    shifts = np.array([transform.get_parameters(image=torch.zeros(1, 9, 9, 9))["grid"][0, 4, 4, 4] for _ in range(400)])
    np.testing.assert_allclose(shifts.std(0), 0.07, rtol=0.15)
    np.testing.assert_allclose(shifts.mean(0), 0, atol=0.012)
