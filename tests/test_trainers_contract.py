"""What holds for every trainer: nnU-Net finds it, trains it, resumes it to the same weights, and predicts with it."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS, WINDOW_PLANS, make_case
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args, run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_spine.errors import InputError
from nnunet_spine.geometry import reorient
from nnunet_spine.io.nifti import read_nifti, write_nifti
from nnunet_spine.trainers import TRAINERS, get_recipe, get_trainer

CPU = torch.device("cpu")
SHORT = "2epochs_2iters_1valiters_save1"
SMALL: dict[str, str] = {"GlobalConvTrainer": "width2"}
"""Options that make the network small, for trainers that have such; the others follow the small plans."""

every_trainer = pytest.mark.parametrize("name", list(TRAINERS))


class Killed(Exception):
    """Stands for whatever ends a training in the middle."""


def recipe(name: str, *options: str) -> str:
    return "_".join([name, *filter(None, [SMALL.get(name)]), *options])


def configuration(name: str) -> str:
    return "2d" if TRAINERS[name].recommended == "2d" else "3d_fullres"


def make(name: str, dataset: int, *options: str) -> nnUNetTrainer:
    return get_trainer_from_args(str(dataset), "3d_fullres", 0, recipe(name, *options), PLANS, device=CPU)


@contextlib.contextmanager
def seeded_epochs(killed_before: int | None = None):
    """Seed every epoch by its number, so that an interrupted training can be compared with an uninterrupted one."""
    original = nnUNetTrainer.on_epoch_start

    def on_epoch_start(self):
        if self.current_epoch == killed_before:
            raise Killed
        torch.manual_seed(self.current_epoch)
        np.random.seed(self.current_epoch)  # noqa: NPY002 - nnU-Net draws from the global state
        original(self)

    torch.manual_seed(0)  # of the initial weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnUNetTrainer, "on_epoch_start", on_epoch_start)
        # Exports in processes of their own, which takes seconds; `test_training` has it once.
        patch.setattr(nnUNetTrainer, "perform_actual_validation", lambda self, save_probabilities=False: None)
        yield


def train(name: str, **choices) -> None:
    run_training("1", configuration(name), 0, recipe(name, SHORT), PLANS, device=CPU, **choices)


def final_checkpoint(folder: Path) -> dict:
    return torch.load(folder / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)


@pytest.fixture(scope="module", params=list(TRAINERS))
def trained(request, boxes) -> tuple[str, Path]:
    """Name of a trainer and the folder of a model that it trained without interruption."""
    name = request.param
    with seeded_epochs():
        train(name)
    folder = f"{recipe(name, SHORT)}__{PLANS}__{configuration(name)}"
    return name, boxes / "nnUNet_results" / "Dataset001_Boxes" / folder


def test_trained_by_name_without_mirroring(trained):
    name, folder = trained
    assert recursive_find_trainer_class_by_name(name) is get_trainer(name)
    checkpoint = final_checkpoint(folder)
    assert checkpoint["trainer_name"] == recipe(name, SHORT)
    assert checkpoint["inference_allowed_mirroring_axes"] is None
    losses = checkpoint["logging"]["train_losses"]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_stopped_and_resumed_to_the_same_weights(trained, tmp_path, monkeypatch):
    name, folder = trained
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    with seeded_epochs(killed_before=1), pytest.raises(Killed):
        train(name)
    with seeded_epochs():
        train(name, continue_training=True)
    expected = final_checkpoint(folder)
    resumed = final_checkpoint(tmp_path / folder.parent.name / folder.name)
    for key, value in expected["network_weights"].items():
        torch.testing.assert_close(resumed["network_weights"][key], value, rtol=1e-5, atol=1e-6, msg=key)
    np.testing.assert_allclose(resumed["logging"]["train_losses"], expected["logging"]["train_losses"], rtol=1e-5)


def test_stock_prediction_keeps_the_geometry(trained, tmp_path):
    name, folder = trained
    predictor = nnUNetPredictor(device=CPU, perform_everything_on_device=False, allow_tqdm=False)
    if not TRAINERS[name].predicts_labels:  # it has a predictor of its own
        with pytest.raises(InputError, match=TRAINERS[name].predictor):
            predictor.initialize_from_trained_model_folder(str(folder), (0,))
        return
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
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


@every_trainer
@pytest.mark.parametrize(
    ("dataset", "supported", "message"),
    [(2, "supports_regions", "regions"), (3, "supports_ignore_label", "ignore label")],
)
def test_labels_are_supported_or_refused_as_declared(boxes, name, dataset, supported, message):
    if not getattr(TRAINERS[name], supported):
        with pytest.raises(NotImplementedError, match=rf"{name}.* {message}"):
            make(name, dataset)
        return
    trainer = make(name, dataset, "1epochs_1iters_1valiters")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()


PUBLISHED = {
    "AttentionTrainer_paper": None,
    "ConvLSTMTrainer_paper": 2,
    "ConvLSTMTrainer_paper_dense1_skips0": 2,
    "GlobalConvTrainer_paper_width2": None,
    "GlobalConvTrainer_paper_CE_width2": None,
    "Hybrid2D3DTrainer_paper": None,
    "IterativeInstanceTrainer_paper": None,
    "MobileASPPTrainer_paper": 4,
    "MobileASPPTrainer_paper_resnet18": 4,
    "MobileASPPTrainer_paper_unet": 4,
    "RegionTrainer_paper": None,
}
"""Recipes of publications and of what they compare with, and their batch size where it is stated."""


def test_every_trainer_with_a_publication_is_trained_by_its_recipe():
    assert {name.split("_")[0] for name in PUBLISHED} == {n for n, t in TRAINERS.items() if "paper" in t.presets}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_train(boxes, name):
    short = f"{name}_1epochs_1iters_1valiters"
    window = "window" in str(get_recipe(name).settings.network.from_plans)
    plans = WINDOW_PLANS if window else PLANS
    trainer = get_trainer_from_args("1", configuration(name.split("_")[0]), 0, short, plans, device=CPU)
    planned = trainer.plans_manager.get_configuration(trainer.configuration_name).batch_size
    trainer.run_training()
    batch = next(trainer.dataloader_train)
    assert len(batch["data"]) == (PUBLISHED[name] or planned)
    for key in ("train_losses", "val_losses"):
        assert np.isfinite(trainer.logger.get_value(key, step=None)).all()


@every_trainer
@pytest.mark.parametrize("option", ["", "nods"])
def test_every_trained_parameter_gets_a_gradient(boxes, name, option):
    """DDP insists on it."""
    if option and TRAINERS[name].refusal("network.deep_supervision", False):
        with pytest.raises(InputError, match="one output"):
            get_trainer(f"{name}_{option}")
        return
    trainer = make(name, 1, *filter(None, [option]))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    output = trainer.network(torch.randn(2, trainer.input_channels(1), *trainer.configuration_manager.patch_size))
    assert isinstance(output, list | tuple) == trainer.enable_deep_supervision
    sum(o.sum() for o in (output if trainer.enable_deep_supervision else [output])).backward()
    missing = [n for n, p in trainer.network.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
