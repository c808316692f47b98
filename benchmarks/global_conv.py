"""Cost of a training step's parts: weights on the boundary, and the adversarial term.

    python -m benchmarks.global_conv [--plan crop half-crop volume] [--device cuda] [--compile] [--rounds 7]

Half precision on CUDA, as nnU-Net trains there. All steps run in turn in one process, on one network and one batch,
with nnU-Net's optimiser. Printed per plan: median time of a step and its ratio to the plain step within a round. The
boundary is to cost at most 5 % of a step, the adversarial term at most 2.1 times a plain step (two passes). The
boundary is also timed by itself, since 5 % is within the noise of a busy machine. On two free CPU cores the default
run takes some three minutes.
"""

import argparse
import statistics
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn

from benchmarks.plain_unet import plain_unet
from benchmarks.timing import alternate, median_ratio
from nnunet_spine.architectures import GlobalConvNet
from nnunet_spine.losses import make_loss
from nnunet_spine.training.adversarial import adversarial_train_step

PLAIN = "cross entropy"


def crop_network() -> nn.Module:
    """The network of `GlobalConvTrainer` at full size."""
    return GlobalConvNet(input_channels=1, num_classes=2, conv_op=nn.Conv3d, n_stages=5, strides=[1, 2, 2, 2, 2])


def volume_network() -> nn.Module:
    """nnU-Net's network with the labels of a whole spine."""
    return plain_unet([32, 64, 128, 256], 27)


PLANS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "crop": (crop_network, (64, 112, 96)),
    "half-crop": (crop_network, (32, 64, 48)),
    "volume": (volume_network, (64, 64, 64)),
}


def labels(shape: tuple[int, ...], n_classes: int) -> torch.Tensor:
    """A label map (1, 1, *shape) of blocks with much boundary."""
    blocks = torch.randint(n_classes, (1, 1, *(n // 8 for n in shape)), generator=torch.Generator().manual_seed(0))
    for axis in range(2, 5):
        blocks = blocks.repeat_interleave(8, axis)
    return blocks


def make_trainer(network: nn.Module, loss: nn.Module, device: torch.device) -> SimpleNamespace:
    """What a training step needs of a trainer."""
    return SimpleNamespace(
        network=network,
        loss=loss,
        optimizer=torch.optim.SGD(network.parameters(), 1e-3, momentum=0.99, nesterov=True, weight_decay=3e-5),
        grad_scaler=torch.amp.GradScaler() if device.type == "cuda" else None,
        device=device,
        is_ddp=False,
        dataset_json={"channel_names": {"0": "CT"}},
        label_manager=SimpleNamespace(has_regions=False),
    )


def plain_step(trainer: SimpleNamespace, batch: dict) -> None:
    """nnU-Net's training step."""
    trainer.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(trainer.device.type, enabled=trainer.device.type == "cuda"):
        loss = trainer.loss(trainer.network(batch["data"]), batch["target"])
    scaler = trainer.grad_scaler
    (loss if scaler is None else scaler.scale(loss)).backward()
    if scaler is not None:
        scaler.unscale_(trainer.optimizer)
    nn.utils.clip_grad_norm_(trainer.network.parameters(), 12)
    if scaler is not None:
        scaler.step(trainer.optimizer)
        scaler.update()
    else:
        trainer.optimizer.step()
    loss.detach().cpu()


def run(name: str, device: torch.device, *, compiled: bool, rounds: int) -> None:
    """Measures all steps at one plan and prints the table."""
    torch.manual_seed(0)
    build, patch_size = PLANS[name]
    network = build().to(device)
    with torch.no_grad():
        n_classes = network(torch.randn(1, 1, 32, 32, 32, device=device)).shape[1]
    runnable = torch.compile(network) if compiled else network
    data = torch.randn(1, 1, *patch_size, device=device)
    batch = {"data": data, "target": labels(patch_size, n_classes).to(device)}
    plain, edge = (make_trainer(runnable, make_loss(key), device) for key in ("CE", "EdgeCE"))
    steps = {
        PLAIN: lambda: plain_step(plain, batch),
        "with boundary weights": lambda: plain_step(edge, batch),
        "adversarial, fgsm": lambda: adversarial_train_step(plain, "fgsm", 0.02, batch),
        "adversarial, vat": lambda: adversarial_train_step(plain, "vat", 0.02, batch),
    }
    logits = torch.randn(1, n_classes, *patch_size, device=device, requires_grad=True)
    losses = {
        key: lambda loss=trainer.loss: loss(logits, batch["target"]).backward()
        for key, trainer in (("CE", plain), ("EdgeCE", edge))
    }
    synchronise = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else None
    seconds = alternate(steps, rounds=rounds, warmup=3 if compiled else 1, synchronise=synchronise)
    loss_seconds = alternate(losses, rounds=3 * rounds, synchronise=synchronise)

    print(f"\n{name}: {type(network).__name__}, patch {patch_size}, {n_classes} classes, {device}", end="")
    print(f"{', fp16' if device.type == 'cuda' else ''}{', compiled' if compiled else ''}, {rounds} rounds\n")
    print("| step | median | x plain |\n|---|---|---|")
    for key, times in seconds.items():
        print(f"| {key} | {statistics.median(times) * 1e3:.0f} ms | {median_ratio(times, seconds[PLAIN]):.2f} |")
    extra = statistics.median(b - a for a, b in zip(loss_seconds["CE"], loss_seconds["EdgeCE"], strict=True))
    print(f"\nBoundary by itself: {extra * 1e3:.1f} ms, ", end="")
    print(f"{100 * extra / statistics.median(seconds[PLAIN]):.1f} % of a plain step (aim at most 5 %)")
    print(f"Adversarial term: {median_ratio(seconds['adversarial, fgsm'], seconds[PLAIN]):.2f}x (aim at most 2.1x)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", nargs="+", choices=PLANS, default=["half-crop", "volume"])
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.plan:
        run(name, arguments.device, compiled=arguments.compile, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
