"""Adversarial training: a second pass over images moved a little in the direction that hurts most.

The objective is L(x) + L(x + r), with r of the size epsilon, in units of the image that the network receives:

- "fgsm": r = epsilon * sign(dL/dx) [Goodfellow et al. 2015];
- "l2": r = epsilon * sqrt(N) * g / |g| with g = dL/dx of one image of N voxels [Miyato et al. 2016], so that the root
  mean square of r is epsilon;
- "vat": virtual adversarial training [Miyato et al. 2018]: the second term is KL(p(x) || p(x + r)), where r is the
  direction found by one power iteration. It uses no labels.

Mita et al. train with L(x) + L(x + r) and give neither epsilon nor the form; "fgsm" and 0.02 are our choice.

For "fgsm" and "l2" there is no third backward pass: the one of L(x), which is needed for the parameters anyway, also
delivers dL/dx. All directions ignore the scale of the loss, so the factor of a `GradScaler` need not be removed. Where
it makes gradients overflow, the values that are not finite do not move the image, and the scaler skips the step.

Batch normalisation mixes the statistics of clean and perturbed images; instance normalisation does not. Dropout differs
between the passes, which "vat" takes for a difference of the images.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.nn import functional

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

Outputs = Tensor | list[Tensor]

PROBE = 1e-2
"""Root mean square of the step of the power iteration: xi of Miyato et al., times sqrt(N) as epsilon."""

MAX_GRADIENT_NORM = 12
"""nnU-Net's limit, here for the gradient of both terms together."""


def direction(gradient: Tensor, n_image_channels: int, kind: Literal["fgsm", "l2", "vat"]) -> Tensor:
    """The perturbation of size 1 for a gradient, whatever the gradient's scale.

    Args:
        gradient: (B, C, *spatial); values that are not finite count as 0.
        n_image_channels: the first channels are the image, the others (such as masks) must not change.
        kind: "fgsm" for the signs; else each sample is divided by its root mean square over the image channels.

    Returns:
        Shape of `gradient`, 0 for samples with gradient 0.
    """
    gradient = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
    gradient[:, n_image_channels:] = 0
    if kind == "fgsm":
        return gradient.sign()
    axes = tuple(range(1, gradient.ndim))
    smallest = torch.finfo(gradient.dtype).tiny
    gradient = gradient / gradient.abs().amax(axes, keepdim=True).clamp(min=smallest)  # squares stay within range
    n_values = gradient[0, :n_image_channels].numel()
    mean_square = gradient.square().sum(axes, keepdim=True) / n_values
    return gradient / mean_square.sqrt().clamp(min=smallest)


class KLDivergence(nn.Module):
    """Mean over voxels of KL(p || q), from the logits of both; no gradient reaches p.

    Args:
        regions: independent channels (sigmoid; the mean over channels is taken) instead of a softmax.
    """

    def __init__(self, regions: bool):
        super().__init__()
        self.regions = regions

    def forward(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Compute the divergence of q from p.

        Args:
            logits: of q, (B, C, *spatial); half precision is computed in float32.
            reference: logits of p, the same shape.

        Returns:
            Scalar, at least 0.

        Raises:
            ValueError: a single channel has no softmax.
        """
        if not self.regions and logits.shape[1] < 2:
            raise ValueError("virtual adversarial training needs class probabilities; use the option fgsm or l2")
        logits, reference = logits.float(), reference.detach().float()
        if self.regions:
            p, log_p, log_not_p = (
                reference.sigmoid(),
                functional.logsigmoid(reference),
                functional.logsigmoid(-reference),
            )
            return (
                p * (log_p - functional.logsigmoid(logits)) + (1 - p) * (log_not_p - functional.logsigmoid(-logits))
            ).mean()
        log_p = reference.log_softmax(1)
        return (log_p.exp() * (log_p - logits.log_softmax(1))).sum(1).mean()


def divergence_like(loss: nn.Module, regions: bool) -> nn.Module:
    """The divergence for the outputs that `loss` takes: with deep supervision all of them, weighted as in `loss`.

    So every output that has a part in the loss has one in the divergence, which uncompiled DDP insists on.
    """
    divergence = KLDivergence(regions)
    return (
        DeepSupervisionWrapper(divergence, loss.weight_factors)
        if isinstance(loss, DeepSupervisionWrapper)
        else divergence
    )


def supervised_gradients(
    loss_of: Callable[[Tensor], Tensor],
    data: Tensor,
    kind: Literal["fgsm", "l2"],
    epsilon: float,
    n_image_channels: int,
    *,
    compiled: bool = False,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    no_sync: Callable[[], AbstractContextManager] = nullcontext,
) -> Tensor:
    """Adds the gradients of L(x) + L(x + r) to the parameters, in two forward and two backward passes.

    Args:
        loss_of: images to the scalar L, including the forward pass.
        data: images (B, C, *spatial).
        kind: see the module.
        epsilon: size of r.
        n_image_channels: see `direction`.
        compiled: let all passes claim a gradient of their images, as torch.compile makes a graph for each kind.
        scale: factor against underflow in half precision.
        no_sync: DDP decides in the forward pass whether the backward pass will gather gradients. It does so once, in
            the last pass, so the forward and backward passes before run inside this context.

    Returns:
        L(x), detached and without the factor.
    """
    data = data.detach().requires_grad_()
    with no_sync():
        loss = loss_of(data)
        scale(loss).backward()
    moved = data.detach() + epsilon * direction(data.grad, n_image_channels, kind)
    scale(loss_of(moved.requires_grad_(compiled))).backward()
    return loss.detach()


def virtual_gradients(
    network: Callable[[Tensor], Outputs],
    loss_of: Callable[[Outputs], Tensor],
    divergence: Callable[[Outputs, Outputs], Tensor],
    data: Tensor,
    epsilon: float,
    n_image_channels: int,
    *,
    compiled: bool = False,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    no_sync: Callable[[], AbstractContextManager] = nullcontext,
) -> Tensor:
    """Adds the gradients of L(x) + KL(p(x) || p(x + r)) to the parameters, in three forward and three backward passes.

    Args:
        network: images to logits, or to a list of logits.
        loss_of: logits to the scalar L.
        divergence: of the logits from the reference logits, see `divergence_like`.
        data, epsilon, n_image_channels, compiled, scale, no_sync: see `supervised_gradients`.

    Returns:
        L(x), detached and without the factor.
    """
    data = data.detach().requires_grad_(compiled)
    with no_sync():
        outputs = network(data)
        loss = loss_of(outputs)
        scale(loss).backward()
        reference = [o.detach() for o in outputs] if isinstance(outputs, list | tuple) else outputs.detach()
        probe = data.detach() + PROBE * direction(torch.randn_like(data), n_image_channels, "l2")
        probe.requires_grad_()
        (gradient,) = torch.autograd.grad(scale(divergence(network(probe), reference)), probe)
    moved = data.detach() + epsilon * direction(gradient, n_image_channels, "l2")
    scale(divergence(network(moved.requires_grad_(compiled)), reference)).backward()
    return loss.detach()


def adversarial_train_step(
    trainer: "nnUNetTrainer", kind: Literal["fgsm", "l2", "vat"], epsilon: float, batch: dict
) -> dict:
    """nnU-Net's training step with the adversarial term; one clipping and one optimiser step for the sum.

    Args:
        trainer: an initialised trainer.
        kind: see the module.
        epsilon: size of r.
        batch: what nnU-Net's loader delivers.

    Returns:
        The loss of the clean images alone, which compares with the validation loss and with epochs without the term.
    """
    data = batch["data"].to(trainer.device, non_blocking=True)
    target = batch["target"]
    if isinstance(target, list):
        target = [t.to(trainer.device, non_blocking=True) for t in target]
    else:
        target = target.to(trainer.device, non_blocking=True)
    scaler = trainer.grad_scaler
    passes = {
        "compiled": isinstance(trainer.network.module if trainer.is_ddp else trainer.network, OptimizedModule),
        "scale": scaler.scale if scaler is not None else lambda loss: loss,
        "no_sync": trainer.network.no_sync if trainer.is_ddp else nullcontext,
    }
    n_image_channels = len(trainer.dataset_json.get("channel_names") or trainer.dataset_json["modality"])

    def autocast() -> AbstractContextManager:
        return torch.autocast("cuda") if trainer.device.type == "cuda" else nullcontext()

    def network(images: Tensor) -> Outputs:
        with autocast():
            return trainer.network(images)

    def loss_of(outputs: Outputs) -> Tensor:
        with autocast():
            return trainer.loss(outputs, target)

    trainer.optimizer.zero_grad(set_to_none=True)
    if kind == "vat":
        divergence = divergence_like(trainer.loss, trainer.label_manager.has_regions)
        loss = virtual_gradients(network, loss_of, divergence, data, epsilon, n_image_channels, **passes)
    else:
        loss = supervised_gradients(
            lambda images: loss_of(network(images)), data, kind, epsilon, n_image_channels, **passes
        )
    if scaler is not None:
        scaler.unscale_(trainer.optimizer)
    nn.utils.clip_grad_norm_(trainer.network.parameters(), MAX_GRADIENT_NORM)
    if scaler is not None:
        scaler.step(trainer.optimizer)
        scaler.update()
    else:
        trainer.optimizer.step()
    return {"loss": loss.cpu().numpy()}
