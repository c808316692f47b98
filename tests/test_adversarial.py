"""The adversarial term: perturbations with known answers, number of passes, mixed precision, one compiled graph."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

from nnunet_spine.losses import make_loss
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.adversarial import (
    KLDivergence,
    adversarial_train_step,
    direction,
    divergence_like,
    supervised_gradients,
    virtual_gradients,
)

KINDS = ("fgsm", "l2", "vat")
CPU = torch.device("cpu")


class TestDirection:
    gradient = torch.tensor([[[[3.0, -4.0]]], [[[0.0, -1e-20]]], [[[0.0, 0.0]]]])  # (3, 1, 1, 2)

    def test_signs(self):
        assert direction(self.gradient, 1, "fgsm").flatten().tolist() == [1, -1, 0, -1, 0, 0]

    def test_each_sample_has_root_mean_square_one(self):
        root = 2**0.5
        expected = torch.tensor([3 / 5 * root, -4 / 5 * root, 0, -root, 0, 0])
        torch.testing.assert_close(direction(self.gradient, 1, "l2").flatten(), expected)

    @pytest.mark.parametrize("kind", ["fgsm", "l2"])
    @pytest.mark.parametrize("scale", [2.0**16, 2.0**-24])
    def test_does_not_depend_on_the_scale_of_the_loss(self, kind, scale):
        gradient = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(
            direction(gradient, 1, kind), direction(gradient * scale, 1, kind), rtol=1e-6, atol=1e-6
        )

    @pytest.mark.parametrize("kind", ["fgsm", "l2"])
    def test_values_that_are_not_finite_move_nothing(self, kind):
        gradient = torch.tensor([[[[torch.inf, 2.0, torch.nan, -torch.inf]]]])
        expected = {"fgsm": [0, 1, 0, 0], "l2": [0, 2, 0, 0]}[kind]  # four values: root mean square 2 / sqrt(4)
        assert direction(gradient, 1, kind).flatten().tolist() == expected

    @pytest.mark.parametrize("kind", ["fgsm", "l2"])
    def test_channels_beside_the_image_stay(self, kind):
        moved = direction(torch.ones(2, 3, 4, 4), 1, kind)
        assert (moved[:, :1] == 1).all()
        assert (moved[:, 1:] == 0).all()


class TestDivergence:
    def test_softmax_by_hand(self):
        p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
        logits, reference = (x.log().view(1, 2, 1, 1).expand(2, 2, 3, 3) for x in (q, p))
        assert KLDivergence(False)(logits, reference).item() == pytest.approx(expected, rel=1e-5)

    def test_regions_by_hand(self):
        p, q = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.25)
        expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
        assert KLDivergence(True)(q.logit(), p.logit()).item() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("regions", [False, True])
    def test_never_negative_zero_for_equals_and_finite_for_certainty(self, regions):
        divergence = KLDivergence(regions)
        generator = torch.Generator().manual_seed(0)
        for size in (1, 10, 1000):
            a, b = (size * torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
            a.requires_grad_()
            value = divergence(a, b)
            value.backward()
            assert 0 < value.item() < torch.inf
            assert a.grad.isfinite().all()
            assert divergence(a, a).item() == pytest.approx(0, abs=1e-6)

    def test_the_reference_gets_no_gradient_and_half_precision_is_computed_in_float32(self):
        a, b = (torch.randn(1, 2, 3, 3, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
        value = KLDivergence(False)(a, b)
        value.backward()
        assert value.dtype == torch.float32
        assert b.grad is None

    def test_deep_supervision_weighs_all_outputs_as_the_loss_does(self):
        loss = DeepSupervisionWrapper(nn.MSELoss(), (0.75, 0.25, 0.0))
        outputs, reference = ([torch.randn(1, 2, n, n) for n in (4, 2, 1)] for _ in range(2))
        single = [KLDivergence(False)(a, b) for a, b in zip(outputs, reference, strict=True)]
        torch.testing.assert_close(
            divergence_like(loss, False)(outputs, reference), 0.75 * single[0] + 0.25 * single[1]
        )

    def test_one_channel_without_sigmoid_is_refused(self):
        with pytest.raises(ValueError, match="fgsm or l2"):
            KLDivergence(False)(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


class TestSupervised:
    def test_linear_model_with_a_known_answer(self):
        """L = w.x per sample, summed: dL/dx = w, so r = eps sign(w), and the gradient is 2x + eps sign(w)."""
        weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
        x = torch.tensor([[3.0, 1.0, -1.0], [0.5, 0.0, 2.0]])
        seen = []

        def loss_of(images):
            seen.append(images.detach().clone())
            return (images * weight).sum()

        loss = supervised_gradients(loss_of, x, "fgsm", 0.1, 3)
        torch.testing.assert_close(seen[0], x)
        torch.testing.assert_close(seen[1], x + 0.1 * torch.tensor([1.0, -1.0, 1.0]))
        torch.testing.assert_close(weight.grad, (seen[0] + seen[1]).sum(0))
        torch.testing.assert_close(loss, (x * weight.detach()).sum())
        assert not loss.requires_grad
        assert x.grad is None  # the batch of the loader is left alone
        assert not x.requires_grad

    def test_l2_moves_along_the_gradient(self):
        weight = torch.tensor([3.0, -4.0], requires_grad=True)
        seen = []

        def loss_of(images):
            seen.append(images.detach().clone())
            return (images * weight).sum()

        supervised_gradients(loss_of, torch.zeros(1, 2), "l2", 0.1, 2)
        torch.testing.assert_close(seen[1], 0.1 * 2**0.5 * torch.tensor([[0.6, -0.8]]))

    @pytest.mark.parametrize("kind", ["fgsm", "l2"])
    def test_the_loss_grows(self, kind):
        network, images, target = small_network(), torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 1, 8, 8))
        losses = []

        def loss_of(x):
            losses.append(make_loss("CE")(network(x), target))
            return losses[-1]

        supervised_gradients(loss_of, images, kind, 0.05, 1)
        assert losses[1] > losses[0]

    def test_a_scaled_loss_gives_scaled_gradients_of_the_same_perturbation(self):
        gradients = []
        for factor in (1, 2**10):
            network = small_network()
            supervised_gradients(loss_on_fixed_batch(network), IMAGES, "fgsm", 0.05, 1, scale=lambda x, f=factor: x * f)
            gradients.append([p.grad / factor for p in network.parameters()])
        torch.testing.assert_close(*gradients)


class TestVirtual:
    def test_finds_the_direction_that_changes_a_linear_softmax_most(self):
        """Two classes with logits +-w.x/2: KL depends on w.r only, so r is along w, whatever the random start."""
        torch.manual_seed(0)
        w = torch.tensor([3.0, -4.0])
        seen = []

        def network(images):  # (B, 2) -> (B, 2 classes, 1)
            seen.append(images.detach().clone())
            logit = (images * w).sum(1)
            return torch.stack((-logit / 2, logit / 2), 1)[..., None]

        w.requires_grad_()
        images = torch.zeros(1, 2)
        virtual_gradients(network, lambda o: o.sum() * 0, KLDivergence(False), images, 0.1, 2)
        torch.testing.assert_close(seen[1].square().mean().sqrt().item(), 1e-2)
        moved = seen[2][0] / (0.1 * 2**0.5)
        torch.testing.assert_close(moved.abs(), torch.tensor([0.6, 0.8]), rtol=1e-3, atol=1e-3)
        assert moved[0] * moved[1] < 0
        assert w.grad.abs().sum() > 0

    def test_labels_do_not_enter_the_divergence(self):
        network = small_network()
        torch.manual_seed(1)
        virtual_gradients(network, lambda o: o.sum() * 0, KLDivergence(False), IMAGES, 0.5, 1)
        assert any(p.grad.any() for p in network.parameters())

    def test_the_power_iteration_leaves_no_gradient(self):
        """With epsilon 0 the divergence is at its minimum: what remains is the gradient of the loss alone."""
        network, plain = small_network(), small_network()
        virtual_gradients(network, lambda o: make_loss("CE")(o, TARGET), KLDivergence(False), IMAGES, 0.0, 1)
        loss_on_fixed_batch(plain)(IMAGES).backward()
        for a, b in zip(network.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1))


IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(0, 2, (3, 1, 8, 8), generator=torch.Generator().manual_seed(1))


def loss_on_fixed_batch(network: nn.Module):
    return lambda images: make_loss("CE")(network(images), TARGET)


class Scaler:
    """A GradScaler of fixed factor for the CPU that notes the order of calls and skips steps with overflow."""

    def __init__(self, factor: float):
        self.factor, self.calls, self.finite = factor, [], True

    def scale(self, loss):
        self.calls.append("scale")
        return loss * self.factor

    def unscale_(self, optimizer):
        self.calls.append("unscale")
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad /= self.factor
                self.finite &= bool(p.grad.isfinite().all())

    def step(self, optimizer):
        self.calls.append("step")
        if self.finite:
            optimizer.step()

    def update(self):
        self.calls.append("update")


def tiny_trainer(scaler=None, factor: float = 1.0):
    """What the step needs of a trainer, around a small network that counts its passes."""
    network = small_network()
    passes = {"forward": 0, "backward": 0}
    network.register_forward_hook(lambda *_: passes.update(forward=passes["forward"] + 1))
    network[-1].register_full_backward_hook(lambda *_: passes.update(backward=passes["backward"] + 1))
    loss = make_loss("CE")
    trainer = SimpleNamespace(
        network=network,
        loss=lambda output, target: factor * loss(output, target),
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        grad_scaler=scaler,
        device=CPU,
        is_ddp=False,
        dataset_json={"channel_names": {"0": "CT"}},
        label_manager=SimpleNamespace(has_regions=False),
    )
    return trainer, passes


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


BATCH = {"data": IMAGES, "target": TARGET}


class TestStep:
    @pytest.mark.parametrize(("kind", "n_passes"), [("fgsm", 2), ("l2", 2), ("vat", 3)])
    def test_number_of_passes(self, kind, n_passes):
        trainer, passes = tiny_trainer()
        result = adversarial_train_step(trainer, kind, 0.05, BATCH)
        assert passes == {"forward": n_passes, "backward": n_passes}
        expected = make_loss("CE")(small_network()(IMAGES), TARGET)
        assert result["loss"] == pytest.approx(expected.item(), rel=1e-6)  # of the clean images

    @pytest.mark.parametrize("kind", KINDS)
    def test_scaling_changes_nothing(self, kind):
        results = []
        for scaler in (None, Scaler(2.0**12)):
            trainer, _ = tiny_trainer(scaler)
            torch.manual_seed(5)  # the random start of vat
            adversarial_train_step(trainer, kind, 0.05, BATCH)
            results.append(weights(trainer.network))
        torch.testing.assert_close(*results)
        assert scaler.calls == ["scale"] * (3 if kind == "vat" else 2) + ["unscale", "step", "update"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_overflow_skips_the_step_and_the_images_stay_finite(self, kind):
        scaler = Scaler(float("inf"))
        trainer, _ = tiny_trainer(scaler)
        seen = []
        trainer.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].isfinite().all()))
        before = weights(trainer.network)
        adversarial_train_step(trainer, kind, 0.05, BATCH)
        assert all(seen)
        torch.testing.assert_close(weights(trainer.network), before, rtol=0, atol=0)
        assert scaler.calls[-1] == "update"

    @pytest.mark.parametrize("scaler", [None, Scaler(2.0**10)], ids=["plain", "scaled"])
    def test_the_gradient_of_both_terms_is_clipped_once_after_unscaling(self, scaler):
        trainer, _ = tiny_trainer(scaler, factor=1e6)
        before = weights(trainer.network)
        adversarial_train_step(trainer, "fgsm", 0.05, BATCH)
        assert (weights(trainer.network) - before).norm().item() == pytest.approx(12, rel=1e-4)  # SGD with rate 1

    def test_one_compiled_graph_serves_all_passes(self):
        trainer, _ = tiny_trainer()
        graphs = []
        torch.compiler.reset()

        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward

        trainer.network = torch.compile(small_network(), backend=backend)
        for kind in KINDS:
            adversarial_train_step(trainer, kind, 0.05, BATCH)
        assert len(graphs) == 1

    def test_deep_supervision(self):
        for kind in KINDS:
            trainer, _ = tiny_trainer()
            inner = trainer.network
            trainer.network = lambda x, net=inner: [net(x), net(x)[..., ::2, ::2]]
            trainer.network.parameters = inner.parameters
            trainer.loss = DeepSupervisionWrapper(make_loss("CE"), (2 / 3, 1 / 3))
            before = weights(inner)
            adversarial_train_step(trainer, kind, 0.05, {"data": IMAGES, "target": [TARGET, TARGET[..., ::2, ::2]]})
            assert (weights(inner) != before).any()


def test_options_of_every_trainer():
    trainer = get_trainer("ConvLSTMTrainer_vat_eps0p005")
    assert (trainer.settings.adversarial.kind, trainer.settings.adversarial.epsilon) == ("vat", 0.005)
    assert get_trainer("SpineTrainer").settings.adversarial.kind is None
