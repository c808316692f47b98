"""Trainers inside nnU-Net: training, resuming, validation and prediction on a tiny dataset, on the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import make_case, write_dataset
from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args, run_training

from nnunet_spine.commands.env import ext_trainer_value
from nnunet_spine.files import read_json, read_nifti, write_json, write_nifti
from nnunet_spine.geometry import reorient
from nnunet_spine.losses import LOSSES
from nnunet_spine.planning import PlanOptions, plan_dataset
from nnunet_spine.trainers import get_trainer

PLANS = "TestPlans"
CPU = torch.device("cpu")
SHORT = "1epochs_2iters_1valiters"
REGIONS = {"background": 0, "all": [1, 2, 3], "lower": [2, 3], "L3": 3}


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            (root / name).mkdir()
            patch.setenv(name, str(root / name))
        patch.setenv("nnUNet_extTrainer", ext_trainer_value(None))
        write_dataset(root / "nnUNet_raw", 1)
        write_dataset(root / "nnUNet_raw", 2, REGIONS, regions_class_order=[1, 2, 3])
        write_dataset(root / "nnUNet_raw", 3, {"background": 0, "L1": 1, "L2": 2, "L3": 3, "ignore": 4})
        for dataset, configurations in ((1, ["2d", "3d_fullres"]), (2, ["3d_fullres"]), (3, ["2d"])):
            options = PlanOptions(spacing_mm=(2.0, 2.0, 2.0), sagittal=dataset == 1, cpu=True)
            plan_dataset(dataset, options, gpu_memory_gb=1, plans_name=PLANS, processes=1, quiet=True)
            preprocess_dataset(dataset, PLANS, configurations, [1], show_progress_bar=False)
        yield root


def make(recipe: str, dataset: int = 1, configuration: str = "2d", fold: int | str = 0, resume: bool = False):
    return get_trainer_from_args(str(dataset), configuration, fold, recipe, PLANS, resume, device=CPU)


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def deterministic(trainer):
    """Seed every epoch by its number, so that an interrupted training can be compared with an uninterrupted one."""
    start = trainer.on_epoch_start

    def seeded_start():
        torch.manual_seed(trainer.current_epoch)
        np.random.seed(trainer.current_epoch)  # noqa: NPY002 - nnU-Net draws from the global state
        start()

    trainer.on_epoch_start = seeded_start
    return trainer


def test_train_validate_and_predict_with_stock_commands(folders, tmp_path):
    recipe = f"ConvLSTMTrainer_{SHORT}"
    run_training("1", "2d", 0, recipe, PLANS, export_validation_probabilities=True, device=CPU)
    model = folders / "nnUNet_results" / "Dataset001_Boxes" / f"{recipe}__{PLANS}__2d"
    validation = model / "fold_0" / "validation"
    assert (validation / "case3.nii.gz").is_file()
    assert (validation / "case3.npz").is_file()
    assert "foreground_mean" in read_json(validation / "summary.json")
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert checkpoint["trainer_name"] == recipe
    assert checkpoint["inference_allowed_mirroring_axes"] is None

    (validation / "case3.nii.gz").unlink()
    run_training("1", "2d", 0, recipe, PLANS, only_run_validation=True, device=CPU)
    assert (validation / "case3.nii.gz").is_file()

    predictor = nnUNetPredictor(device=CPU, perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    image, _ = make_case(np.random.default_rng(9))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -20, 7, 3
    outputs = []
    for codes in ("RAS", "PIR"):
        turned, turned_affine = reorient(image, affine, codes)
        write_nifti(tmp_path / codes / "a_0000.nii.gz", turned, turned_affine)
        out = tmp_path / f"{codes}.nii.gz"
        inputs, names = [[str(tmp_path / codes / "a_0000.nii.gz")]], [str(out).removesuffix(".nii.gz")]
        predictor.predict_from_files_sequential(inputs, names, overwrite=True)
        array, out_affine = read_nifti(out)
        assert array.shape == turned.shape
        np.testing.assert_allclose(out_affine, turned_affine, atol=1e-5)
        outputs.append(reorient(array, out_affine, "RAS")[0])
    np.testing.assert_array_equal(*outputs)


def test_resumed_training_equals_uninterrupted():
    recipe = "ConvLSTMTrainer_noaug_3epochs_2iters_1valiters_save1_plateau"
    whole = deterministic(make(recipe))
    torch.manual_seed(0)
    whole.initialize()
    initial = whole.network.state_dict()
    initial = {name: value.clone() for name, value in initial.items()}
    whole.run_training()

    first = deterministic(make(recipe, fold="all"))  # another output folder, same cases below
    first.do_split = whole.do_split
    start = first.on_train_epoch_start
    first.initialize()
    first.network.load_state_dict(initial)
    first.on_train_epoch_start = lambda: pytest.fail("killed") if first.current_epoch == 2 else start()
    with pytest.raises(pytest.fail.Exception, match="killed"):
        first.run_training()

    resumed = deterministic(make(recipe, fold="all", resume=True))
    resumed.do_split = whole.do_split
    resumed.load_checkpoint(str(Path(resumed.output_folder) / "checkpoint_latest.pth"))
    assert resumed.current_epoch == 2
    resumed.run_training()
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", ["SpineTrainer", "ConvLSTMTrainer_DiceFocalTversky", "ConvLSTMTrainer_nods_Tversky"])
def test_regions_in_3d(recipe):
    trainer = make(f"{recipe}_{SHORT}", dataset=2, configuration="3d_fullres")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()


@pytest.mark.parametrize("loss", ["nnunet", *LOSSES])
def test_ignore_label_with_every_loss(loss):
    trainer = make(f"ConvLSTMTrainer_{loss}_{SHORT}", dataset=3)
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
    log = Path(trainer.log_file).read_text()
    for part in ("loss: Dice", "torch.compile: off", "mirroring: None", "ConvLSTMUNet"):
        assert part in log


@pytest.mark.parametrize("name", ["SpineTrainer", "ConvLSTMTrainer"])
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_network_follows_deep_supervision(name, deep_supervision):
    trainer = make(f"{name}_{SHORT}" + ("" if deep_supervision else "_nods"))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    output = trainer.network(torch.zeros(1, 1, *trainer.configuration_manager.patch_size))
    assert isinstance(output, list | tuple) == deep_supervision
    # Every parameter that claims to be trained gets a gradient: DDP insists on it.
    sum(o.sum() for o in (output if deep_supervision else [output])).backward()
    assert all(p.grad is not None for p in trainer.network.parameters() if p.requires_grad)


def test_residual_encoder_plans_are_followed():
    trainer = make(f"ConvLSTMTrainer_{SHORT}")
    kwargs = trainer.configuration_manager.network_arch_init_kwargs
    plain = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 4, False)
    kwargs["n_blocks_per_stage"] = [1, 3, 4, 6, 6, 6, 6, 6][: kwargs["n_stages"]]
    del kwargs["n_conv_per_stage"]
    residual = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 4, False)
    assert [p.shape for p in residual.parameters()] == [p.shape for p in plain.parameters()]


def test_two_stages_have_one_output_and_a_finite_loss(folders):
    preprocessed = folders / "nnUNet_preprocessed" / "Dataset001_Boxes"
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
        monkeypatch.setattr(trainer, attribute, False)
        with pytest.raises(NotImplementedError, match=message):
            make("SpineTrainer_1epochs", dataset, "3d_fullres" if dataset == 2 else "2d")


def test_several_gpus_without_cuda_is_a_clear_error():
    with pytest.raises(AssertionError, match="only implemented for cuda"):
        run_training("1", "2d", 0, "ConvLSTMTrainer", PLANS, num_gpus=2, device=CPU)
