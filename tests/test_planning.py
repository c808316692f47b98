import re

import numpy as np
import pytest
import torch
from nnunet_dataset import write_dataset
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine import cli
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.planning import PlanOptions, configured_planner, plan_dataset
from nnunet_spine.trainers import TRAINERS, ConvLSTMTrainer, get_recipe, get_trainer
from nnunet_spine.training.memory import REFERENCE_ELEMENTS, REFERENCE_GB, memory_remark

OURS = PlanOptions(network=ConvLSTMTrainer.settings.network)


@pytest.fixture(scope="module")
def planned(nnunet_root):
    """A dataset with a fingerprint; returns the folder of nnU-Net's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_n_proc_DA", "1")  # nnU-Net's own planner cannot do with 0
        write_dataset(nnunet_root / "nnUNet_raw", 5)
        plan_dataset(5, PlanOptions(), processes=1, quiet=True)
        # Scans whose plans have to fit memory, yet too small for a low-resolution stage. Planning reads no images.
        file = nnunet_root / "nnUNet_preprocessed" / "Dataset005_Boxes" / "dataset_fingerprint.json"
        fingerprint = read_json(file)
        fingerprint["spacings"] = [[3.0, 0.9, 0.9]] * 4
        fingerprint["shapes_after_crop"] = [[96, 224, 224]] * 4
        write_json(file, fingerprint)
        yield nnunet_root


def planner_for(options: PlanOptions, gpu_memory_gb: float = 8.0):
    return configured_planner(options)(5, gpu_memory_target_in_gb=gpu_memory_gb, plans_name="P")


def plan(options: PlanOptions, gpu_memory_gb: float = 8.0, name: str = "P") -> dict:
    return plan_dataset(5, options, gpu_memory_gb=gpu_memory_gb, plans_name=name, processes=1, quiet=True)


def test_stock_and_our_planner_agree_without_options(planned):
    stock, _ = plan_experiment_dataset(5)
    ours = plan(PlanOptions())
    for name in ("2d", "3d_fullres"):
        for key in ("patch_size", "batch_size", "spacing"):
            np.testing.assert_array_equal(ours["configurations"][name][key], stock["configurations"][name][key])
    assert ours["transpose_forward"] == [0, 1, 2]


def test_sagittal_slices_whatever_the_spacing(planned):
    plans = plan(PlanOptions(sagittal=True))
    assert plans["transpose_forward"] == [2, 0, 1]
    assert plans["transpose_backward"] == [1, 2, 0]
    # What is left of cranio-caudal, antero-posterior, left-right without left-right.
    np.testing.assert_allclose(plans["configurations"]["2d"]["spacing"], [3.0, 0.9])
    volume = np.zeros((4, 5, 6))
    there = volume.transpose(plans["transpose_forward"])
    assert there.shape == (6, 4, 5)
    assert there.transpose(plans["transpose_backward"]).shape == volume.shape


def test_spacing_is_taken_as_given(planned):
    plans = plan(PlanOptions(spacing_mm=(1.0, 2.0, 1.5)))
    np.testing.assert_allclose(sorted(plans["configurations"]["3d_fullres"]["spacing"]), [1.0, 1.5, 2.0])


def test_patch_is_taken_as_given_and_the_batch_fits_beside_it(planned):
    options = PlanOptions(spacing_mm=(1.0,) * 3, patch_size=(64, 112, 96), sagittal=True)
    small, large = (plan(options, gb)["configurations"] for gb in (1, 24))
    for configurations in (small, large):
        assert configurations["3d_fullres"]["patch_size"] == (96, 64, 112)  # sagittal slices first
        assert configurations["2d"]["patch_size"] == (64, 112)
        assert configurations["3d_fullres"]["architecture"]["arch_kwargs"]["n_stages"] == 5
    assert small["3d_fullres"]["batch_size"] == 2 < large["3d_fullres"]["batch_size"]
    assert small["2d"]["batch_size"] < large["2d"]["batch_size"]


def test_a_patch_that_the_strides_change_is_refused(planned):
    with pytest.raises(InputError, match=r"patch 60 x 112 x 97 does not fit .* 64 x 112 x 112"):
        plan(PlanOptions(spacing_mm=(1.0,) * 3, patch_size=(60, 112, 97)))


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_memory_is_that_of_our_network(planned, configuration):
    ours, plain = (plan(o, 4)["configurations"][configuration] for o in (OURS, PlanOptions()))

    def voxels(c):
        return c["batch_size"] * int(np.prod(c["patch_size"]))

    def memory(c):
        architecture = c["architecture"]
        return c["batch_size"] * planner_for(OURS).static_estimate_VRAM_usage(
            c["patch_size"], 1, 4, "unused", architecture["arch_kwargs"], architecture["_kw_requires_import"]
        )

    assert voxels(ours) < voxels(plain)
    assert memory(ours) < memory(plain)


def test_less_gpu_memory_means_smaller_patches_or_batches(planned):
    small, large = (plan(OURS, gb)["configurations"]["3d_fullres"] for gb in (4, 24))
    assert np.prod(small["patch_size"]) * small["batch_size"] < np.prod(large["patch_size"]) * large["batch_size"]


def test_cpu_plans_are_small_and_of_one_resolution(planned):
    options = PlanOptions(network=ConvLSTMTrainer.settings.network, spacing_mm=(1.0,) * 3, cpu=True)
    plans = plan(options, 0.25, "CpuPlans")
    assert set(plans["configurations"]) == {"2d", "3d_fullres"}
    for configuration in plans["configurations"].values():
        assert configuration["architecture"]["arch_kwargs"]["features_per_stage"][0] == 12


@pytest.mark.parametrize("trainer", list(map(get_trainer, TRAINERS)))
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_every_trainer_follows_stock_plans(planned, trainer, configuration):
    stock, _ = plan_experiment_dataset(5)
    manager = PlansManager(stock)
    with torch.device("meta"):
        network = trainer.network(manager, manager.get_configuration(configuration), 1, 4, True)
        output = network(
            torch.zeros(1, trainer.input_channels(1), *manager.get_configuration(configuration).patch_size)
        )
    finest = output if isinstance(output, torch.Tensor) else output[0]
    if trainer.declaration.predicts_labels and trainer.output_channels(4) != trainer.output_channels(6):
        with torch.device("meta"):
            more_labels = trainer.build_network_architecture(
                manager, manager.get_configuration(configuration), 1, 6, True
            ).state_dict()
        changed = {name for name, value in network.state_dict().items() if value.shape != more_labels[name].shape}
        assert changed and all(".seg_layers." in name for name in changed)  # else nnU-Net's fine-tuning refuses
        assert tuple(finest.shape[2:]) == tuple(manager.get_configuration(configuration).patch_size)


def remark(recipe: str, plans: dict, configuration: str) -> str | None:
    return memory_remark(get_recipe(recipe), plans, configuration, (1, 4))


def test_the_estimate_of_memory_is_the_planners(planned):
    planner = planner_for(PlanOptions())
    assert planner.UNet_reference_val_corresp_GB == REFERENCE_GB
    assert planner.UNet_reference_val_2d * planner.UNet_reference_val_corresp_bs_2d == REFERENCE_ELEMENTS[2]
    assert planner.UNet_reference_val_3d * planner.UNet_reference_val_corresp_bs_3d == REFERENCE_ELEMENTS[3]


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_step_that_takes_more_than_the_plans_were_made_for_is_announced_with_what_fits(planned, configuration):
    stock, _ = plan_experiment_dataset(5)
    assert remark("SpineTrainer", stock, configuration) is None
    said = remark("ConvLSTMTrainer", stock, configuration)
    assert "by nnU-Net's estimate; the plans were made for" in said
    option = re.search(r"the option (\w+) \(", said).group(1)
    assert remark(f"ConvLSTMTrainer_{option}", stock, configuration) is None
    gigabytes = float(re.search(r"plan -d 5 -tr ConvLSTMTrainer --gpu-memory (\d+\.\d)", said).group(1))
    assert remark("ConvLSTMTrainer", plan(OURS, gigabytes), configuration) is None


def test_whole_volume_shows_the_largest_scan_in_one_patch(planned, capsys):
    file = planned / "nnUNet_preprocessed" / "Dataset005_Boxes" / "dataset_fingerprint.json"
    content = read_json(file)
    spacings, shapes = [[3.0, 0.9, 0.9], [1.0, 1.0, 2.0]], [[96, 200, 224], [500, 150, 80]]
    write_json(file, {**content, "spacings": spacings, "shapes_after_crop": shapes})
    command = ["plan", "-d", "5", "-tr", "MobileASPPTrainer", "--whole-volume", "-p", "Whole"]
    try:
        assert cli.main(command) == 0
        plans = read_json(file.parent / "Whole.json")
        assert cli.main([*command, "--patch", "64", "64", "96", "--spacing", "2"]) == 0
        smaller = read_json(file.parent / "Whole.json")["configurations"]["3d_fullres"]
    finally:
        write_json(file, content)
    whole = plans["configurations"]["3d_fullres"]
    assert whole["patch_size"] == [128, 128, 128]
    # 500 mm, 180 mm and 201.6 mm over 128 voxels, but not below 1.5 mm; the coarsest axis comes first
    np.testing.assert_allclose(whole["spacing"], [500 / 128, 1.5, 201.6 / 128])
    assert set(plans["configurations"]) == {"2d", "3d_fullres"}
    assert smaller["spacing"] == [2.0, 2.0, 2.0]
    assert smaller["patch_size"] == [64, 64, 96]
    assert "patch 128 x 128 x 128" in capsys.readouterr().out


def test_sagittal_needs_a_reorienting_reader(planned):
    file = planned / "nnUNet_raw" / "Dataset005_Boxes" / "dataset.json"
    content = read_json(file)
    write_json(file, {**content, "overwrite_image_reader_writer": "SimpleITKIO"})
    try:
        with pytest.raises(InputError, match=r'SimpleITKIO\. Set "overwrite_image_reader_writer"'):
            plan(PlanOptions(sagittal=True))
    finally:
        write_json(file, content)


def test_command_prints_the_plan_and_what_comes_next(planned, capsys):
    assert cli.main(["plan", "-d", "Dataset005_Boxes", "--sagittal", "--spacing", "2", "-np", "1"]) == 0
    out = capsys.readouterr().out
    assert "spacing 2 x 2 mm" in out
    assert "nnUNetv2_preprocess -d 5 -plans_name nnUNetSpinePlans -c 2d" in out
    assert "nnUNetv2_train 5 2d 0 -p nnUNetSpinePlans -tr ConvLSTMTrainer" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "999"], "no dataset '999'"),
        (["-d", "5", "--spacing", "1", "2"], "expected one or three positive numbers"),
        (["-d", "5", "--spacing", "0"], "expected one or three positive numbers"),
        (["-d", "5", "--patch", "64", "112", "0"], "expected three numbers of at least 8"),
        (["-d", "5", "--gpu-memory", "-1"], "expected a positive number of GB"),
        (["-d", "5", "-p", "a/b"], "plans name 'a/b'"),
        (["-d", "5", "-tr", "NoTrainer"], "no trainer 'NoTrainer'"),
        (["-d", "5", "-tr", "ConvLSTMTrainer_skips99"], "at most 9"),
        (["-d", "5", "-tr", "ConvLSTMTrainer_skips9"], "n_convlstm_skips must be"),
    ],
)
def test_bad_input_is_one_line(planned, capsys, arguments, message):
    assert cli.main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_unset_variable_is_named(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert cli.main(["plan", "-d", "5"]) == 2
    assert "nnUNet_raw is not set" in capsys.readouterr().err


def test_preprocessed_data_keep_their_plans(planned):
    options = PlanOptions(spacing_mm=(2.0,) * 3)
    plans = plan(options, name="Used")
    folder = planned / "nnUNet_preprocessed" / "Dataset005_Boxes"
    (folder / plans["configurations"]["2d"]["data_identifier"]).mkdir()
    before = (folder / "Used.json").read_bytes()
    plan(options, name="Used")
    with pytest.raises(InputError, match=r"Used_2d: holds data preprocessed by other plans named Used\."):
        plan(PlanOptions(spacing_mm=(3.0,) * 3), name="Used")
    assert (folder / "Used.json").read_bytes() == before


def test_a_window_in_hu_is_what_ct_normalisation_maps_to_0_to_2(planned):
    options = PlanOptions(spacing_mm=(2.0,) * 3, window_hu=(-512.0, 1024.0))
    plans = plan(options, name="Windowed")
    (properties,) = plans["foreground_intensity_properties_per_channel"].values()
    scheme = CTNormalization(use_mask_for_norm=False, intensityproperties=properties)
    assert scheme.run(np.array([-2000.0, -512, 256, 1024, 3000])).tolist() == [0, 0, 1, 2, 2]
    folder = planned / "nnUNet_preprocessed" / "Dataset005_Boxes"
    (folder / plans["configurations"]["2d"]["data_identifier"]).mkdir()
    with pytest.raises(InputError, match="other plans named Windowed"):  # another window: other data
        plan(PlanOptions(spacing_mm=(2.0,) * 3, window_hu=(-100.0, 1024.0)), name="Windowed")


def test_leftovers_of_another_dataset_are_named(planned):
    file = planned / "nnUNet_preprocessed" / "Dataset005_Boxes" / "splits_final.json"
    before = file.read_bytes()
    write_json(file, [{"train": ["other"], "val": ["another"]}])
    try:
        with pytest.raises(InputError, match=r"Dataset005_Boxes: splits_final\.json differs.*emove the folder"):
            plan(PlanOptions())
    finally:
        file.write_bytes(before)
