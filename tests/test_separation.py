"""Weights of the gaps between vertebrae: against distances of whole volumes, in the loss, and in training."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from nnunet_spine.losses import LossContext, make_loss
from nnunet_spine.training.separation import SeparationTransform, separation_map


def blocks(shape: tuple[int, ...]) -> np.ndarray:
    """Three labels (1, 2, 5) along the first axis, two of which touch."""
    labels = np.zeros(shape, np.uint8)
    for label, start, stop in ((1, 2, 8), (2, 11, 16), (5, 16, 20)):
        labels[(slice(start, stop), *[slice(3, 9)] * (len(shape) - 1))] = label
    return labels


@pytest.mark.parametrize("shape", [(40, 12, 14), (44, 13)], ids=str)
@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_map_is_that_of_distances_in_the_whole_volume(shape, sigma):
    labels = blocks(shape)
    distances = np.sort([distance_transform_edt(labels != label) for label in (1, 2, 5)], axis=0)
    expected = np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    np.testing.assert_allclose(separation_map(labels, sigma), expected, atol=np.exp(-8))


def test_highest_where_vertebrae_touch_and_none_without_a_neighbour():
    found = separation_map(blocks((40, 12, 14)))
    assert found.max() == found[15, 5, 5] == found[16, 5, 5] == pytest.approx(np.exp(-1 / 50))
    assert found[39, 5, 5] < 1e-3
    assert separation_map(np.zeros((5, 6, 7), np.uint8)).max() == 0
    assert separation_map(np.ones((5, 6, 7), np.uint8)).max() == 0


def test_transform_appends_the_map_and_ignored_voxels_are_no_vertebra():
    segmentation = torch.from_numpy(blocks((40, 12, 14)))[None].short()
    image = torch.zeros(1, 40, 12, 14)
    result = SeparationTransform()(image=image, segmentation=segmentation)
    out = result["segmentation"]
    assert result["image"] is image
    assert out.shape == (2, 40, 12, 14)
    assert out.dtype == torch.float32
    assert torch.equal(out[:1], segmentation.float())
    np.testing.assert_array_equal(out[1], separation_map(segmentation[0].numpy()))
    ignoring = SeparationTransform(ignore_label=5)(image=image, segmentation=segmentation)
    assert ignoring["segmentation"][1, 16, 5, 5] < out[1, 16, 5, 5]


@pytest.mark.parametrize("name", ["WeightedEdgeNLL", "DiceWeightedEdgeNLL"])
@pytest.mark.parametrize("ignore_label", [None, 2])
def test_weights_of_the_gaps_in_the_loss(name, ignore_label):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 5, 4, generator=generator)
    target = torch.randint(0, 3, (2, 1, 6, 5, 4), generator=generator)
    separation = torch.rand(target.shape, generator=generator)
    plain, weighted = (
        make_loss(name, LossContext(False, ignore_label), separation_weight=weight) for weight in (0, 10)
    )
    with_map = torch.cat([target.float(), separation], 1)
    assert weighted(logits, target) == plain(logits, target)
    assert weighted(logits, torch.cat([target, torch.zeros_like(target)], 1)) == pytest.approx(plain(logits, target))
    assert weighted(logits, with_map) != pytest.approx(plain(logits, target).item(), rel=1e-4)
    if name == "WeightedEdgeNLL" and ignore_label is None:
        edges = torch.where(_changes(target), 2.95, 0.95) + 10 * separation
        losses = torch.nn.functional.cross_entropy(logits, target[:, 0], reduction="none")[:, None]
        assert weighted(logits, with_map).item() == pytest.approx(((edges * losses).sum() / edges.sum()).item())


def _changes(target: torch.Tensor) -> torch.Tensor:
    padded = [torch.cat([target.narrow(a, 0, 1), target], a).narrow(a, 0, target.shape[a]) for a in (2, 3, 4)]
    return torch.stack([previous != target for previous in padded]).any(0)


def test_regions_have_no_gaps():
    with pytest.raises(ValueError, match="separation_weight"):
        make_loss("WeightedEdgeNLL", LossContext(True), separation_weight=10)
    with pytest.raises(ValueError, match="separation_weight"):
        make_loss("DiceWeightedEdgeNLL", separation_weight=-1)
