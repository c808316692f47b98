"""Contract of every network in `nnunet_spine.architectures.ARCHITECTURES`."""

import ast
import importlib
import inspect
import io
import pickle
import pkgutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from nnunet_spine import architectures
from nnunet_spine.training.networks import network_from_plans

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_CLASSES = 3
NEED_IMPORT = ["conv_op", "norm_op", "dropout_op", "nonlin"]

# name: (kernel sizes, strides, image size), the strides and kernels as nnU-Net writes them
TOPOLOGIES = {
    "2d": ([[3, 3]] * 3, [[1, 1], [2, 2], [2, 2]], (16, 24)),
    "2d anisotropic": ([[3, 3]] * 3, [[1, 1], [2, 2], [2, 1]], (16, 24)),
    "3d": ([[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], (8, 16, 8)),
    "3d anisotropic": ([[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]], (4, 16, 16)),
}


def plans_kwargs(topology: str) -> dict:
    """Network arguments as they stand in nnUNetPlans.json."""
    kernel_sizes, strides, size = TOPOLOGIES[topology]
    dimension = len(size)
    return {
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "kernel_sizes": kernel_sizes,
        "strides": strides,
        "n_conv_per_stage": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def build(network_class: type[nn.Module], topology: str, deep_supervision: bool = False) -> nn.Module:
    """The network as nnU-Net builds it: found by its dotted path, initialised by itself."""
    torch.manual_seed(0)
    dotted_path = f"{network_class.__module__}.{network_class.__name__}"
    return network_from_plans(
        dotted_path, plans_kwargs(topology), NEED_IMPORT, {}, 1, NUM_CLASSES, deep_supervision=deep_supervision
    )


def supports(network_class: type[nn.Module], topology: str) -> bool:
    return len(TOPOLOGIES[topology][2]) in getattr(network_class, "dimensions", (2, 3))


def output_size(network: nn.Module, topology: str) -> tuple[int, ...]:
    """Size of the logits: that of the image, unless the network says another."""
    size = TOPOLOGIES[topology][2]
    return network.output_size(size) if hasattr(network, "output_size") else size


def has_deep_supervision(network_class: type[nn.Module]) -> bool:
    return "deep_supervision" in inspect.signature(network_class).parameters


def as_list(outputs: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else outputs


def image(topology: str) -> torch.Tensor:
    return torch.randn(2, 1, *TOPOLOGIES[topology][2], generator=torch.Generator().manual_seed(1))


every_network = pytest.mark.parametrize("network_class", architectures.ARCHITECTURES, ids=lambda c: c.__name__)


def in_topologies(*topologies: str, of: list[type[nn.Module]] = architectures.ARCHITECTURES):
    """Run a test for every network in every topology that it supports."""
    cases = [(n, t) for n in of for t in topologies or TOPOLOGIES if supports(n, t)]
    return pytest.mark.parametrize(("network_class", "topology"), cases, ids=lambda x: getattr(x, "__name__", x))


def test_every_network_of_the_package_is_listed():
    """Whatever nnU-Net may build: it takes the image's channels and the number of classes."""
    found = set()
    for module in pkgutil.iter_modules(architectures.__path__):
        for _, member in inspect.getmembers(importlib.import_module(f"{architectures.__name__}.{module.name}")):
            if inspect.isclass(member) and issubclass(member, nn.Module):
                ours = member.__module__.startswith(architectures.__name__)
                if ours and {"input_channels", "num_classes"} <= set(inspect.signature(member).parameters):
                    found.add(member)
    assert found == set(architectures.ARCHITECTURES)


@every_network
def test_other_dimensions_than_the_listed_ones_are_refused(network_class):
    for topology in TOPOLOGIES:
        if not supports(network_class, topology):
            with pytest.raises(ValueError, match="2d configuration"):
                build(network_class, topology)


@in_topologies()
def test_logits_have_the_size_of_the_image(network_class, topology):
    network = build(network_class, topology)
    assert network(image(topology)).shape == (2, NUM_CLASSES, *output_size(network, topology))


@in_topologies(of=list(filter(has_deep_supervision, architectures.ARCHITECTURES)))
def test_deep_supervision_returns_every_level_the_finest_first(network_class, topology):
    network = build(network_class, topology, deep_supervision=True)
    _, strides, size = TOPOLOGIES[topology]
    half = tuple(n // s for n, s in zip(size, strides[1], strict=True))
    assert [tuple(x.shape[2:]) for x in network(image(topology))] == [size, half]
    network.decoder.deep_supervision = False  # as nnU-Net's trainer does
    assert network(image(topology)).shape[2:] == size


@in_topologies()
def test_gradient_reaches_every_parameter(network_class, topology):
    network = build(network_class, topology, deep_supervision=True)
    # squares: normalised maps have mean zero, so the plain sum of one is constant
    sum(logits.square().mean() for logits in as_list(network(image(topology)))).backward()
    # a bias in front of instance normalisation is removed again, so its gradient is rounding and may well be zero
    without = [
        name for name, p in network.named_parameters() if p.grad is None or not (p.grad.any() or name.endswith("bias"))
    ]
    assert without == []


@in_topologies()
def test_evaluation_is_deterministic(network_class, topology):
    network = build(network_class, topology).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(image(topology)), network(image(topology)), rtol=0, atol=0)


@every_network
def test_state_dict_and_pickle_round_trip(network_class):
    network = build(network_class, "2d").eval()
    expected = network(image("2d"))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other = build(network_class, "2d", deep_supervision=True).eval()  # at inference nnU-Net builds without it
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(as_list(other(image("2d")))[0], expected, rtol=0, atol=0)
    torch.testing.assert_close(pickle.loads(pickle.dumps(network))(image("2d")), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@in_topologies("2d", "3d anisotropic")
def test_autocast_stays_finite_and_close_to_fp32(network_class, topology, dtype):
    network = build(network_class, topology)
    # oneDNN of torch 2.14 aborts the process in the backward pass of 13 x 1 x 1 kernels in 16 bits on some CPUs
    with torch.backends.mkldnn.flags(enabled=False):
        with torch.autocast("cpu", dtype):
            logits = network(image(topology))
        logits.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    network.eval()  # dropout, and batch statistics of two small maps, would make the passes differ
    expected = network(image(topology))
    with torch.autocast("cpu", dtype):
        logits = network(image(topology))
    scale = expected.square().mean().sqrt()
    assert (logits - expected).abs().mean() < {torch.bfloat16: 0.05, torch.float16: 0.01}[dtype] * scale


@every_network
def test_constructor_takes_keywords_only(network_class):
    parameters = inspect.signature(network_class).parameters.values()
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}


@in_topologies()
def test_feature_map_size_grows_with_the_image_and_rejects_channels(network_class, topology):
    network = build(network_class, topology)
    size = TOPOLOGIES[topology][2]
    small, large = (tuple(factor * n for n in size) for factor in (16, 32))  # of which no network pads any
    single = network.compute_conv_feature_map_size(small)
    assert network.compute_conv_feature_map_size(large) == 2 ** len(size) * single
    with pytest.raises((ValueError, AssertionError)):
        network.compute_conv_feature_map_size((1, *size))


def test_the_public_list_is_exported():
    assert {network.__name__ for network in architectures.ARCHITECTURES} <= set(architectures.__all__)


def test_the_modules_import_torch_and_dynamic_network_architectures_only():
    allowed = {"torch", "numpy", "dynamic_network_architectures", *sys.stdlib_module_names}
    for module in Path(architectures.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert {name.split(".")[0] for name in names} <= allowed, module
