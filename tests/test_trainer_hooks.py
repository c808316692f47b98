"""What a trainer of one's own can change, what a checkpoint holds, which trainings are refused, what a seed fixes."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunet_dataset import PLANS
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine import cli
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.trainers import get_trainer
from nnunet_spine.training.base import ADDED
from nnunet_spine.training.preconditions import check_fold
from nnunet_spine.training.validation import validate_in_shares

CPU = torch.device("cpu")
SHORT = "1epochs_2iters_1valiters"
pytestmark = pytest.mark.usefixtures("boxes")


def make(recipe: str, fold: int | str = 0, plans: str = PLANS, configuration: str = "2d"):
    return get_trainer_from_args("1", configuration, fold, recipe, plans, device=CPU)


class Memory(BasicTransform):
    """Appends a channel with what was found before, and makes what is still to be found the target."""

    def apply(self, data_dict, **params):
        labels = data_dict["segmentation"][:1]
        found = (labels == 1).float()
        data_dict["image"] = torch.cat([data_dict["image"], found])
        data_dict["segmentation"] = (labels > 1).to(labels.dtype)
        return data_dict


class Iterative(get_trainer(f"SpineTrainer_nods_DiceCE_{SHORT}")):
    """One vertebra after the other: a memory channel in, two channels out."""

    @classmethod
    def input_channels(cls, image_channels):
        return image_channels + 1

    @classmethod
    def output_channels(cls, labels):
        return 2

    def last_transforms(self, *, training):
        return [Memory()]

    def case_validation(self):
        return lambda case: {"case3": 0.25}[case]

    def state_to_save(self):
        return {**super().state_to_save(), "found": [1, 2]}

    def restore_state(self, state):
        super().restore_state(state)
        self.found = state["found"]


def iterative(boxes: Path) -> Iterative:
    folder = boxes / "nnUNet_preprocessed" / "Dataset001_Boxes"
    plans = {**read_json(folder / f"{PLANS}.json"), "continue_training": False}
    return Iterative(plans, "2d", 0, read_json(folder / "dataset.json"), CPU)


def test_an_iterative_trainer_needs_only_the_hooks(boxes):
    trainer = iterative(boxes)
    trainer.run_training()
    batch = next(trainer.dataloader_train)
    assert batch["data"].shape[1] == 2
    assert next(trainer.dataloader_val)["data"].shape[1] == 2
    assert set(batch["target"].unique().tolist()) <= {0, 1}
    assert trainer.network(batch["data"]).shape[1] == 2
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
    trainer.perform_actual_validation()
    assert "Mean score of 1 validation cases: 0.2500" in Path(trainer.log_file).read_text(encoding="utf-8")

    resumed = iterative(boxes)
    resumed.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    assert resumed.found == [1, 2]


def test_a_checkpoint_is_written_once_and_whole_or_not_at_all(monkeypatch):
    trainer = make(f"SpineTrainer_{SHORT}")
    trainer.initialize()
    file = Path(trainer.output_folder) / "checkpoint_latest.pth"
    writes = []
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, target: (writes.append(target), save(content, target)))
    trainer.save_checkpoint(str(file))
    assert len(writes) == 1
    before = file.read_bytes()
    assert torch.load(file, weights_only=False)["init_args"][ADDED] == {}

    def fail(content, target):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space"):
        trainer.save_checkpoint(str(file))
    assert file.read_bytes() == before


def test_before_training_it_says_that_a_step_takes_more_memory_than_planned(monkeypatch):
    trainer = make(f"ConvLSTMTrainer_bi_{SHORT}")
    monkeypatch.setattr(trainer, "device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(nnUNetTrainer, "initialize", lambda self: None)
    trainer.network, trainer.num_input_channels = torch.nn.Identity(), 1
    trainer.plans_manager.plans["gpu_memory_gb"] = 1e-3
    trainer.initialize()
    assert "memory: a step takes about" in Path(trainer.log_file).read_text(encoding="utf-8")


@pytest.mark.parametrize("fold", [1, 4, -1])
def test_a_fold_that_the_split_does_not_define_is_refused(fold):
    trainer = make(f"SpineTrainer_{SHORT}", fold=fold)
    with pytest.raises(InputError, match=rf"splits_final.json: fold {fold} .* fold 0 only.*Train one of these"):
        trainer.initialize()
    with pytest.raises(InputError, match="80:20"):
        trainer.do_split()


class TestFolds:
    """Of files made up here; see also above."""

    split: ClassVar[list] = [{"train": ["a", "b"], "val": ["c"]}]

    def test_without_a_file_nnunet_makes_five(self, tmp_path):
        assert check_fold(4, tmp_path) == []
        with pytest.raises(InputError, match="folds 0 to 4"):
            check_fold(5, tmp_path)

    def test_the_cases_of_a_fold(self, tmp_path):
        write_json(tmp_path / "splits_final.json", self.split)
        assert check_fold(0, tmp_path) == ["a", "b", "c"]
        assert check_fold("all", tmp_path) == []

    def test_the_raw_dataset_may_have_fewer_folds_but_no_others(self, tmp_path):
        here, raw = tmp_path / "preprocessed", tmp_path / "raw"
        write_json(here / "splits_final.json", [{"train": ["b", "a"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}])
        write_json(raw / "splits_final.json", self.split)
        assert check_fold(1, here, raw) == ["c", "a"]
        assert check_fold(0, here, raw) == ["b", "a", "c"]
        write_json(raw / "splits_final.json", [{"train": ["a", "c"], "val": ["b"]}])
        with pytest.raises(InputError, match=r"preprocessed/splits_final\.json: fold 0 differs from that of .*raw/"):
            check_fold(0, here, raw)

    def test_a_split_that_planning_has_not_seen(self, tmp_path):
        write_json(tmp_path / "raw" / "splits_final.json", self.split)
        with pytest.raises(InputError, match=r"fold 0 is missing here; .*raw/splits_final\.json defines it"):
            check_fold(0, tmp_path / "preprocessed", tmp_path / "raw")
        with pytest.raises(InputError, match="fold 0 only"):
            check_fold(1, tmp_path / "preprocessed", tmp_path / "raw")


def test_plans_without_preprocessed_cases_say_what_to_run(boxes, tmp_path, monkeypatch):
    folder = boxes / "nnUNet_preprocessed" / "Dataset001_Boxes"
    plans = read_json(folder / f"{PLANS}.json")
    plans["plans_name"] = "NewPlans"
    plans["configurations"]["2d"]["data_identifier"] = "NewPlans_2d"
    write_json(folder / "NewPlans.json", plans)
    trainer = make(f"SpineTrainer_{SHORT}", plans="NewPlans")
    run = "Run nnUNetv2_preprocess -d 1 -plans_name NewPlans -c 2d"
    with pytest.raises(InputError, match=f"all cases .* are not preprocessed. {run}"):
        trainer.initialize()
    for case in ("case0", "case2", "case3"):
        (tmp_path / f"{case}.b2nd").touch()
    monkeypatch.setattr(trainer, "preprocessed_dataset_folder", str(tmp_path))
    with pytest.raises(InputError, match=rf"1 cases of the fold \(case1, \.\.\.\) .* are not preprocessed. {run}"):
        trainer.initialize()


def test_a_name_too_long_for_a_folder_is_refused_before_anything_is_made(boxes):
    words = "SGD_DiceFocalTversky_skips2_bi_hidden25_dense3_checkpointing_lr1e-3_constant_100epochs_50iters_5valiters"
    recipe = f"ConvLSTMTrainer_{words}_save5_batch4_seed12345_nods_adversarial_eps0p05_nocompile_noaug"
    made = get_trainer(recipe)
    same = "Write ConvLSTMTrainer_DiceFocalTversky_skips2_.*_fgsm_.*, which is the same"
    for length, cure in ((60, same), (99, "Leave out")):
        with pytest.raises(InputError, match=rf"name of 2\d\d bytes; file systems allow 255\. {cure}"):
            made({"plans_name": "P" * length, "continue_training": False}, "3d_fullres", 0, {}, CPU)


def test_processes_share_the_final_validation(monkeypatch):
    """Each takes every second case and learns the scores of the others."""
    lines, scored = [], []
    trainer = SimpleNamespace(
        network=torch.nn.Identity(),
        do_split=lambda: ([], ["a", "b", "c"]),
        is_ddp=True,
        print_to_log_file=lines.append,
        logger=SimpleNamespace(log_summary=lambda key, value: lines.append((key, value))),
    )

    def all_gather_object(shares, mine):
        shares[:] = [{"a": 1.0, "c": 0.5}, mine]

    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", all_gather_object)
    scores = validate_in_shares(trainer, lambda case: scored.append(case) or 0.0)
    assert scored == ["b"]
    assert scores == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert ("final_val/foreground_dice", 0.5) in lines


def trained(seed: str, workers: int, monkeypatch) -> dict[str, torch.Tensor]:
    monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
    torch.manual_seed(int.from_bytes(np.random.default_rng().bytes(4), "big"))
    trainer = make(f"SpineTrainer_{seed}_2epochs_2iters_1valiters")
    trainer.run_training()
    return trainer.network.state_dict()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_fixes_weights_and_patches(workers, monkeypatch, request):
    # as nnU-Net's command does before it starts workers: a forked one waits for ever for the threads of its parent
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    first, again, other = (trained(seed, workers, monkeypatch) for seed in ("seed3", "seed3", "seed4"))
    for name, value in first.items():
        torch.testing.assert_close(value, again[name], rtol=0, atol=0)
    assert any((value != other[name]).any() for name, value in first.items())


def test_a_seeded_training_goes_on_as_if_it_had_not_been_stopped(monkeypatch):
    """Without workers: they start anew."""
    expected = trained("seed3", 0, monkeypatch)
    recipe = "SpineTrainer_seed3_2epochs_2iters_1valiters_save1"
    start = nnUNetTrainer.on_epoch_start

    def killed(self):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        start(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(nnUNetTrainer, "on_epoch_start", killed)
        make(recipe).run_training()
    resumed = make(recipe)
    resumed.load_checkpoint(str(Path(resumed.output_folder) / "checkpoint_latest.pth"))
    resumed.run_training()
    for name, value in expected.items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=1e-5, atol=1e-6)


class TestCheckWithPlans:
    """`nnunet-spine trainers NAME -d DATASET` says what training would."""

    def check(self, capsys, *arguments: str) -> tuple[int, str]:
        code = cli.main(["trainers", *arguments])
        return code, capsys.readouterr().err

    def test_what_can_train(self, capsys):
        code, said = self.check(capsys, "GlobalConvTrainer_width2", "-d", "1", "-p", PLANS)
        assert code == 0
        assert "GlobalConvTrainer_width2 can train dataset 1 with TestPlans" in said

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("ConvLSTMTrainer_skips9", ["-d", "1"], "ConvLSTMUNet does not fit these plans: n_convlstm_skips must be"),
            ("AttentionTrainer", ["-d", "1", "-c", "2d"], "its maps are three-dimensional. Train 3d_fullres"),
            ("GlobalConvTrainer", ["-d", "1", "-c", "2d"], "a 2d configuration lacks"),
            ("AttentionTrainer", ["-d", "2"], "AttentionTrainer cannot train on regions"),
            ("MobileASPPTrainer_separation", ["-d", "2"], "regions, which are not separate from each other"),
            ("SpineTrainer", ["-d", "1", "-c", "3d_lowres"], "no configuration '3d_lowres'. There is 2d, 3d_fullres"),
            ("SpineTrainer", ["-d", "1", "-p", "NoPlans"], "no such plans"),
            ("SpineTrainer", ["-d", "77"], "no dataset '77'"),
        ],
    )
    def test_what_cannot(self, capsys, name, arguments, message):
        code, said = self.check(capsys, name, "-p", PLANS, *arguments)
        assert code == 2
        assert message in said
        assert said.count("\n") == 1

    def test_a_dataset_without_a_trainer(self, capsys):
        assert self.check(capsys, "-d", "1")[0] == 2
