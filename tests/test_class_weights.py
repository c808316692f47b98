"""Class weights: from counts by hand, counted once per training, stored in the checkpoint and restored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_spine.errors import InputError
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.base import ADDED, BaseTrainer
from nnunet_spine.training.class_weights import count_labels, region_counts, weights_from_counts

SHORT = "2epochs_1iters_1valiters_save1"


def test_labels_are_counted_over_all_cases():
    cases = [np.array([[[0, 1, 1], [-1, 3, 0]]], np.int8), np.array([[[3, 3]], [[9, 0]]], np.int16)]
    assert count_labels(cases, 5).tolist() == [3, 2, 0, 3, 0]
    assert count_labels([], 2).tolist() == [0, 0]


def test_a_region_has_the_voxels_of_its_labels():
    assert region_counts(np.array([7, 1, 2, 4]), [(1, 2, 3), (2, 3), 3]).tolist() == [7, 6, 4]


def test_weights_are_inverse_square_roots_of_mean_one():
    # 1/sqrt: 0.1, 0.2, 0.5 with mean 0.8 / 3
    np.testing.assert_allclose(weights_from_counts(np.array([100, 25, 4])), [0.375, 0.75, 1.875])


def test_unseen_classes_weigh_one_and_do_not_enter_the_mean():
    np.testing.assert_allclose(weights_from_counts(np.array([100, 0, 25, 4])), [0.375, 1, 0.75, 1.875])
    assert weights_from_counts(np.zeros(3)) == (1, 1, 1)


def test_weights_are_clipped():
    weights = weights_from_counts(np.array([10**9, *[10**6] * 20, 1]))
    assert weights[0] == 0.1
    assert weights[-1] == 10


def make(*options: str, dataset: int = 1, name: str = "SpineTrainer", resume: bool = False) -> BaseTrainer:
    recipe = "_".join([name, *(options or ["WeightedEdgeNLL"]), SHORT])
    return get_trainer_from_args(str(dataset), "3d_fullres", 0, recipe, PLANS, resume, device=torch.device("cpu"))


def losses(trainer: BaseTrainer) -> list:
    return [module for module in trainer.loss.modules() if hasattr(module, "class_weights")]


def test_counted_once_stored_and_restored(boxes, monkeypatch):
    trainer = make()
    trainer.initialize()
    assert trainer.class_weights is None
    trainer.on_train_start()
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    data = [np.asarray(trainer.dataloader_train.data_loader._data.load_case(f"case{i}")[1]) for i in range(3)]
    labels = np.concatenate([d.ravel() for d in data])
    counts = np.array([(labels == label).sum() for label in range(4)])
    expected = (1 / np.sqrt(counts)) / (1 / np.sqrt(counts)).mean()
    np.testing.assert_allclose(trainer.class_weights, expected)
    assert [loss.class_weights for loss in losses(trainer)] == [trainer.class_weights]
    assert "class weights: [" in Path(trainer.log_file).read_text(encoding="utf-8")

    monkeypatch.setattr(BaseTrainer, "_count_class_weights", lambda self: pytest.fail("counted again"))
    resumed = make(resume=True)
    resumed.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    resumed.on_train_start()
    assert resumed.class_weights == trainer.class_weights
    assert [loss.class_weights for loss in losses(resumed)] == [trainer.class_weights]


def test_checkpoints_stay_readable_for_stock_nnunet(boxes):
    trainer = make("DiceWeightedEdgeNLL")
    trainer.on_train_start()
    file = Path(trainer.output_folder) / "checkpoint_final.pth"
    trainer.save_checkpoint(str(file))
    checkpoint = torch.load(file, weights_only=False)
    assert checkpoint["trainer_name"] == trainer.__class__.__name__
    assert checkpoint["init_args"][ADDED] == {"class_weights": trainer.class_weights}
    assert sorted(path.name for path in file.parent.glob("checkpoint*")) == ["checkpoint_final.pth"]


def test_regions_and_ignored_voxels(boxes):
    regions = make(dataset=2)
    regions.on_train_start()
    assert len(regions.class_weights) == 3
    assert regions.class_weights[0] < regions.class_weights[1] < regions.class_weights[2]  # larger regions weigh less
    ignoring = make(dataset=3)
    ignoring.on_train_start()
    assert len(ignoring.class_weights) == 4


def test_no_counting_for_other_losses(boxes, monkeypatch):
    monkeypatch.setattr(BaseTrainer, "_count_class_weights", lambda self: pytest.fail("counted"))
    trainer = make("Dice")
    trainer.on_train_start()
    assert trainer.class_weights is None


@pytest.mark.parametrize("preset", ["nnunet", "paper", "paper_flips", "paper_separation"])
def test_mobile_aspp_trains_by_its_presets(boxes, preset):
    trainer = make(preset, name="MobileASPPTrainer")
    trainer.on_train_start()
    transforms = str(trainer.dataloader_train.data_loader.transforms)
    assert ("AffineTransform" in transforms) == (preset != "nnunet")
    assert ("MirrorTransform" in transforms) == ("flips" in preset)
    assert trainer.inference_allowed_mirroring_axes is None
    batch = next(trainer.dataloader_train)
    assert batch["data"].shape[2:] == batch["target"].shape[2:] == (32, 32, 32)
    assert batch["target"].shape[1] == (2 if "separation" in preset else 1)
    assert np.isfinite(trainer.train_step(batch)["loss"])
    network = trainer.network
    if preset != "nnunet":
        # nnU-Net's clipping bounds become -1 and 1
        properties = trainer.plans_manager.foreground_intensity_properties_per_channel["0"]
        bounds = [(properties[f"percentile_{p}"] - properties["mean"]) / properties["std"] for p in ("00_5", "99_5")]
        scaled = network.rescale(torch.tensor(bounds, dtype=torch.float32).view(1, 1, 2, 1, 1))
        torch.testing.assert_close(scaled.flatten(), torch.tensor([-1.0, 1.0]))


def test_the_paper_preset_needs_ct(boxes):
    trainer = make("paper", name="MobileASPPTrainer")
    trainer.plans_manager.plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["ZScoreNormalization"]
    with pytest.raises(InputError, match="ZScoreNormalization"):
        trainer.initialize()


def test_separation_needs_a_loss_with_weights_and_separate_labels(boxes):
    with pytest.raises(InputError, match="Leave out 'separation'"):
        get_trainer("MobileASPPTrainer_Dice_separation")
    with pytest.raises(InputError, match=r"regions, which are not separate from each other.*eave out the option"):
        make("separation", dataset=2, name="MobileASPPTrainer").initialize()
