"""Encoder of large convolutions, decoder of global ones: definition, parameter counts, memory, options."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.nn import functional

from benchmarks.timing import kept_bytes
from nnunet_spine.architectures import GlobalConvNet
from nnunet_spine.architectures.global_conv import GlobalConv, axis_orders

pytestmark = pytest.mark.usefixtures("one_thread")

CONV = {2: nn.Conv2d, 3: nn.Conv3d}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def network(dimension: int = 3, n_stages: int = 3, **options) -> GlobalConvNet:
    torch.manual_seed(0)
    arguments = {"width": 4, "kernel_size": 3, "gcn_kernel_size": 5, **options}
    strides = [1] + [2] * (n_stages - 1)
    return GlobalConvNet(
        input_channels=1, num_classes=2, conv_op=CONV[dimension], n_stages=n_stages, strides=strides, **arguments
    )


@pytest.fixture(scope="module")
def full_size() -> GlobalConvNet:
    with torch.device("meta"):
        return GlobalConvNet(input_channels=1, num_classes=2, conv_op=nn.Conv3d, n_stages=5, strides=[1, 2, 2, 2, 2])


class TestGlobalConvolution:
    def test_orders_of_the_axes(self):
        assert axis_orders(3, 1) == [(0, 1, 2)]
        assert axis_orders(3, 3) == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
        assert len(set(axis_orders(3, 6))) == 6
        assert axis_orders(2, 3) == axis_orders(2, 6) == [(0, 1), (1, 0)]

    def test_weights_are_117_times_squared_channels(self):
        assert count(GlobalConv(nn.Conv3d, 6, 6, 13, 3)) == 117 * 6**2
        assert count(GlobalConv(nn.Conv2d, 6, 6, 13, 3)) == 52 * 6**2

    @pytest.mark.parametrize("n_branches", [1, 3, 6])
    @pytest.mark.parametrize("dimension", [2, 3])
    def test_ones_add_up_a_box_in_every_branch(self, dimension, n_branches):
        """All weights 1, one channel: every branch sums the k-box around each voxel, whatever its order."""
        layer = GlobalConv(CONV[dimension], 1, 1, 5, n_branches)
        for p in layer.parameters():
            nn.init.ones_(p)
        x = torch.randint(10, (1, 1, *(7, 6, 8)[:dimension])).float()  # small integers: exact in any order
        box = {2: functional.conv2d, 3: functional.conv3d}[dimension](x, torch.ones(1, 1, *[5] * dimension), padding=2)
        torch.testing.assert_close(layer(x), len(axis_orders(dimension, n_branches)) * box)

    def test_on_small_maps_only_the_taps_that_meet_the_map_matter(self):
        layer, clipped = GlobalConv(nn.Conv3d, 2, 3, 13, 3), GlobalConv(nn.Conv3d, 2, 3, 5, 3)
        for full, part in zip(layer.parameters(), clipped.parameters(), strict=True):
            axis = max(range(2, 5), key=lambda a: full.shape[a])
            part.data = full.data.narrow(axis, 4, 5)
        x = torch.randn(1, 2, 3, 3, 3)  # 2 * 3 - 1 = 5 taps
        torch.testing.assert_close(layer(x), clipped(x))

    def test_unknown_branches_and_even_kernels_are_refused(self):
        with pytest.raises(ValueError, match="1, 3 or 6"):
            GlobalConv(nn.Conv3d, 1, 1, 5, 2)
        with pytest.raises(ValueError, match="odd"):
            GlobalConv(nn.Conv3d, 1, 1, 4, 3)


class TestNetwork:
    def test_parameters_at_full_size(self, full_size):
        squares = [(16 * 2**level) ** 2 for level in range(5)]
        between = [2 * c for c in squares[:4]]  # C times 2C
        convolutions = 125 * (16 + sum(n * c for n, c in zip((2, 3, 3, 3), squares[1:], strict=True)))
        strided = 8 * sum(between)
        # normalisation (2) and PReLU (1) per channel: of each convolution and strided convolution
        per_channel = 3 * (16 + sum(n * 16 * 2**level for level, n in ((1, 3), (2, 4), (3, 4), (4, 4))))
        assert count(full_size.encoder) == convolutions + strided + per_channel + 16  # 16: the image's shortcut
        global_ones = 3 * 13 * sum(2 * c + c + c for c in squares[:4])
        heads = sum(2 * 16 * 2**level + 2 for level in range(4))
        assert count(full_size.decoder) == global_ones + strided + sum(between) + 2 * 3 * (16 + 32 + 64 + 128) + heads
        assert count(full_size) == 36_656_056
        assert count(full_size.encoder) == 32_867_888

    @pytest.mark.parametrize(("n_branches", "millions"), [(1, 1.131520), (3, 3.394560), (6, 6.789120)])
    def test_branches_change_the_decoder_only(self, full_size, n_branches, millions):
        with torch.device("meta"):
            other = GlobalConvNet(
                input_channels=1,
                num_classes=2,
                conv_op=nn.Conv3d,
                n_stages=5,
                strides=[1, 2, 2, 2, 2],
                gcn_branches=n_branches,
            )
        assert count(other.encoder) == count(full_size.encoder)
        global_ones = sum(count(m) for m in other.modules() if isinstance(m, GlobalConv))
        assert global_ones == round(millions * 1e6)

    def test_maps_at_the_published_crop(self, full_size):
        sizes = []
        for stage in full_size.decoder.stages:
            stage.register_forward_hook(lambda *arguments: sizes.append(tuple(arguments[2].shape[1:])))
        assert full_size(torch.empty(1, 1, 64, 112, 96, device="meta")).shape == (1, 2, 64, 112, 96)
        assert sizes == [(128, 8, 14, 12), (64, 16, 28, 24), (32, 32, 56, 48), (16, 64, 112, 96)]

    def test_convolutions_on_each_level_and_width_beyond_the_fifth(self):
        encoder = network(2, n_stages=7).encoder
        n_convolutions = [sum(isinstance(m, nn.Conv2d) for m in stage.layers) for stage in encoder.stages]
        assert n_convolutions == [1, 2, 3, 3, 3, 3, 3]
        assert encoder.features == [4, 8, 16, 32, 64, 64, 64]

    def test_the_first_map_of_a_level_is_added_to_its_last(self):
        level = network(2).encoder.stages[1].eval()
        for layer in level.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.weight)
        x = torch.randn(1, 8, 8, 8)
        torch.testing.assert_close(level(x), level.nonlin(x))

    @pytest.mark.parametrize(("dimension", "size"), [(2, (64, 96)), (3, (16, 32, 32))])
    def test_memory_estimate_follows_the_kept_tensors_in_the_unit_of_the_plain_unet(self, dimension, size):
        norm_op = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimension]
        plain = PlainConvUNet(
            *(1, 4, [8, 12, 16, 16], CONV[dimension], 3, [1, 2, 2, 2], [2] * 4, 2, [2] * 3),
            conv_bias=True,
            norm_op=norm_op,
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        units = []
        for net in (plain, network(dimension, n_stages=4)):
            with torch.autocast("cpu", torch.bfloat16):
                # the difference of two sizes: half-precision copies of the weights do not grow with the image
                small, large = (kept_bytes(net, torch.randn(b, 1, *size)) for b in (1, 2))
            units.append((large - small) / net.compute_conv_feature_map_size(size))
        assert units[1] / units[0] == pytest.approx(1, abs=0.06)

    def test_compiles_as_one_graph(self):
        torch.compiler.reset()
        net = network(2, deep_supervision=True)
        x = torch.randn(1, 1, 16, 16)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        logits = compiled(x)
        torch.testing.assert_close(logits, net(x))
        sum(level.square().mean() for level in logits).backward()
        assert all(p.grad is not None for p in net.parameters())

    def test_a_size_that_the_strides_do_not_divide_is_refused(self):
        with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\)"):
            network()(torch.randn(1, 1, 8, 8, 10))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"strides": [1, 2]}, "a stride for each"),
            ({"strides": [2, 2, 2]}, "the first 1"),
            ({"kernel_size": 4}, "kernel_size must be odd"),
            ({"gcn_kernel_size": 4}, "odd"),
            ({"gcn_branches": 2}, "1, 3 or 6"),
        ],
        ids=str,
    )
    def test_options_that_do_not_fit_are_refused(self, options, message):
        arguments = {"input_channels": 1, "num_classes": 2, "conv_op": nn.Conv2d, "n_stages": 3, "strides": [1, 2, 2]}
        with pytest.raises(ValueError, match=message):
            GlobalConvNet(**{**arguments, **options})
