"""ConvLSTM cell, fusion and U-Net: published sizes, the plain recurrence, precision, memory, compilation."""

import math

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from benchmarks.naive_convlstm import naive_recurrence
from benchmarks.timing import kept_bytes
from nnunet_spine.architectures import BCDUNet, ConvLSTMUNet
from nnunet_spine.architectures.convlstm import ConvLSTMCell, ConvLSTMFusion
from nnunet_spine.architectures.dense_bottleneck import DenseBottleneck

pytestmark = pytest.mark.usefixtures("one_thread")

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
SIZE = {"2d": (32, 48), "3d": (8, 16, 16), "3d anisotropic": (4, 16, 32)}
LARGE_SIZE = {"2d": (96, 96), "3d": (16, 32, 32), "3d anisotropic": (4, 64, 64)}  # activations outweigh weights


def network_kwargs(topology: str = "2d", features: tuple[int, ...] = (4, 6, 8, 8), **options) -> dict:
    """Arguments that `PlainConvUNet` and `ConvLSTMUNet` share."""
    dimension = len(SIZE[topology])
    n_stages = len(features)
    strides, kernel_sizes = [1] + [2] * (n_stages - 1), [3] * n_stages
    if topology == "3d anisotropic":
        strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]][:n_stages]
        kernel_sizes = [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]][:n_stages]
    return {
        "input_channels": 1,
        "n_stages": n_stages,
        "features_per_stage": list(features),
        "conv_op": CONV[dimension],
        "kernel_sizes": kernel_sizes,
        "strides": strides,
        "n_conv_per_stage": 2,
        "num_classes": 3,
        "n_conv_per_stage_decoder": 2,
        "conv_bias": True,
        "norm_op": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimension],
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        **options,
    }


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def assert_gradient_everywhere(network: nn.Module) -> None:
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        # a bias in front of instance normalisation has no gradient but rounding
        assert p.grad.any() or name.endswith("bias"), name


class TestPublishedTopology:
    def test_parameters_with_three_dense_blocks(self):
        network = BCDUNet(dense_blocks=3)
        statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
        assert n_parameters(network) + statistics == 20_659_717

    def test_parameters_with_one_dense_block(self):
        assert round(n_parameters(BCDUNet(dense_blocks=1)) / 1e6, 2) == 8.86

    def test_parameters_of_each_part(self):
        def conv(c_in, c_out, taps=9):
            return taps * c_in * c_out + c_out

        network = BCDUNet(dense_blocks=3)
        encoder = sum(conv(a, b) + conv(b, b) for a, b in ((1, 64), (64, 128), (128, 256), (256, 512)))
        assert n_parameters(network.encoder) == encoder
        assert n_parameters(network.bottleneck) == 3 * conv(512, 512) + conv(1024, 512)
        levels = 0
        for c in (256, 128, 64):
            batch_norm, cell = 2 * c, conv(c + c // 2, 4 * (c // 2))
            levels += conv(2 * c, c, taps=4) + batch_norm + cell + conv(c // 2, c) + conv(c, c)
        assert n_parameters(network.decoder) == levels + conv(64, 2) + conv(2, 1, taps=1)

    def test_dropout_makes_training_random_and_evaluation_not(self):
        network, x = BCDUNet(dense_blocks=1), torch.randn(1, 1, 16, 16)
        with torch.no_grad():
            assert not torch.equal(network(x), network(x))
            network.eval()
            assert torch.equal(network(x), network(x))

    def test_dropout_is_that_of_the_code(self):
        """The third skip and the dense blocks, each about half; what is pooled is left alone."""
        network = BCDUNet(dense_blocks=3)
        seen = {}

        def note(name):
            return lambda module, inputs, output: seen.setdefault(name, []).append((inputs[0], output))

        network.skip_dropout.register_forward_hook(note("skip"))
        network.bottleneck.dropout.register_forward_hook(note("dense"))
        network.encoder.stages[3].register_forward_hook(note("deepest"))
        network(torch.randn(1, 1, 16, 16))
        assert (len(seen["skip"]), len(seen["dense"])) == (1, 3)
        for before, after in (*seen["skip"], *seen["dense"]):
            kept = after != 0
            torch.testing.assert_close(after[kept], 2 * before[kept])
            assert 0.3 < kept.sum() / (before != 0).sum() < 0.7
        assert seen["deepest"][0][0] is seen["skip"][0][0]

    def test_any_size_is_padded_to_a_multiple_of_eight(self):
        network, x = BCDUNet(num_classes=2, dense_blocks=1).eval(), torch.randn(1, 1, 12, 17)
        with torch.no_grad():
            padded = network(nn.functional.pad(x, (0, 7, 0, 4)))
            torch.testing.assert_close(network(x), padded[..., :12, :17])

    def test_two_classes_have_the_head_of_one(self):
        """Background and spine: two channels before the last convolution, as in the code."""
        assert n_parameters(BCDUNet(num_classes=2)) == n_parameters(BCDUNet()) + 3
        assert BCDUNet(num_classes=4).decoder.seg_layers[-1][-1].in_channels == 6

    @pytest.mark.parametrize(
        ("options", "fused"), [({"n_convlstm_skips": 0}, 0), ({"convlstm": "bi"}, 3), ({"hidden_fraction": 0.25}, 3)]
    )
    def test_options_for_ablations(self, options, fused):
        network = BCDUNet(dense_blocks=1, **options)
        assert sum(isinstance(f, ConvLSTMFusion) for f in network.decoder.fusions) == fused
        assert network(torch.randn(1, 1, 16, 16)).shape == (1, 1, 16, 16)


class TestCell:
    @pytest.mark.parametrize("hard_sigmoid", [False, True])
    @pytest.mark.parametrize("one_convolution", [False, True])
    @pytest.mark.parametrize(("dimension", "kernel_size"), [(2, 3), (3, 3), (3, (1, 3, 3))])
    def test_equals_the_plain_recurrence_in_value_and_gradient(
        self, dimension, kernel_size, one_convolution, hard_sigmoid
    ):
        torch.manual_seed(0)
        cell = ConvLSTMCell(CONV[dimension], 6, 3, kernel_size, hard_sigmoid=hard_sigmoid)
        nn.init.normal_(cell.gates.bias)
        pair = [torch.randn(2, 6, *(5,) * dimension, requires_grad=True) for _ in range(2)]
        ours, naive = cell(*pair), naive_recurrence(cell, *pair, one_convolution=one_convolution)
        torch.testing.assert_close(ours, naive, rtol=1e-5, atol=1e-6)
        inputs = [*pair, *cell.parameters()]
        for a, b in zip(
            torch.autograd.grad(ours.square().sum(), inputs),
            torch.autograd.grad(naive.square().sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    def test_gradient_matches_finite_differences(self):
        torch.manual_seed(0)
        cell = ConvLSTMCell(nn.Conv2d, 2, 1, 3).double()
        pair = [torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        assert torch.autograd.gradcheck(cell, pair)

    def test_by_hand(self):
        cell = ConvLSTMCell(nn.Conv2d, 1, 1, 1)
        with torch.no_grad():
            # rows f, i, o, g; columns x, h
            cell.gates.weight.copy_(torch.tensor([[1.0, 2], [0, 1], [1, -1], [2, 1]])[..., None, None])
            cell.gates.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        sigmoid = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
        c1 = 0.5 * math.tanh(2)  # x = 1
        h1 = sigmoid(1) * math.tanh(c1)
        c2 = sigmoid(-1 + 2 * h1 + 1) * c1 + sigmoid(h1) * math.tanh(-2 + h1)  # x = -1
        h2 = sigmoid(-1 - h1) * math.tanh(c2)
        one = torch.ones(1, 1, 1, 1)
        assert cell(one, -one).item() == pytest.approx(h2, abs=1e-6)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_state_is_fp32_and_bounded_under_autocast(self, dtype):
        cell = ConvLSTMCell(nn.Conv2d, 4, 2, 3)
        x = 100 * torch.randn(1, 4, 8, 8)
        with torch.autocast("cpu", dtype):
            hidden, state = cell.first_step(x)
            last_hidden, last_state = cell.second_step(x, hidden, state)
        assert hidden.dtype == last_hidden.dtype == dtype
        assert state.dtype == last_state.dtype == torch.float32
        assert last_state.abs().max() <= 2

    def test_initialisation_keeps_the_forget_bias(self):
        cell = ConvLSTMCell(nn.Conv3d, 4, 2, 3)
        cell.apply(ConvLSTMUNet.initialize)
        assert cell.gates.bias.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]

    def test_even_kernel_is_refused(self):
        with pytest.raises(ValueError, match="odd"):
            ConvLSTMCell(nn.Conv2d, 4, 2, (3, 2))


class TestFusion:
    @pytest.mark.parametrize(("channels", "millions"), [(32, 0.083), (64, 0.33), (128, 1.33)])
    def test_parameters_in_3d(self, channels, millions):
        uni = ConvLSTMFusion(nn.Conv3d, channels, channels // 2, 3, variant="uni")
        bi = ConvLSTMFusion(nn.Conv3d, channels, channels // 2, 3, variant="bi")
        assert n_parameters(uni) / 1e6 == pytest.approx(millions, rel=0.01)
        assert n_parameters(bi) == 2 * n_parameters(uni) + channels * channels + channels

    def test_uni_reads_the_up_sampled_map_first(self):
        fusion = ConvLSTMFusion(nn.Conv2d, 4, 2, 3, variant="uni")
        skip, up = torch.randn(2, 1, 4, 6, 6)
        torch.testing.assert_close(fusion(skip, up), naive_recurrence(fusion.up_first, up, skip))

    def test_bi_merges_both_directions(self):
        fusion = ConvLSTMFusion(nn.Conv2d, 4, 2, 3)
        skip, up = torch.randn(2, 1, 4, 6, 6)
        directions = naive_recurrence(fusion.skip_first, skip, up), naive_recurrence(fusion.up_first, up, skip)
        torch.testing.assert_close(fusion(skip, up), torch.tanh(fusion.merge(torch.cat(directions, 1))))

    def test_unknown_variant_is_refused(self):
        with pytest.raises(ValueError, match="'bi' or 'uni'"):
            ConvLSTMFusion(nn.Conv2d, 4, 2, 3, variant="both")


class TestDenseBottleneck:
    def test_every_block_sees_all_earlier_ones(self):
        bottleneck = DenseBottleneck(3, 2, nn.Conv2d, 4, 3)
        x = torch.randn(1, 4, 5, 5)
        second = bottleneck.blocks[0](x)
        torch.testing.assert_close(bottleneck(x), bottleneck.blocks[1](torch.cat((second, x), dim=1)))

    def test_one_block_is_the_ordinary_last_stage(self):
        bottleneck, x = DenseBottleneck(1, 2, nn.Conv2d, 4, 3), torch.randn(1, 4, 5, 5)
        assert n_parameters(bottleneck) == 0
        assert bottleneck(x) is x

    def test_no_block_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            ConvLSTMUNet(**network_kwargs(dense_blocks=0))


class TestUNet:
    @pytest.mark.parametrize("topology", SIZE)
    def test_without_fused_skips_it_is_the_plain_unet(self, topology):
        ours = ConvLSTMUNet(**network_kwargs(topology), n_convlstm_skips=0)
        plain = PlainConvUNet(**network_kwargs(topology))
        x = torch.randn(1, 1, *SIZE[topology])
        state = {name: w for name, w in plain.state_dict().items() if not name.startswith("decoder.encoder.")}
        ours.load_state_dict(state)
        torch.testing.assert_close(ours(x), plain(x))
        assert ours.compute_conv_feature_map_size(SIZE[topology]) == plain.compute_conv_feature_map_size(SIZE[topology])

    def test_encoder_weights_of_the_plain_unet_fit(self):
        plain = PlainConvUNet(**network_kwargs())
        ConvLSTMUNet(**network_kwargs()).encoder.load_state_dict(plain.encoder.state_dict())

    @pytest.mark.parametrize(("n", "fused"), [(None, [1, 1, 0]), (0, [0, 0, 0]), (1, [1, 0, 0]), (3, [1, 1, 1])])
    def test_skips_are_fused_from_the_deepest(self, n, fused):
        network = ConvLSTMUNet(**network_kwargs(), n_convlstm_skips=n)
        assert [isinstance(f, ConvLSTMFusion) for f in network.decoder.fusions] == [bool(f) for f in fused]

    def test_cells_take_the_kernel_of_their_level(self):
        network = ConvLSTMUNet(**network_kwargs("3d anisotropic"), n_convlstm_skips=3)
        kernels = [f.up_first.gates.kernel_size for f in network.decoder.fusions]
        assert kernels == [(3, 3, 3), (1, 3, 3), (1, 3, 3)]

    @pytest.mark.parametrize(
        "options",
        [
            {"convlstm": "uni"},
            {"dense_blocks": 3},
            {"checkpoint_cells": True},
            {"hidden_fraction": 0.25, "n_convlstm_skips": 3},
            {"convlstm": "uni", "hard_sigmoid": True, "pool": "max", "head_channels": 4, "norm_op": None},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("topology", SIZE)
    def test_options_keep_the_shape_and_pass_the_gradient_on(self, topology, options):
        network = ConvLSTMUNet(**{**network_kwargs(topology, deep_supervision=True), **options})
        logits = network(torch.randn(1, 1, *SIZE[topology]))
        assert logits[0].shape == (1, 3, *SIZE[topology])
        assert len(logits) == 3
        sum(x.square().mean() for x in logits).backward()
        assert_gradient_everywhere(network)

    def test_checkpointing_changes_neither_result_nor_gradient_but_memory(self):
        networks = [ConvLSTMUNet(**network_kwargs(), checkpoint_cells=flag) for flag in (False, True)]
        networks[1].load_state_dict(networks[0].state_dict())
        x = torch.randn(1, 1, 32, 32)
        for network in networks:
            network(x).square().mean().backward()
        for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)
        full, lean = (kept_bytes(network, x) for network in networks)
        assert lean < 0.8 * full

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_convlstm_skips": 4}, "0 to 3"),
            ({"hidden_fraction": 0}, "hidden_fraction"),
            ({"n_conv_per_stage": [2, 2]}, "4 stages"),
            ({"deep_supervision": True, "auxiliary_heads": False}, "auxiliary_heads"),
        ],
        ids=str,
    )
    def test_options_that_do_not_fit_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            ConvLSTMUNet(**{**network_kwargs(), **options})

    def test_size_that_the_strides_do_not_divide_is_refused(self):
        with pytest.raises(ValueError, match=r"multiples of \(8, 8\)"):
            ConvLSTMUNet(**network_kwargs())(torch.randn(1, 1, 32, 36))

    @pytest.mark.parametrize("checkpoint_cells", [False, True])
    def test_compiles_as_one_graph(self, checkpoint_cells):
        torch.compiler.reset()
        kwargs = network_kwargs(features=(4, 6, 8), deep_supervision=True)
        network = ConvLSTMUNet(**kwargs, checkpoint_cells=checkpoint_cells)
        x = torch.randn(1, 1, 16, 16)
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
        logits = compiled(x)
        torch.testing.assert_close(logits, network(x))
        sum(level.square().mean() for level in logits).backward()
        assert_gradient_everywhere(network)


class TestMemoryEstimate:
    @pytest.mark.parametrize(
        ("topology", "options"),
        [
            ("2d", {}),
            ("2d", {"n_convlstm_skips": 3}),
            ("2d", {"convlstm": "uni"}),
            ("2d", {"hidden_fraction": 0.25}),
            ("2d", {"dense_blocks": 3}),
            ("2d", {"deep_supervision": True}),
            ("3d", {}),
            ("3d anisotropic", {"n_convlstm_skips": 3}),
        ],
        ids=str,
    )
    def test_follows_the_kept_tensors_in_the_unit_of_the_plain_unet(self, topology, options):
        kwargs, size = network_kwargs(topology, features=(8, 12, 16, 16)), LARGE_SIZE[topology]
        x = torch.randn(1, 1, *size)
        with torch.autocast("cpu", torch.bfloat16):
            plain, ours = (
                kept_bytes(network, x) / network.compute_conv_feature_map_size(size)
                for network in (PlainConvUNet(**kwargs), ConvLSTMUNet(**{**kwargs, **options}))
            )
        assert ours / plain == pytest.approx(1, abs=0.08)

    def test_with_checkpointing_lies_between_kept_tensors_and_the_full_network(self):
        kwargs, size = network_kwargs(features=(8, 12, 16, 16)), LARGE_SIZE["2d"]
        x = torch.randn(1, 1, *size)
        plain, full = PlainConvUNet(**kwargs), ConvLSTMUNet(**kwargs)
        lean = ConvLSTMUNet(**kwargs, checkpoint_cells=True)
        with torch.autocast("cpu", torch.bfloat16):
            kept = kept_bytes(lean, x) / kept_bytes(plain, x) * plain.compute_conv_feature_map_size(size)
        assert kept < lean.compute_conv_feature_map_size(size) < full.compute_conv_feature_map_size(size)
