"""Fair comparison of alternatives in one process: alternated runs, medians, ratios; and what autograd keeps."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn


def alternate(
    runs: dict[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 1,
    synchronise: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Times every run once per round, in turn, so that a change of load or clock meets all of them alike.

    Args:
        runs: the alternatives by name.
        rounds: number of timed rounds.
        warmup: untimed rounds before.
        synchronise: waits for the device; called before each reading of the clock.

    Returns:
        Seconds of each round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    wait = synchronise or (lambda: None)
    for current_round in range(warmup + rounds):
        for name, run in runs.items():
            wait()
            start = time.perf_counter()
            run()
            wait()
            if current_round >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over rounds of the ratio within a round, which load that drifts disturbs less than a ratio of medians."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def kept_bytes(network: nn.Module, image: Tensor) -> int:
    """Bytes that one forward pass keeps for the backward pass: distinct storages, parameters left out.

    Runs under the caller's autocast. It is the part of the peak that grows with the patch, on any device; tensors that
    activation checkpointing recomputes are not in it.
    """
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(image)  # held, so that no storage is freed and its address used again
    del output
    return sum(kept.values())
