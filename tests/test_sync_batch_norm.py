"""Networks with batch normalisation, compiled, in two processes: one image each equals both in one process.

As nnU-Net does it: `torch.compile`, then `SyncBatchNorm.convert_sync_batchnorm`, then DDP. torch's synchronised
normalisation runs on GPUs only, so here a plain one stands for it: the same sums over all processes.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import join

from nnunet_spine.architectures import Hybrid2D3D, MobileASPPNet, SmallUNet
from nnunet_spine.losses.ranks import sum_over_ranks

IMAGES = torch.randn(2, 1, 8, 16, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NETWORKS = {
    "hybrid": (Hybrid2D3D, {"dropout": 0.0}),
    "aspp": (MobileASPPNet, {"dropout": 0.0}),
    "aspp checkpointing": (MobileASPPNet, {"dropout": 0.0, "checkpointing": True}),
    "unet": (SmallUNet, {}),
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    network_class, options = NETWORKS[name]
    return network_class(input_channels=1, num_classes=2, conv_op=nn.Conv3d, **options).double()


def synchronised(self: nn.SyncBatchNorm, x: Tensor) -> Tensor:
    """`SyncBatchNorm.forward` in training, from sums that autograd follows through all processes."""
    axes = (0, *range(2, x.dim()))
    n = x.numel() // x.shape[1] * distributed.get_world_size()
    mean, mean_square = sum_over_ranks(torch.stack((x.sum(axes), x.square().sum(axes)))) / n
    variance = mean_square - mean.square()
    with torch.no_grad():
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * n / (n - 1), self.momentum)
    shape = (1, -1, *[1] * (x.dim() - 2))
    scale = self.weight / (variance + self.eps).sqrt()
    return (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)


def step(network: nn.Module, images: Tensor, name: str) -> dict[str, Tensor]:
    """Logits, gradients of all parameters and statistics after a training step without update."""
    logits = network(images)
    logits.square().mean().backward()
    plain = build(name)
    strip = lambda key: key.replace("module.", "").replace("_orig_mod.", "")  # noqa: E731
    state = {strip(key): value.clone() for key, value in network.state_dict().items() if "running" in key}
    gradients = {f"gradient of {strip(key)}": p.grad.clone() for key, p in network.named_parameters()}
    assert {f"gradient of {key}" for key, _ in plain.named_parameters()} == set(gradients)
    return {"logits": logits.detach(), **gradients, **state}


def process(rank: int, folder: Path) -> None:
    """Take a step with every network as one process of the group, and save what came out."""
    nn.SyncBatchNorm.forward = synchronised
    DistributedDataParallel._passing_sync_batchnorm_handle = lambda self, module: None  # it asks for GPUs
    join(rank, folder)
    results = {}
    for name in NETWORKS:
        torch.compiler.reset()
        # the backend "eager" keeps no checkpoints beside statistics that change in place; real backends do
        network = build(name) if "checkpointing" in name else torch.compile(build(name), backend="eager")
        network = DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network))
        results[name] = step(network, IMAGES[rank : rank + 1], name)
    distributed.destroy_process_group()
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def results_of_ranks(tmp_path_factory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("ddp")
    multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_image_in_each_process_equals_both_in_one(name, results_of_ranks):
    expected = step(build(name), IMAGES, name)
    for rank, results in enumerate(results_of_ranks):
        torch.testing.assert_close(results[name].pop("logits"), expected["logits"][rank : rank + 1])
        for key, value in results[name].items():
            torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-9, msg=f"{name}, rank {rank}: {key}")
