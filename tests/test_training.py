"""Settings of the trainers inside nnU-Net: losses, labels, folds, schedules; see also `test_trainers_contract`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args, run_training

from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.losses import LOSS_NAMES
from nnunet_spine.trainers import get_trainer

CPU = torch.device("cpu")
SHORT = "1epochs_2iters_1valiters"
pytestmark = pytest.mark.usefixtures("boxes")


def make(recipe: str, dataset: int = 1, configuration: str = "2d", fold: int | str = 0, resume: bool = False):
    return get_trainer_from_args(str(dataset), configuration, fold, recipe, PLANS, resume, device=CPU)


def test_validation_of_stock_nnunet(boxes):
    recipe = f"ConvLSTMTrainer_{SHORT}"
    run_training("1", "2d", 0, recipe, PLANS, export_validation_probabilities=True, device=CPU)
    validation = boxes / "nnUNet_results" / "Dataset001_Boxes" / f"{recipe}__{PLANS}__2d" / "fold_0" / "validation"
    assert (validation / "case3.npz").is_file()
    assert "foreground_mean" in read_json(validation / "summary.json")
    (validation / "case3.nii.gz").unlink()
    run_training("1", "2d", 0, recipe, PLANS, only_run_validation=True, device=CPU)
    assert (validation / "case3.nii.gz").is_file()


def test_plateau_goes_on_where_it_was():
    """The schedule keeps no state of its own: it reads the losses that the checkpoint brings back."""
    first = make("ConvLSTMTrainer_plateau_lr1e-2_20epochs_1iters_1valiters", fold="all")
    first.initialize()
    for epoch in range(8):  # seven stagnant epochs after the first
        first.logger.log("val_losses", 1.0, epoch)
    first.current_epoch = 7
    first.save_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    resumed = make("ConvLSTMTrainer_plateau_lr1e-2_20epochs_1iters_1valiters", fold="all", resume=True)
    resumed.load_checkpoint(str(Path(resumed.output_folder) / "checkpoint_latest.pth"))
    resumed.lr_scheduler.step(resumed.current_epoch)
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("recipe", ["ConvLSTMTrainer_DiceFocalTversky", "ConvLSTMTrainer_nods_Tversky"])
def test_losses_of_regions(recipe):
    trainer = make(f"{recipe}_{SHORT}", dataset=2, configuration="3d_fullres")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()


@pytest.mark.parametrize("kind", ["adversarial", "l2", "vat"])
def test_stock_network_with_an_adversarial_term(kind):
    trainer = make(f"SpineTrainer_EdgeCE_{kind}_eps0p01_{SHORT}")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
    status = f"adversarial term: {'fgsm' if kind == 'adversarial' else kind}, size 0.01, from epoch 0"
    assert status in Path(trainer.log_file).read_text(encoding="utf-8")


def test_the_first_tenth_of_the_epochs_goes_without_the_adversarial_term(monkeypatch):
    trainer = make("SpineTrainer_adversarial_20epochs")
    steps = []
    monkeypatch.setattr(
        "nnunet_spine.training.adversarial.adversarial_train_step", lambda *_: steps.append("adversarial")
    )
    monkeypatch.setattr(
        "nnunetv2.training.nnUNetTrainer.nnUNetTrainer.nnUNetTrainer.train_step", lambda *_: steps.append("plain")
    )
    for trainer.current_epoch in range(4):
        trainer.train_step({})
    assert steps == ["plain", "plain", "adversarial", "adversarial"]


@pytest.mark.parametrize("loss", ["nnunet", *LOSS_NAMES])
def test_ignore_label_with_every_loss(loss):
    trainer = make(f"ConvLSTMTrainer_{loss}_{SHORT}", dataset=3, configuration="3d_fullres")
    trainer.initialize()
    assert trainer.label_manager.ignore_label == 4
    data = torch.randn(2, 1, *trainer.configuration_manager.patch_size)
    output = trainer.network(data)
    target = [torch.randint(0, 4, (2, 1, *o.shape[2:])).float() for o in output]
    for t in target:
        t[..., :3, :] = 4
    before = trainer.loss(output, target)
    for o in output:
        o.data[..., :3, :] += 5  # what an ignored voxel says must not matter
    torch.testing.assert_close(trainer.loss(output, target), before)


def test_every_case_with_fold_all():
    trainer = make(f"SpineTrainer_{SHORT}", fold="all")
    training, validation = trainer.do_split()
    assert list(training) == list(validation) == ["case0", "case1", "case2", "case3"]


def test_no_flips_and_no_upside_down():
    trainer = make(f"SpineTrainer_{SHORT}")
    rotation, dummy_2d, initial, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert mirror is None
    assert trainer.inference_allowed_mirroring_axes is None
    assert max(rotation) <= np.deg2rad(30) + 1e-9
    assert not dummy_2d
    assert all(i >= p for i, p in zip(initial, trainer.configuration_manager.patch_size, strict=True))


def test_a_narrow_patch_of_isotropic_spacing_is_augmented_in_3d():
    trainer = make(f"SpineTrainer_{SHORT}", configuration="3d_fullres")
    trainer.configuration_manager.configuration["patch_size"] = [16, 64, 32]
    assert not trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[1]
    trainer.configuration_manager.configuration["spacing"] = [6.0, 1.0, 1.0]
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[1]


def test_settings_are_the_classes_and_are_logged():
    trainer = make("ConvLSTMTrainer_paper_7epochs_Dice_nocompile_save3")
    assert (trainer.num_epochs, trainer.save_every, trainer.initial_lr) == (7, 3, 1e-4)
    trainer.initialize()
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    log = Path(trainer.log_file).read_text(encoding="utf-8")
    for part in ("loss: Dice", "torch.compile: off", "mirroring: None", "BCDUNet"):
        assert part in log


def test_residual_encoder_plans_are_followed():
    trainer = make(f"ConvLSTMTrainer_{SHORT}")
    kwargs = trainer.configuration_manager.network_arch_init_kwargs
    plain = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 4, False)
    kwargs["n_blocks_per_stage"] = [1, 3, 4, 6, 6, 6, 6, 6][: kwargs["n_stages"]]
    del kwargs["n_conv_per_stage"]
    residual = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 4, False)
    assert [p.shape for p in residual.parameters()] == [p.shape for p in plain.parameters()]


def test_two_stages_have_one_output_and_a_finite_loss(boxes):
    preprocessed = boxes / "nnUNet_preprocessed" / "Dataset001_Boxes"
    plans = read_json(preprocessed / f"{PLANS}.json")
    architecture = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
        architecture[key] = architecture[key][:2]
    architecture["n_conv_per_stage_decoder"], architecture["n_stages"] = [2], 2
    write_json(preprocessed / "TwoStagePlans.json", plans)
    trainer = get_trainer_from_args("1", "2d", 0, f"ConvLSTMTrainer_{SHORT}_DiceCE", "TwoStagePlans", device=CPU)
    assert not trainer.enable_deep_supervision
    trainer.initialize()
    patch = trainer.configuration_manager.patch_size
    assert torch.isfinite(trainer.loss(trainer.network(torch.randn(1, 1, *patch)), torch.zeros(1, 1, *patch)))


def test_unsupported_labels_are_refused(monkeypatch):
    for attribute, dataset, message in (
        ("supports_regions", 2, "regions"),
        ("supports_ignore_label", 3, "ignore label"),
    ):
        trainer = get_trainer("SpineTrainer_1epochs")
        monkeypatch.setattr(trainer, "declaration", replace(trainer.declaration, **{attribute: False}))
        with pytest.raises(NotImplementedError, match=message):
            make("SpineTrainer_1epochs", dataset, "3d_fullres")


def test_several_gpus_without_cuda_is_a_clear_error():
    with pytest.raises(AssertionError, match="only implemented for cuda"):
        run_training("1", "2d", 0, "ConvLSTMTrainer", PLANS, num_gpus=2, device=CPU)
