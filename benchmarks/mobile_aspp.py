"""The MobileNet + ASPP network against nnU-Net's plain U-Net, its memory formats, and the cost of its loss.

    python -m benchmarks.mobile_aspp [--size 96] [--batch 2] [--scan-mm 192] [--rounds 5] [--threads 2] [--device cuda]

All runs take turns in one process on the same image. Printed: voxels per second of inference and of a training step
(forward, loss, backward, optimiser), ratios to the plain U-Net within a round, and the share of a training step that
label changes and class weights cost, timed by themselves. Half precision is used on CUDA only, as in nnU-Net.

Last, a whole cubic scan, each network with the plans it is meant for: the plain U-Net in half overlapping windows of
128 voxels at 1 mm, MobileNet + ASPP in one look at 128 voxels along each axis, as `plan --whole-volume` plans it.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence

import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch import nn

from benchmarks.plain_unet import plain_unet
from benchmarks.timing import alternate, median_ratio
from nnunet_spine.architectures import MobileASPPNet
from nnunet_spine.losses import make_loss

N_CLASSES = 27


def stock_network() -> nn.Module:
    """nnU-Net's 3d_fullres network for a patch of 128 voxels along each axis."""
    return plain_unet([32, 64, 128, 256, 320, 320], N_CLASSES)


def mobile_aspp(**options) -> nn.Module:
    return MobileASPPNet(input_channels=1, num_classes=N_CLASSES, conv_op=nn.Conv3d, **options)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], torch.memory_format]] = {
    "plain U-Net": (stock_network, torch.channels_last_3d),
    "MobileNet + ASPP": (mobile_aspp, torch.channels_last_3d),
    "contiguous weights": (mobile_aspp, torch.contiguous_format),
    "checkpointing": (lambda: mobile_aspp(checkpointing=True), torch.channels_last_3d),
    "without ASPP": (lambda: mobile_aspp(aspp=False), torch.channels_last_3d),
}


def inference(network: nn.Module, image: torch.Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        network.eval()
        with torch.autocast(image.device.type, enabled=image.is_cuda):
            network(image)

    return run


def whole_scan(network: nn.Module, shape: Sequence[int], patch: int, device: torch.device) -> Callable[[], None]:
    """Sliding windows as nnU-Net's predictor has them, weights and sum included."""
    image = torch.randn(1, 1, *shape, device=device)
    weight = compute_gaussian((patch,) * 3, dtype=torch.float32, device=device)
    starts = compute_steps_for_sliding_window(tuple(shape), (patch,) * 3, 0.5)

    @torch.inference_mode()
    def run() -> None:
        network.eval()
        total = torch.zeros(N_CLASSES, *shape, device=device)
        for corner in itertools.product(*starts):
            window = (slice(None), *(slice(first, first + patch) for first in corner))
            with torch.autocast(device.type, enabled=device.type == "cuda"):
                total[window] += network(image[(slice(None), *window)])[0] * weight

    return run


def training_step(network: nn.Module, image: torch.Tensor, target: torch.Tensor, loss: nn.Module) -> Callable[[], None]:
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.99)

    def run() -> None:
        network.train()
        optimizer.zero_grad()
        with torch.autocast(image.device.type, enabled=image.is_cuda):
            value = loss(network(image), target)
        value.backward()
        optimizer.step()

    return run


def loss_only(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        logits.grad = None
        loss(logits, target).backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="voxels along each axis")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--scan-mm", type=int, default=192, help="side of the scan, at least 128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    shape = (arguments.batch, 1, *[arguments.size] * 3)
    image = torch.randn(shape, device=device)
    # blocks of 8 voxels, about as many label changes as a spine at 2 mm has near its vertebrae
    blocks = torch.randint(0, N_CLASSES, (arguments.batch, 1, *[-(-arguments.size // 8)] * 3), device=device)
    target = nn.functional.interpolate(blocks.float(), size=shape[2:], mode="nearest")
    networks = {name: make().to(device).to(memory_format=layout) for name, (make, layout) in NETWORKS.items()}
    plain = next(iter(NETWORKS))

    def report(title: str, runs: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
        seconds = alternate(runs, rounds=arguments.rounds, synchronise=wait)
        print(title)
        for name, values in seconds.items():
            speed = image.numel() / statistics.median(values) / 1e6
            print(f"  {name:20} {speed:8.2f} million voxels/s, {median_ratio(seconds[plain], values):6.2f} x")
        return seconds

    print(f"image {tuple(shape)}, {device}, {arguments.threads} threads, {arguments.rounds} rounds")
    report("inference", {name: inference(network, image) for name, network in networks.items()})
    loss = make_loss("CE")
    steps = report("training", {n: training_step(network, image, target, loss) for n, network in networks.items()})

    logits = torch.randn(shape[0], N_CLASSES, *shape[2:], device=device, requires_grad=True)
    weighted = make_loss("WeightedEdgeNLL", class_weights=[1.0] * N_CLASSES)
    runs = {"plain": loss_only(loss, logits, target), "weighted": loss_only(weighted, logits, target)}
    seconds = {
        name: statistics.median(v) for name, v in alternate(runs, rounds=arguments.rounds, synchronise=wait).items()
    }
    step = statistics.median(steps["MobileNet + ASPP"])
    cost = seconds["weighted"] - seconds["plain"]
    print(f"weights of label changes and classes: {1000 * cost:.0f} ms, {100 * cost / step:.1f} % of a training step")

    side, patch = arguments.scan_mm, 128
    scans = {
        f"{plain}, 1 mm": whole_scan(networks[plain], (side,) * 3, patch, device),
        f"MobileNet + ASPP, {side / patch:g} mm": whole_scan(networks["MobileNet + ASPP"], (patch,) * 3, patch, device),
    }
    seconds = alternate(scans, rounds=arguments.rounds, synchronise=wait)
    print(f"scan of {side}^3 voxels of 1 mm")
    for name, values in seconds.items():
        ratio = median_ratio(seconds[f"{plain}, 1 mm"], values)
        print(f"  {name:25} {side**3 / statistics.median(values) / 1e6:8.2f} million voxels/s, {ratio:6.2f} x")


if __name__ == "__main__":
    main()
