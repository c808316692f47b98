"""Losses in two processes: loss and averaged gradients equal those of one process on the joined batch."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import join

from nnunet_spine.losses import LOSS_NAMES, LossContext, make_loss

CHANNELS = 3
IGNORE = CHANNELS
# Three samples on two processes, as nnU-Net distributes an odd batch size.
SAMPLES_OF_RANK = (slice(0, 2), slice(2, 3))
IGNORED = ("nowhere", "unequally", "all of one process")

Case = tuple[str, bool, bool, str]
NAMES = [name for name in LOSS_NAMES if not name.endswith("BCE")]  # another name of CE
CASES: list[Case] = list(itertools.product(NAMES, (False, True), (False, True), IGNORED))


def batch(regions: bool, ignored: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The joined batch: images (3, 1, 4, 4, 3) float64 and the target as nnU-Net delivers it."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, 4, 4, 3)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CHANNELS, shape, generator=generator)
    ignore = torch.zeros(shape, dtype=torch.bool)
    if ignored == "unequally":
        ignore[0, :, :3] = True
        ignore[2, :, 0] = True
    elif ignored == "all of one process":
        ignore[SAMPLES_OF_RANK[1]] = True
    if not regions:
        return images, torch.where(ignore, IGNORE, labels) if ignored != "nowhere" else labels
    overlapping = [labels > 0, labels == 1, labels == 2]
    return images, torch.cat(overlapping if ignored == "nowhere" else [*overlapping, ignore], 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(1, CHANNELS, 3, padding=1).double()


def loss_and_gradients(net: nn.Module, case: Case, samples: slice, ddp: bool) -> list[torch.Tensor]:
    """The loss of some samples, and the gradient of each parameter afterwards."""
    name, regions, batch_dice, ignored = case
    images, target = batch(regions, ignored)
    loss = make_loss(name, LossContext(regions, None if ignored == "nowhere" else IGNORE, batch_dice, ddp))
    net.zero_grad()
    value = loss(net(images[samples]), target[samples])
    value.backward()
    return [value.detach(), *(parameter.grad.clone() for parameter in net.parameters())]


def process(rank: int, folder: Path) -> None:
    """Run all cases as one process of the group and save its results."""
    join(rank, folder)
    net = DistributedDataParallel(network())
    results = {case: loss_and_gradients(net, case, SAMPLES_OF_RANK[rank], ddp=True) for case in CASES}
    distributed.destroy_process_group()
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def results_of_ranks(tmp_path_factory) -> list[dict[Case, list[torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("ddp")
    multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_equal_one_on_the_joined_batch(case, results_of_ranks):
    expected = loss_and_gradients(network(), case, slice(None), ddp=False)
    for results in results_of_ranks:
        for result, joined in zip(results[case], expected, strict=True):
            torch.testing.assert_close(result, joined, rtol=1e-9, atol=1e-12)


def test_averaging_the_processes_would_differ():
    """The cases above tell the joined batch from nnU-Net's mean over processes."""
    for case in CASES:
        values = [loss_and_gradients(network(), case, samples, ddp=False)[0] for samples in SAMPLES_OF_RANK]
        joined = loss_and_gradients(network(), case, slice(None), ddp=False)[0]
        assert abs(sum(values) / 2 - joined) > 1e-6, case
