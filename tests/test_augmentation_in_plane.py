"""Rotation and scaling within sagittal slices: slices stay apart, every patch is changed, sizes are as stated."""

import math

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_spine.errors import InputError
from nnunet_spine.training.ranges import AngleAboutNormal, Plane, ScaleInPlane

SHORT = "1epochs_1iters_1valiters"


def make(recipe: str, configuration: str = "3d_fullres", transpose: tuple[int, ...] | None = None):
    trainer = get_trainer_from_args("1", configuration, 0, recipe, PLANS, device=torch.device("cpu"))
    if transpose is not None:
        trainer.plans_manager.plans["transpose_forward"] = list(transpose)
    return trainer


def augmented(trainer, image: torch.Tensor) -> torch.Tensor:
    """The image after training's spatial transform; its values serve as labels, too."""
    patch_size = trainer.configuration_manager.patch_size
    rotation, dummy_2d, _, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    spatial = trainer._training_transforms(patch_size, rotation, None, mirror, dummy_2d).transforms[0]
    return spatial(image=image[None], segmentation=image[None].short())["image"][0]


@pytest.mark.parametrize("recipe", ["Hybrid2D3DTrainer_paper", "AttentionTrainer_paper"])
@pytest.mark.parametrize("transpose", [(2, 0, 1), (0, 1, 2), (0, 2, 1)], ids=str)
def test_slices_are_neither_mixed_nor_left_alone(boxes, recipe, transpose):
    trainer = make(f"{recipe}_{SHORT}", transpose=transpose)
    axis = transpose.index(2)
    read = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
    assert read[axis] == 32
    assert all(n > 32 for a, n in enumerate(read) if a != axis)
    numbers = torch.arange(1.0, 33).view([-1 if a == axis else 1 for a in range(3)]).expand(*read)
    checks = (torch.arange(read[(axis + 1) % 3]) % 2).view([-1 if a == (axis + 1) % 3 else 1 for a in range(3)])
    np.random.seed(0)  # noqa: NPY002 - the transform draws from the global state
    for _ in range(5):
        out = augmented(trainer, numbers.contiguous())
        core = tuple(slice(None) if a == axis else slice(10, 22) for a in range(3))  # no corner is turned in
        torch.testing.assert_close(out[core], numbers[:32, :32, :32][core], atol=1e-3, rtol=0)
        pattern = augmented(trainer, (numbers * checks).contiguous())
        assert not torch.allclose(pattern, (numbers * checks)[:32, :32, :32], atol=0.1)


def test_rotation_is_about_the_normal_and_sizes_lie_in_the_range():
    plane = Plane(1)
    angles = np.array([[AngleAboutNormal(plane, (-0.3, 0.3))(None, dim=a) for a in range(3)] for _ in range(500)])
    assert (angles[:, [0, 2]] == 0).all()
    assert 0.27 < abs(angles[:, 1]).max() <= 0.3
    sizes = 1 / np.array([[ScaleInPlane(plane, (0.6, 1.4))(None, dim=a) for a in range(3)] for _ in range(500)])
    assert (sizes[:, 1] == 1).all()
    assert sizes[:, [0, 2]].min() == pytest.approx(0.6, abs=0.02)
    assert sizes[:, [0, 2]].max() == pytest.approx(1.4, abs=0.02)
    assert np.mean(sizes[:, 0] == sizes[:, 2]) < 0.1  # each axis on its own
    whole = AngleAboutNormal(Plane(), (0.2, 0.2)), ScaleInPlane(Plane(), (2.0, 2.0))
    assert [[draw(None, dim=a) for a in range(2)] for draw in whole] == [[0.2, 0.2], [0.5, 0.5]]


def test_a_square_keeps_its_centre_and_takes_the_drawn_size_and_angle(boxes, monkeypatch):
    """Size 1.25 along one axis, 1 along the other, turned by 90 degrees: 16 x 16 becomes 16 x 20 or 20 x 16."""
    trainer = make(f"Hybrid2D3DTrainer_paper_{SHORT}", transpose=(2, 0, 1))
    monkeypatch.setattr(AngleAboutNormal, "__call__", lambda self, image, dim: math.pi / 2 if dim == 0 else 0.0)
    monkeypatch.setattr(ScaleInPlane, "__call__", lambda self, image, dim: 1 / 1.25 if dim == 1 else 1.0)
    read = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
    image = torch.zeros(*read)
    low, high = [n // 2 - 8 for n in read[1:]], [n // 2 + 8 for n in read[1:]]
    image[10:20, low[0] : high[0], low[1] : high[1]] = 1
    out = augmented(trainer, image) > 0.5
    assert out.flatten(1).any(1).nonzero().flatten().tolist() == list(range(10, 20))
    inside = out[15].nonzero()
    extent = (inside.max(0).values - inside.min(0).values + 1).tolist()
    assert sorted(extent) == pytest.approx([16, 20], abs=1)


def test_slices_of_the_2d_configuration_must_be_sagittal(boxes):
    trainer = make(f"Hybrid2D3DTrainer_paper_{SHORT}", "2d")
    rotation, dummy_2d, read, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert rotation == pytest.approx((-math.radians(2), math.radians(2)))
    assert not dummy_2d
    assert all(n > p for n, p in zip(read, trainer.configuration_manager.patch_size, strict=True))
    other = make(f"Hybrid2D3DTrainer_paper_{SHORT}", "2d", transpose=(0, 1, 2))
    with pytest.raises(InputError, match=r"the slices of these plans are others.*plan --sagittal"):
        other.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
