"""Class weights and weights of label changes: against brute force, at borders, beside ignored voxels."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nnunet_spine.losses import LossContext, make_loss
from nnunet_spine.losses.neighbours import label_changes


def brute_force(labels: np.ndarray, ignore_label: int | None = None) -> np.ndarray:
    """Changes of one label map, voxel by voxel."""
    changes = np.zeros(labels.shape, bool)
    for index in itertools.product(*map(range, labels.shape)):
        for axis in range(labels.ndim):
            previous = tuple(n - (a == axis) for a, n in enumerate(index))
            pair = {labels[index], labels[previous]} if index[axis] else set()
            changes[index] |= len(pair) == 2 and ignore_label not in pair
    return changes


@pytest.mark.parametrize("shape", [(5, 4, 6), (7, 5), (1, 4, 1)], ids=str)
@pytest.mark.parametrize("ignore_label", [None, 2])
def test_changes_are_those_found_voxel_by_voxel(shape, ignore_label):
    labels = np.random.default_rng(0).integers(0, 3, (2, *shape))
    expected = np.stack([brute_force(sample, ignore_label) for sample in labels])
    target = torch.from_numpy(labels)[:, None]
    mask = None if ignore_label is None else target != ignore_label
    np.testing.assert_array_equal(label_changes(target, mask)[:, 0], expected)


def test_nothing_wraps_around():
    target = torch.tensor([1, 1, 0, 0]).view(1, 1, 4, 1)  # a roll would compare the first voxel with the last
    assert label_changes(target).flatten().tolist() == [False, False, True, False]
    assert not label_changes(torch.full((1, 1, 3, 3, 3), 4)).any()


def test_each_region_has_its_own_changes():
    inner, outer = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 1, 1])
    target = torch.stack([inner, outer]).view(1, 2, 4, 1)
    assert label_changes(target).view(2, 4).tolist() == [[False, True, False, True], [False] * 4]


def test_class_weight_is_that_of_the_label():
    logits = torch.tensor([[2.0, 0.0, 0.0]]).T.expand(3, 4)[None, :, :, None]  # (1, 3, 4, 1)
    target = torch.tensor([0, 0, 1, 2]).view(1, 1, 4, 1)
    minus_log_p = -F.log_softmax(torch.tensor([2.0, 0, 0]), 0)
    weights, edges = [0.5, 2.0, 4.0], [0.95, 0.95, 2.95, 2.95]
    labels = target.flatten().tolist()
    total = sum(e * weights[y] * minus_log_p[y].item() for e, y in zip(edges, labels, strict=True))
    loss = make_loss("WeightedEdgeNLL", class_weights=weights)
    assert loss(logits, target).item() == pytest.approx(total / sum(edges))
    assert "class_weights=(0.5, 2.0, 4.0)" in str(loss)


def test_class_weight_of_a_region_is_that_of_its_channel():
    logits = torch.zeros(1, 2, 3, 3)
    target = torch.zeros(1, 2, 3, 3)
    loss = make_loss("WeightedEdgeNLL", LossContext(True), class_weights=[1.0, 3.0])
    assert loss(logits, target).item() == pytest.approx(2 * math.log(2))


def test_a_single_voxel_counts_fully():
    logits, target = torch.zeros(1, 2, 3, 3), torch.full((1, 1, 3, 3), 2)
    target[0, 0, 1, 1] = 1
    assert make_loss("WeightedEdgeNLL", LossContext(False, 2))(logits, target).item() == pytest.approx(math.log(2))
