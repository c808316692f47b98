"""The adversarial term in two processes: gradients equal those of one process, and are gathered once per step."""

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from two_processes import join

from nnunet_spine.losses import LossContext, make_loss
from nnunet_spine.training.adversarial import KLDivergence, supervised_gradients, virtual_gradients

KINDS = ("fgsm", "l2", "vat")
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(0, 2, (3, 1, 8, 8), generator=torch.Generator().manual_seed(1))
START = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1))


# Three samples on two processes, as nnU-Net distributes an odd batch size.
SAMPLES_OF_RANK = (slice(0, 2), slice(2, 3))


def gradients(network: nn.Module, kind: str, samples: slice, ddp: bool) -> list[torch.Tensor]:
    """Parameter gradients of the step for some samples; vat starts from the same direction everywhere."""
    loss = make_loss("CE", LossContext(ddp=ddp))
    options = {"no_sync": network.no_sync} if ddp else {}
    network.zero_grad()
    if kind == "vat":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", lambda _: START[samples])
            virtual_gradients(
                network,
                lambda output: loss(output, TARGET[samples]),
                sum_of_divergence,
                IMAGES[samples],
                0.1,
                1,
                **options,
            )
    else:
        supervised_gradients(lambda x: loss(network(x), TARGET[samples]), IMAGES[samples], kind, 0.1, 1, **options)
    return [p.grad.clone() for p in network.parameters()]


def sum_of_divergence(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Sum over samples, times the processes over which DDP averages: then unequal batches add up exactly."""
    n_processes = distributed.get_world_size() if distributed.is_initialized() else 1
    return KLDivergence(False)(output, reference) * len(output) * n_processes


def process(rank: int, folder: Path) -> None:
    """Run all kinds as one process of the group; save gradients and how often they were gathered."""
    join(rank, folder)
    network = DistributedDataParallel(small_network())
    gathered = []

    def note(state, bucket):
        gathered.append(1)
        return allreduce_hook(None, bucket)

    network.register_comm_hook(None, note)
    results = {}
    for kind in KINDS:
        gathered.clear()
        results[kind] = gradients(network, kind, SAMPLES_OF_RANK[rank], ddp=True)
        results[f"{kind} gathered"] = len(gathered)
    distributed.destroy_process_group()
    torch.save(results, folder / f"{rank}.pt")


def test_two_processes_equal_one_on_the_joined_batch_and_gather_once(tmp_path):
    multiprocessing.spawn(process, (tmp_path,), nprocs=2)
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        for kind in KINDS:
            expected = gradients(small_network(), kind, slice(None), ddp=False)
            for result, joined in zip(results[kind], expected, strict=True):
                torch.testing.assert_close(result, joined, rtol=1e-4, atol=1e-6)
            assert results[f"{kind} gathered"] == 1
