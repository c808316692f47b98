"""Attention net: layout, targets, maps of whole scans and their place in the world, training inside nnU-Net."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS, make_case
from nnunetv2.run.run_training import get_trainer_from_args, run_training
from scipy import ndimage
from torch import nn
from torch.nn import functional

from nnunet_spine import cli
from nnunet_spine.architectures.attention_net import AttentionNet, cell_size
from nnunet_spine.architectures.diffusion import AnisotropicDiffusion
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import reorient, to_index, to_world
from nnunet_spine.inference.devices import find_device
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.losses.spine_map import SpineMapLoss, spine_share
from nnunet_spine.spine_map.predict import map_in_world, predict_map
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.sagittal import sagittal_axis

CPU = torch.device("cpu")
RECIPE = "AttentionTrainer_1epochs_2iters_1valiters"


def net(slice_axis: int = 0, channels: int = 1) -> AttentionNet:
    torch.manual_seed(0)
    return AttentionNet(input_channels=channels, conv_op=nn.Conv3d, slice_axis=slice_axis).eval()


class Pooled(nn.Module):
    """Stands for a trained network: the mean brightness of every cell."""

    def __init__(self, slice_axis: int):
        super().__init__()
        self.cell = cell_size(slice_axis)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margins = [-n % c for n, c in zip(x.shape[2:], self.cell, strict=True)]
        x = functional.pad(x, [amount for margin in reversed(margins) for amount in (0, margin)])
        return functional.avg_pool3d(x, self.cell).logit(1e-6)


def test_ten_convolutions_with_the_stated_widths():
    network = net()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [16, 32, 64, 64, 64, 64, 64, 64, 64, 1]
    assert [c.dilation[0] for c in convolutions] == [1, 1, 1, 1, 1, 2, 4, 8, 1, 1]
    assert sum(p.numel() for p in network.parameters()) == 351_681


@pytest.mark.parametrize(
    ("size", "cells"), [((8, 160, 160), (1, 10, 10)), ((24, 32, 16), (3, 2, 1)), ((9, 33, 15), (2, 3, 1))]
)
def test_one_value_per_cell_of_any_image(size, cells):
    assert net()(torch.zeros(1, 1, *size)).shape == (1, 1, *cells)


def test_of_eight_slices_the_middle_one_counts():
    image = torch.randn(1, 1, 16, 32, 32)
    changed = image.clone()
    changed[:, :, [0, 3, 5, 7]] += 1
    torch.testing.assert_close(net()(changed), net()(image), rtol=0, atol=0)
    changed[:, :, 12] += 1
    before, after = net()(image), net()(changed)
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0], rtol=0, atol=0)
    assert (after[:, :, 1] != before[:, :, 1]).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_may_lie_along_any_axis(axis):
    image = torch.randn(1, 1, 16, 32, 48)
    torch.testing.assert_close(net(axis)(image.movedim(2, 2 + axis)), net()(image).movedim(2, 2 + axis))


def test_diffusion_comes_first_and_sees_all_slices():
    image = torch.randn(1, 1, 12, 32, 32)
    network = net()
    diffusing = AttentionNet(input_channels=1, conv_op=nn.Conv3d, diffusion=True).eval()
    diffusing.load_state_dict(network.state_dict())
    torch.testing.assert_close(diffusing(image), network(AnisotropicDiffusion()(image)))
    changed = image.clone()
    changed[:, :, 5] += 10  # beside the slice that counts
    assert not torch.equal(diffusing(changed), diffusing(image))


def test_2d_and_memory_estimate():
    network = AttentionNet(input_channels=1, conv_op=nn.Conv2d)
    assert network(torch.zeros(1, 1, 32, 20)).shape == (1, 1, 2, 2)
    sizes = []
    hooks = [
        m.register_forward_hook(lambda m, i, o: sizes.append(o.numel()))
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    network(torch.zeros(1, 1, 64, 64))
    assert len(hooks) == 10
    assert network.compute_conv_feature_map_size((64, 64)) == sum(sizes[:-1])
    assert net().compute_conv_feature_map_size((16, 64, 64)) == 2 * sum(sizes[:-1])
    with pytest.raises(ValueError, match="3 spatial axes"):
        net().compute_conv_feature_map_size((1, 16, 64, 64))


def test_target_is_the_share_of_any_label():
    target = torch.zeros(1, 1, 2, 4, 5)
    target[0, 0, 0, :2, :2] = 3
    target[0, 0, 1, :2, 4] = 1
    share = spine_share(target.short(), (2, 2, 2))
    # the cell at the end is half inside the image: 2 of its 4 voxels
    torch.testing.assert_close(share.spine[0, 0, 0], torch.tensor([[0.5, 0, 0.5], [0, 0, 0]]))
    assert (share.counted == 1).all()


def test_ignored_voxels_count_nowhere():
    target = torch.zeros(1, 1, 2, 4)
    target[..., 0, :2], target[..., 1, 1:] = 2, 9
    share = spine_share(target, (2, 2), ignore_label=9)
    torch.testing.assert_close(share.spine.flatten(), torch.tensor([2 / 3, 0]))
    torch.testing.assert_close(share.counted.flatten(), torch.tensor([0.75, 0.5]))
    loss = SpineMapLoss((2, 2), 9)(torch.zeros(1, 1, 1, 2), target)
    assert loss.item() == pytest.approx((0.75 * (1 / 6) ** 2 + 0.5 * 0.25) / 1.25)
    logits = torch.zeros(1, 1, 1, 2, requires_grad=True)
    nothing = SpineMapLoss((2, 2), 9)(logits, torch.full((1, 1, 2, 4), 9))
    nothing.backward()
    assert nothing.item() == 0
    assert not logits.grad.any()


def test_loss_is_the_squared_error():
    target = torch.ones(2, 1, 8, 16, 16)
    logits = torch.tensor([0.25, 1 - 1e-7]).logit().reshape(2, 1, 1, 1, 1)
    assert SpineMapLoss((8, 16, 16))(logits, target).item() == pytest.approx(0.75**2 / 2)


def test_network_learns_where_the_spine_is():
    torch.manual_seed(0)
    image, target = torch.randn(1, 1, 8, 64, 64) * 0.1, torch.zeros(1, 1, 8, 64, 64)
    image[..., 16:32], target[..., 16:32] = 2, 1
    network = net().train()
    network.apply(network.initialize)
    loss, optimizer = SpineMapLoss(cell_size(0)), torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(network(image), target)
        value.backward()
        optimizer.step()
    assert value.item() < 0.01


@pytest.mark.parametrize("slice_axis", [0, 2])
@pytest.mark.parametrize("size", [(16, 64, 80), (13, 70, 41), (3, 20, 20)])
def test_windows_give_the_map_of_the_whole_image(slice_axis, size):
    image = torch.rand(1, *size).movedim(1, 1 + slice_axis)
    patch = [16, 16, 16]
    patch[slice_axis], patch[1] = 8, 32
    whole = Pooled(slice_axis)(image[None]).sigmoid()[0, 0]
    windows = predict_map(Pooled(slice_axis), image, patch, slice_axis, CPU)
    np.testing.assert_allclose(windows, whole, atol=1e-5)


def make(recipe: str = RECIPE, dataset: int = 1, configuration: str = "3d_fullres"):
    return get_trainer_from_args(str(dataset), configuration, 0, recipe, PLANS, device=CPU)


@pytest.fixture(scope="module")
def model(boxes) -> Path:
    run_training("1", "3d_fullres", 0, RECIPE, PLANS, device=CPU)
    return boxes / "nnUNet_results" / "Dataset001_Boxes" / f"{RECIPE}__{PLANS}__3d_fullres"


def test_training_leaves_maps_of_the_validation_cases(model):
    validation = model / "fold_0" / "validation"
    assert [f.name for f in validation.iterdir()] == ["case3_attention.nii.gz"]
    attention, affine = read_nifti(validation / "case3_attention.nii.gz")
    assert attention.dtype == np.float32
    assert attention.shape == (3, 2, 3)  # 24 x 20 x 40 voxels, right, front, top
    assert (attention > 0).all() and (attention < 1).all()
    np.testing.assert_allclose(affine, [[16, 0, 0, 7], [0, 32, 0, 15], [0, 0, 32, 15], [0, 0, 0, 1]], atol=1e-4)
    assert (model / "fold_0" / "progress.png").is_file()


def test_paper_preset_with_an_ignore_label(boxes):
    trainer = make(f"{RECIPE}_paper", dataset=3)
    trainer.run_training()
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert isinstance(trainer.network.diffusion, AnisotropicDiffusion)
    assert trainer.loss.ignore_label == 4
    for name in ("train_losses", "val_losses", "mean_fg_dice"):
        assert np.isfinite(trainer.logger.get_value(name, step=None)).all()


def test_adversarial_training(boxes):
    trainer = make("AttentionTrainer_fgsm_1epochs_1iters_1valiters")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()


def test_network_follows_the_plans_order_of_axes(boxes):
    trainer = make()
    trainer.plans_manager.plans["transpose_forward"] = [0, 1, 2]
    trainer.initialize()
    assert trainer.network.slice_axis == 2
    assert trainer.loss.cell == (16, 16, 8)


def test_progress_of_a_perfect_map_is_one(boxes):
    trainer = make()
    trainer.initialize()
    target = torch.randint(0, 4, (2, 1, 16, 32, 32)).short()
    truth = spine_share(target, trainer.loss.cell).spine
    tp, fp, fn = trainer._soft_counts(truth, target)
    assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(1)
    tp, fp, fn = trainer._soft_counts(torch.zeros_like(truth), target)
    assert tp == fp == 0 < fn


def test_what_it_cannot_do_is_said(boxes):
    with pytest.raises(InputError, match=r"three-dimensional\. Train 3d_fullres"):
        make(configuration="2d").initialize()
    with pytest.raises(InputError, match=r"'Tversky' is not for .*: it has its own loss.*Leave out 'Tversky'"):
        get_trainer(f"{RECIPE}_Tversky")
    with pytest.raises(InputError, match="needs classes"):
        get_trainer(f"{RECIPE}_vat")
    trainer = make()
    trainer.plans_manager.plans["image_reader_writer"] = "SimpleITKIO"
    with pytest.raises(InputError, match="a reader that reorients"):
        trainer.initialize()


@pytest.mark.parametrize("codes", ["RAS", "PIR"])
@pytest.mark.parametrize("transpose", [[2, 0, 1], [0, 1, 2]])
@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_the_peak_of_the_map_lies_at_a_bright_box(boxes, codes, transpose, reader, tmp_path):
    """Preprocessing crops the empty border and resamples; the map has to find back."""
    trainer = make()
    plans = trainer.plans_manager
    plans.plans |= {"image_reader_writer": reader, "transpose_forward": transpose}
    image = np.zeros((110, 120, 150), np.int16)
    image[6:-2, 10:, :-5] = 1  # what is left after cropping
    image[20:36, 70:102, 30:62] = 1000
    affine = np.diag([1.5, 1.0, 1.25, 1.0])
    turn = np.deg2rad(10)
    affine[:2, :2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ affine[:2, :2]
    affine[:3, 3] = -50, 20, 300
    centre = to_world(affine, np.array([27.5, 85.5, 45.5]))
    turned, turned_affine = reorient(image, affine, codes)
    write_nifti(tmp_path / "a_0000.nii.gz", turned, turned_affine)
    configuration = trainer.configuration_manager
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        [str(tmp_path / "a_0000.nii.gz")], None, plans, configuration, trainer.dataset_json
    )
    brightness = torch.from_numpy((data - data.min()) / (data.max() - data.min()))
    axis = sagittal_axis(plans)
    attention = predict_map(Pooled(axis), brightness, configuration.patch_size, axis, CPU)
    array, map_affine = map_in_world(attention, data.shape[1:], properties, plans.transpose_forward)
    centre_of_mass = to_world(map_affine, np.array(ndimage.center_of_mass(array)))
    np.testing.assert_allclose(centre_of_mass, centre, atol=6)  # cells are 16 x 32 x 32 mm
    peak = np.unravel_index(array.argmax(), array.shape)
    assert np.abs(to_index(map_affine, centre) - peak).max() <= 0.6


def test_command_writes_maps_and_lists_failures(model, tmp_path, capsys):
    image, _ = make_case(np.random.default_rng(9))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for name, codes in (("a", "RAS"), ("b", "PIR")):
        write_nifti(tmp_path / "in" / f"{name}_0000.nii.gz", *reorient(image, affine, codes))
    (tmp_path / "in" / "broken_0000.nii.gz").write_bytes(b"no image")
    arguments = ["spine-map", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model)]
    assert cli.main([*arguments, "-device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert "2 of 3 maps" in captured.out
    assert "broken: " in captured.err
    (a, affine_a), (b, affine_b) = (read_nifti(tmp_path / "out" / f"{name}_attention.nii.gz") for name in "ab")
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(affine_a, affine_b, atol=1e-4)


def test_command_refuses_other_models_and_empty_folders(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other"
    (other / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        write_json(other / name, read_json(model / name))
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    torch.save({**checkpoint, "trainer_name": "SpineTrainer"}, other / "fold_0" / "checkpoint_final.pth")
    for folder, images, message in (
        (model, tmp_path / "empty", "no images (case_0000.nii.gz)"),
        (model, tmp_path / "missing", "no such folder"),
        (other, tmp_path, "a model of SpineTrainer. Give one of AttentionTrainer"),
        (tmp_path / "empty", tmp_path, "no such file"),
    ):
        assert cli.main(["spine-map", "-i", str(images), "-o", str(tmp_path / "o"), "-m", str(folder)]) == 2
        assert message in capsys.readouterr().err


def test_command_names_the_folder_above_a_fold(model, tmp_path, capsys):
    assert cli.main(["spine-map", "-i", str(tmp_path), "-o", str(tmp_path / "o"), "-m", str(model / "fold_0")]) == 2
    assert f"is one fold of a model. Give -m {model} -f 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [("cuda", "finds none here. Give one of: cpu"), ("cdua", "give one of cuda"), ("meta", "give one of cuda")],
)
def test_devices_that_are_not_there_are_one_line(model, tmp_path, capsys, name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    arguments = ["spine-map", "-i", str(tmp_path), "-o", str(tmp_path / "o"), "-m", str(model), "-device", name]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message.lower() in error.lower()


def test_devices_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device() == torch.device("cuda")
    assert find_device("cuda:1").index == 1
    with pytest.raises(InputError, match="there are 2"):
        find_device("cuda:2")
