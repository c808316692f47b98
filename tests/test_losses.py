"""All losses: hand-computed values, nnU-Net's own losses as reference, and a contract over the public list."""

import inspect
import math
import subprocess
import sys

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, get_tp_fp_fn_tn

from nnunet_spine.losses import LOSS_NAMES, LossContext, loss_options, make_loss
from nnunet_spine.losses.counts import SoftCounts, label_map_counts, pool_batch, region_counts
from nnunet_spine.losses.terms.focal_tversky import focal_tversky_loss

CHANNELS = 3
IGNORE = CHANNELS
SMALL = 4e-5  # what a perfect prediction may cost: focal Tversky stops at 1e-6 ** 0.75 = 3.2e-5

every_name = pytest.mark.parametrize("name", LOSS_NAMES)
# BCE is another name of CE, which needs no second run of the contract
every_loss = pytest.mark.parametrize("name", [name for name in LOSS_NAMES if not name.endswith("BCE")])
both_heads = pytest.mark.parametrize("regions", [False, True], ids=["softmax", "regions"])
both_pools = pytest.mark.parametrize("batch_dice", [False, True], ids=["per_sample", "batch_dice"])


def example(
    regions: bool, shape: tuple[int, ...] = (2, 4, 3, 2), ignore: torch.Tensor | None = None, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random float64 logits (b, 3, *spatial) and the target as nnU-Net delivers it; `ignore` marks ignored voxels."""
    generator = torch.Generator().manual_seed(seed)
    b, *spatial = shape
    logits = torch.randn((b, CHANNELS, *spatial), generator=generator, dtype=torch.float64)
    if regions:
        target = torch.rand((b, CHANNELS, *spatial), generator=generator) > 0.6
        return logits, target if ignore is None else torch.cat([target, ignore], 1)
    target = torch.randint(0, CHANNELS, (b, 1, *spatial), generator=generator, dtype=torch.int16)
    return logits, target if ignore is None else torch.where(ignore, IGNORE, target)


def perfect(target: torch.Tensor, regions: bool, margin: float) -> torch.Tensor:
    """Logits that are +-margin in favour of the target."""
    one_hot = target if regions else target == torch.arange(CHANNELS).view(1, -1, *[1] * (target.ndim - 2))
    return (2.0 * one_hot - 1) * margin


def from_probability(p: list[list[float]], regions: bool) -> torch.Tensor:
    """Float64 logits (b, 1 or 2, n, 1) whose foreground probabilities are p."""
    p = torch.tensor(p, dtype=torch.float64)[:, None, :, None]
    return p.logit() if regions else torch.cat([1 - p, p], 1).log()


# Sample A: TP = 0.9 + 0.6 = 1.5, FP = 0.2 + 0.1 = 0.3, FN = 0.1 + 0.4 = 0.5. Sample B: TP = 0.5, FP = 1.5, FN = 0.5.
P_A, G_A = [0.9, 0.6, 0.2, 0.1], [1, 1, 0, 0]
P_B, G_B = [0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]
CROSS_ENTROPY_A = -(math.log(0.9) + math.log(0.6) + math.log(0.8) + math.log(0.9)) / 4
SQUARED_DICE_A = 1 - 3 / (0.81 + 0.36 + 0.04 + 0.01 + 2)  # 2 TP = 3, sum of p², two voxels of foreground
DICE_A, DICE_B, DICE_AB = 0.8 / 3.8, 2 / 3, 2.8 / 6.8  # (FP + FN) / (2 TP + FP + FN)
EDGE_CROSS_ENTROPY_A = CROSS_ENTROPY_A - 0.1 * math.log(0.6) / 4  # the second voxel is the boundary, weight 1.1
TVERSKY_A = (0.7 * 0.5 + 0.3 * 0.3) / (1.5 + 0.7 * 0.5 + 0.3 * 0.3)  # 0.44 / 1.94
# Weights 0.95, 0.95, 2.95, 0.95: the third voxel's label differs from the previous one's.
WEIGHTED_EDGE_NLL_A = (CROSS_ENTROPY_A * 4 * 0.95 - 2 * math.log(0.8)) / (4 * 0.95 + 2)
BY_HAND = {
    "CE": CROSS_ENTROPY_A,
    "BCE": CROSS_ENTROPY_A,
    "EdgeCE": EDGE_CROSS_ENTROPY_A,
    "BootstrappedCE": -math.log(0.6),  # one voxel in ten, here of four
    "DiceBootstrappedCE": DICE_A - math.log(0.6),
    "Dice": DICE_A,
    "SquaredDice": SQUARED_DICE_A,
    "DiceCE": DICE_A + CROSS_ENTROPY_A,
    "DiceBCE": DICE_A + CROSS_ENTROPY_A,
    "DiceEdgeCE": DICE_A + EDGE_CROSS_ENTROPY_A,
    "WeightedEdgeNLL": WEIGHTED_EDGE_NLL_A,
    "DiceWeightedEdgeNLL": DICE_A + WEIGHTED_EDGE_NLL_A,
    "Tversky": TVERSKY_A,
    "FocalTversky": TVERSKY_A**0.75,
    "DiceTversky": DICE_A + TVERSKY_A,
    "DiceFocalTversky": DICE_A + TVERSKY_A**0.75,
}


@every_name
@both_heads
def test_value_computed_by_hand(name, regions):
    loss = make_loss(name, LossContext(regions))
    target = torch.tensor([G_A])[:, None, :, None]
    assert loss(from_probability([P_A], regions), target).item() == pytest.approx(BY_HAND[name], abs=2e-5)


@both_heads
def test_batch_dice_adds_counts_before_the_ratio(regions):
    logits, target = from_probability([P_A, P_B], regions), torch.tensor([G_A, G_B])[:, None, :, None]
    per_sample, pooled = (make_loss("Dice", LossContext(regions, None, batch), smooth=0) for batch in (False, True))
    assert per_sample(logits, target).item() == pytest.approx((DICE_A + DICE_B) / 2)
    assert pooled(logits, target).item() == pytest.approx(DICE_AB)


@both_heads
def test_options_enter_the_formula(regions):
    logits, target = from_probability([P_A], regions), torch.tensor([G_A])[:, None, :, None]

    def value(name, **options):
        return make_loss(name, LossContext(regions), **options)(logits, target).item()

    assert value("Dice", smooth=1) == pytest.approx(0.8 / 4.8)
    assert value("Tversky", alpha=1, beta=0, smooth=0) == pytest.approx(0.5 / 2)  # alpha weighs the false negatives
    assert value("Tversky", alpha=0, beta=1, smooth=0) == pytest.approx(0.3 / 1.8)
    assert value("Tversky", smooth=1) == pytest.approx(0.44 / 2.94)
    assert value("FocalTversky", alpha=1, beta=0, smooth=0, gamma=2) == pytest.approx(0.5)  # (1/4) ** (1/2)
    assert value("DiceFocalTversky", alpha=1, beta=0, smooth=0, gamma=2) == pytest.approx(DICE_A + 0.5)
    assert value("EdgeCE", edge_weight=3) == pytest.approx(CROSS_ENTROPY_A - 2 * math.log(0.6) / 4)
    assert value("BootstrappedCE", hardest=0.5) == pytest.approx(-(math.log(0.6) + math.log(0.8)) / 2)
    assert value("BootstrappedCE", hardest=1) == pytest.approx(CROSS_ENTROPY_A)
    assert value("DiceEdgeCE", edge_weight=1, smooth=0) == pytest.approx(DICE_A + CROSS_ENTROPY_A)


def test_bootstrapping_takes_its_share_of_each_image_without_the_ignored_voxels():
    """Twenty voxels, of which half are ignored in the first image: one of ten, and two of twenty."""
    p = torch.linspace(0.05, 0.95, 20, dtype=torch.float64)
    logits = torch.stack([1 - p, p]).log().expand(2, 2, 20)[..., None]
    target = torch.ones(2, 1, 20, 1)
    target[0, :, :10] = 2
    loss = make_loss("BootstrappedCE", LossContext(False, 2))(logits, target)
    assert loss.item() == pytest.approx((-math.log(p[10]) - (math.log(p[0]) + math.log(p[1])) / 2) / 2)


@both_heads
@both_pools
def test_tversky_with_equal_halves_is_dice(regions, batch_dice):
    logits, target = example(regions)
    tversky = make_loss("Tversky", LossContext(regions, None, batch_dice), alpha=0.5, beta=0.5, smooth=0.5)
    dice = make_loss("Dice", LossContext(regions, None, batch_dice), smooth=1)
    assert tversky(logits, target).item() == pytest.approx(dice(logits, target).item(), abs=1e-12)


@pytest.mark.parametrize("ignored", [False, True])
@both_pools
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (3, 6, 5)], ids=["3d", "2d"])
def test_dice_ce_is_nnunet_default_loss_plus_one(ignored, batch_dice, shape):
    ignore = torch.rand(shape, generator=torch.Generator().manual_seed(1))[:, None] > 0.7 if ignored else None
    logits, target = (tensor.float() for tensor in example(False, shape, ignore))
    theirs = DC_and_CE_loss(
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        ignore_label=IGNORE if ignored else None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    assert_same_loss_and_gradient(
        make_loss("DiceCE", LossContext(False, IGNORE if ignored else None, batch_dice)), theirs, logits, target
    )


@pytest.mark.parametrize("ignored", [False, True])
@both_pools
def test_region_dice_ce_is_nnunet_default_loss_plus_one(ignored, batch_dice):
    ignore = torch.rand((2, 1, 4, 3, 2), generator=torch.Generator().manual_seed(1)) > 0.7 if ignored else None
    logits, target = example(True, ignore=ignore)
    theirs = DC_and_BCE_loss(
        {},
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": True, "ddp": False},
        # With an ignore label nnU-Net sums its cross entropy over the regions instead of averaging.
        weight_ce=1 / CHANNELS if ignored else 1,
        use_ignore_label=ignored,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    ours = make_loss("DiceBCE", LossContext(True, IGNORE if ignored else None, batch_dice))
    assert_same_loss_and_gradient(ours, theirs, logits.float(), target)


def assert_same_loss_and_gradient(ours, theirs, logits, target):
    results = []
    for loss, constant in ((ours, 0), (theirs, 1)):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, target) + constant
        value.backward()
        results.append((value, leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


@both_heads
@pytest.mark.parametrize("ignored", [False, True])
def test_counts_are_those_of_nnunet(regions, ignored):
    probabilities, target = example(regions)
    probabilities = probabilities.sigmoid() if regions else probabilities.softmax(1)
    mask = torch.rand((2, 1, 4, 3, 2), generator=torch.Generator().manual_seed(1)) > 0.4 if ignored else None
    tp, fp, fn, _ = get_tp_fp_fn_tn(probabilities, target, mask=mask)
    if regions:
        ours, theirs = region_counts(probabilities, target, mask), SoftCounts(tp, fp, fn)
    else:
        known = target if mask is None else torch.where(mask, target, 0)
        ours = label_map_counts(probabilities, known, mask)
        theirs = SoftCounts(tp[:, 1:], fp[:, 1:], fn[:, 1:])
    for our_count, their_count in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_count.float(), their_count)
    for our_count, their_count in zip(pool_batch(ours), theirs, strict=True):
        torch.testing.assert_close(our_count.float(), their_count.sum(0))


@every_loss
@both_heads
@both_pools
@pytest.mark.parametrize("ignored", [False, True])
def test_gradient_is_the_derivative(name, regions, batch_dice, ignored):
    shape = (2, 3, 2)
    ignore = (torch.arange(12).view(2, 1, 3, 2) % 5 == 0) if ignored else None
    logits, target = example(regions, shape, ignore)
    loss = make_loss(name, LossContext(regions, IGNORE if ignored else None, batch_dice))
    assert torch.autograd.gradcheck(lambda leaf: loss(leaf, target), logits.requires_grad_())


@every_loss
@both_heads
@both_pools
def test_ignoring_voxels_equals_cropping_them_away(name, regions, batch_dice):
    rows = torch.tensor([1, 2])  # neighbours, since a loss may compare neighbours
    ignore = torch.ones((2, 1, 4, 3, 2), dtype=torch.bool)
    ignore[:, :, rows] = False
    logits, target = example(regions, ignore=ignore)
    logits.requires_grad_()
    ignoring = make_loss(name, LossContext(regions, IGNORE, batch_dice))(logits, target)
    cropped_target = target[:, :CHANNELS, rows] if regions else target[:, :, rows]
    cropped = make_loss(name, LossContext(regions, None, batch_dice))(logits[:, :, rows], cropped_target)
    torch.testing.assert_close(ignoring, cropped)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ignoring, cropped)]
    torch.testing.assert_close(*gradients)
    assert (gradients[0].masked_select(ignore) == 0).all()


@every_loss
@both_heads
@both_pools
def test_nothing_left_to_learn_from_gives_a_constant(name, regions, batch_dice):
    logits, target = example(regions, ignore=torch.ones((2, 1, 4, 3, 2), dtype=torch.bool))
    logits.requires_grad_()
    loss = make_loss(name, LossContext(regions, IGNORE, batch_dice))(logits, target)
    loss.backward()
    assert 0 <= loss.item() < SMALL
    assert (logits.grad == 0).all()


@every_loss
@both_heads
@both_pools
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("margin", [15.0, 1000.0])
def test_perfect_prediction_costs_nothing_and_keeps_gradients_finite(name, regions, batch_dice, dtype, margin):
    _, target = example(regions)
    logits = perfect(target, regions, margin).to(dtype).requires_grad_()
    loss = make_loss(name, LossContext(regions, None, batch_dice))(logits, target)
    loss.backward()
    assert abs(loss.item()) < SMALL
    assert logits.grad.isfinite().all()


@every_loss
@both_heads
def test_worst_prediction_keeps_gradients_finite(name, regions):
    _, target = example(regions)
    logits = perfect(target, regions, -1000.0).requires_grad_()
    loss = make_loss(name, LossContext(regions, None, True))(logits, target)
    loss.backward()
    assert loss.item() > 0.5
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "absent", "only_predicted"),
    [("Dice", 0, 1), ("SquaredDice", 0, 1), ("Tversky", 0, 1), ("FocalTversky", 1e-6**0.75, 1)],
)
def test_class_absent_from_the_target(name, absent, only_predicted):
    loss = make_loss(name, LossContext(True))
    target = torch.zeros((1, 1, 4, 4))
    assert loss(torch.full((1, 1, 4, 4), -200.0), target).item() == pytest.approx(absent, abs=1e-9)
    assert loss(torch.full((1, 1, 4, 4), 20.0), target).item() == pytest.approx(only_predicted, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if "Dice" in name or "Tversky" in name])
def test_without_smoothing_an_absent_class_stays_finite(name):
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    loss = make_loss(name, LossContext(True), smooth=0)(logits, torch.zeros((1, 1, 4, 4)))
    loss.backward()
    assert loss.item() >= 1
    assert logits.grad.isfinite().all()


def test_focal_tversky_has_a_finite_slope_where_nothing_is_wrong():
    wrong = torch.zeros(1, requires_grad=True)
    loss = focal_tversky_loss(SoftCounts(torch.ones(1), wrong, torch.zeros(1)))
    loss.backward()
    assert loss.item() == pytest.approx(1e-6**0.75)
    assert wrong.grad.item() == 0


@every_loss
@both_heads
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(name, regions, dtype):
    logits, target = example(regions, (2, 32, 24, 16))
    loss = make_loss(name, LossContext(regions, None, True))
    half = logits.to(dtype)
    expected = loss(half.double(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(half.requires_grad_(), target)
    result.backward()
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(expected.item(), rel=1e-5)
    assert half.grad.dtype == dtype
    assert half.grad.isfinite().all()


@every_loss
@both_heads
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_dtype_of_the_target_does_not_matter(name, regions, dtype):
    ignore = torch.arange(48).view(2, 1, 4, 3, 2) % 5 == 0
    logits, target = example(regions, ignore=ignore)
    loss = make_loss(name, LossContext(regions, IGNORE))
    assert loss(logits, target.to(dtype)).item() == pytest.approx(loss(logits, target).item(), abs=1e-12)


@every_loss
@both_heads
def test_deep_supervision_wrapper_of_nnunet_fits(name, regions):
    scales = [example(regions, (2, n, n, n), seed=n) for n in (4, 2, 1)]
    loss = make_loss(name, LossContext(regions, None, True))
    wrapped = DeepSupervisionWrapper(loss, (0.6, 0.4, 0.0))(*zip(*scales, strict=True))
    assert wrapped.item() == pytest.approx(0.6 * loss(*scales[0]).item() + 0.4 * loss(*scales[1]).item())


def test_counts_do_not_saturate_at_the_precision_of_float32():
    voxels = 2**24 + 2
    target = torch.ones((1, 1, 2, voxels // 2), dtype=torch.uint8)
    certain = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, voxels // 2)
    tp, fp, fn = label_map_counts(certain, target)
    assert (tp.item(), fp.item(), fn.item()) == (voxels, 0, 0)


@pytest.mark.parametrize(
    ("regions", "ignore_label", "channels", "shape", "message"),
    [
        (False, None, 3, (2, 3, 4, 4), r"\(2, 1, 4, 4\)"),
        (False, None, 3, (2, 1, 4, 5), r"\(2, 1, 4, 4\)"),
        (True, None, 3, (2, 1, 4, 4), r"\(2, 3, 4, 4\)"),
        (True, 3, 3, (2, 3, 4, 4), r"\(2, 4, 4, 4\)"),
        (False, None, 1, (2, 1, 4, 4), "regions=True"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(regions, ignore_label, channels, shape, message):
    with pytest.raises(ValueError, match=message):
        make_loss("DiceCE", LossContext(regions, ignore_label))(torch.zeros((2, channels, 4, 4)), torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("Dice", {"smooth": -1}),
        ("DiceCE", {"smooth": float("nan")}),
        ("Tversky", {"alpha": -0.1}),
        ("FocalTversky", {"gamma": 0}),
        ("DiceFocalTversky", {"beta": -0.1}),
        ("EdgeCE", {"edge_weight": -1}),
        ("DiceEdgeCE", {"edge_weight": float("nan")}),
        ("BootstrappedCE", {"hardest": 0}),
        ("DiceBootstrappedCE", {"hardest": 1.1}),
        ("WeightedEdgeNLL", {"class_weights": [1, 0, 1]}),
        ("DiceWeightedEdgeNLL", {"class_weights": [1, float("nan"), 1]}),
    ],
)
def test_options_out_of_range_are_refused(name, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        make_loss(name, LossContext(False, None, True), **option)


def test_names_suit_trainer_recipes_and_options_are_shown():
    assert all(name.isalnum() for name in LOSS_NAMES)
    assert "(0): CE()" in str(make_loss("CE"))
    shown = str(make_loss("DiceFocalTversky", LossContext(batch_dice=True)))
    for part in (
        "batch_dice=True, ddp=False",
        "(0): Dice(smooth=1e-05)",
        "FocalTversky(alpha=0.7, beta=0.3, gamma=1.33",
    ):
        assert part in shown


def test_an_option_goes_to_every_term_that_takes_it_and_none_is_lost():
    assert loss_options("DiceFocalTversky") == {"smooth", "alpha", "beta", "gamma"}
    assert [term.smooth for term in make_loss("DiceFocalTversky", smooth=2).terms] == [2, 2]
    with pytest.raises(ValueError, match=r"CE has no option smooth"):
        make_loss("CE", smooth=1)
    with pytest.raises(ValueError, match=r"no loss 'Dise'; there is .*Dice"):
        make_loss("Dise")


@every_loss
def test_options_are_those_of_the_constructors(name):
    terms = make_loss(name).terms
    assert loss_options(name) == {option for term in terms for option in inspect.signature(type(term)).parameters}


def test_a_term_is_one_file_and_the_names_need_no_torch(tmp_path):
    (tmp_path / "mean_p.py").write_text(
        "from nnunet_spine.losses.segmentation import Term\n"
        "class MeanP(Term):\n"
        "    def forward(self, batch):\n"
        "        return batch.logits.softmax(1)[:, 1:].mean()\n",
        encoding="utf-8",
    )
    program = f"""
import importlib, sys
import nnunet_spine.losses as losses
losses.terms.__path__.append({str(tmp_path)!r})
importlib.reload(losses)
assert {{"MeanP", "DiceMeanP"}} < set(losses.LOSS_NAMES), losses.LOSS_NAMES
assert losses.loss_options("DiceMeanP") == {{"smooth"}}
assert "torch" not in sys.modules
import torch
logits, target = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
value = losses.make_loss("DiceMeanP", smooth=0)(logits, target).item()
assert abs(value - (1 - 2 * 8 / (8 + 16) + 0.5)) < 1e-6, value
"""
    subprocess.run([sys.executable, "-c", program], check=True)
