"""The boundary of the foreground: cases drawn by hand and a voxel-by-voxel search; and its weight in the loss."""

import itertools
import math

import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

from nnunet_spine.losses import make_loss
from nnunet_spine.losses.neighbours import foreground_boundary
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.settings import Loss

IGNORE = 9


def label_map(rows: list[str]) -> torch.Tensor:
    """Drawing to label map (1, 1, rows, columns), '.' is background."""
    return torch.tensor([[int(c) if c != "." else 0 for c in row] for row in rows])[None, None]


def boundary(rows: list[str]) -> list[str]:
    """Drawing of the boundary; '9' is ignored."""
    target = label_map(rows)
    mask = target != IGNORE
    marked = foreground_boundary(torch.where(mask, target, 0), mask)
    return ["".join("x" if m else "." for m in row) for row in marked[0, 0]]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        pytest.param(
            [".....", ".111.", ".111.", ".111.", "....."],
            [".....", ".xxx.", ".x.x.", ".xxx.", "....."],
            id="a square, its middle is inside",
        ),
        pytest.param(["111", "111"], ["...", "..."], id="filled to the border: replicated, so no boundary"),
        pytest.param(["11..", "11..", "...."], [".x..", "xx..", "...."], id="at the corner of the patch"),
        pytest.param(["1..1", "1..1"], ["x..x", "x..x"], id="opposite borders"),
        pytest.param(["111..", ".....", "....."], ["xxx..", ".....", "....."], id="no wrap-around below"),
        pytest.param(["1122", "1122"], [".xx.", ".xx."], id="two labels that touch"),
        pytest.param(["1.", ".1"], ["x.", ".x"], id="single voxels"),
        pytest.param(["11.", "11.", "111"], [".x.", ".x.", "..x"], id="diagonal neighbours do not count"),
        pytest.param(["119..", "119.."], [".....", "....."], id="ignored neighbours make no edge"),
        pytest.param(["1192.", "1122."], ["...x.", ".xxx."], id="next to an ignored voxel other neighbours still do"),
        pytest.param(["999", "999"], ["...", "..."], id="everything ignored"),
        pytest.param(["...", "..."], ["...", "..."], id="no foreground"),
        pytest.param(["1"], ["."], id="a single voxel has no neighbour"),
    ],
)
def test_boundary_of_drawings(drawn, expected):
    assert boundary(drawn) == expected


@pytest.mark.parametrize("shape", [(2, 1, 5, 4, 6), (2, 1, 7, 6), (1, 1, 1, 5, 4)])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_boundary_equals_a_search_over_face_neighbours(shape, ignored, dtype):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, shape, generator=generator).to(dtype)
    mask = torch.rand(shape, generator=generator) > 0.2 if ignored else None
    counts = torch.ones(shape, dtype=torch.bool) if mask is None else mask
    target[~counts] = 0
    expected = torch.zeros(shape, dtype=torch.bool)
    for index in itertools.product(*map(range, shape)):
        for axis, step in itertools.product(range(2, len(shape)), (-1, 1)):
            neighbour = [*index]
            neighbour[axis] += step
            if 0 <= neighbour[axis] < shape[axis] and counts[index] and counts[tuple(neighbour)]:
                expected[index] |= bool(target[index] > 0 and target[index] != target[tuple(neighbour)])
    assert expected.any()
    assert torch.equal(foreground_boundary(target, mask), expected)


def test_each_region_has_its_own_boundary():
    target = torch.cat([label_map(["1111"]), label_map(["..11"])], 1)
    assert foreground_boundary(target).int().tolist() == [[[[0, 0, 0, 0]], [[0, 0, 1, 0]]]]


def test_only_the_foreground_side_weighs_more_and_the_sum_is_divided_by_voxels():
    target = label_map(["1112...."])
    p = torch.tensor([[0.5, 0.5, 0.6, 0.7, 0.8, 0.5, 0.5, 0.5]])  # probability of the right label
    logits = torch.cat([torch.where(target == c, p, (1 - p) / 2) for c in range(3)], 1).log()
    weights = [1, 1, 1.5, 1.5, 1, 1, 1, 1]
    expected = -sum(w * math.log(x) for w, x in zip(weights, p[0].tolist(), strict=True)) / 8
    assert make_loss("EdgeCE", edge_weight=1.5)(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_weight_one_is_plain_cross_entropy():
    logits = torch.randn(2, 3, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, (2, 1, 5, 4, 3), generator=torch.Generator().manual_seed(1))
    assert make_loss("EdgeCE", edge_weight=1)(logits, target) == make_loss("CE")(logits, target)


def test_deep_supervision_finds_the_boundary_at_each_scale():
    fine, coarse = label_map(["1111....", "1111...."]), label_map(["11.."])
    logits = [torch.zeros(1, 2, *t.shape[2:]) for t in (fine, coarse)]  # -log p = log 2 everywhere
    loss = DeepSupervisionWrapper(make_loss("EdgeCE", edge_weight=3), (1.0, 0.5))(logits, [fine, coarse])
    expected = (16 + 2 * 2) / 16 + 0.5 * (4 + 2 * 1) / 4  # two boundary voxels of 16, one of 4
    assert loss.item() == pytest.approx(expected * math.log(2))


def test_the_weight_is_part_of_the_name():
    for name, loss, weight in (("EdgeCE1p5", "EdgeCE", 1.5), ("DiceEdgeCE2", "DiceEdgeCE", 2.0)):
        trainer = get_trainer(f"SpineTrainer_{name}")
        assert trainer.settings.loss == Loss(loss, {"edge_weight": weight})
