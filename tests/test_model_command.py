"""`nnunet-spine model`: a trained model as one file, and back as nnU-Net's folder."""

import json

import numpy as np
import pytest
import torch
from nnunet_dataset import write_dataset
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from tiny_models import CARD, write_tiny_model

from nnunet_spine import cli
from nnunet_spine.inference.model_networks import build_network
from nnunet_spine.inference.model_reading import read_model
from nnunet_spine.io.files import read_json, write_json

CPU = torch.device("cpu")
NAME = "SpineTrainer__TinyPlans__3d_fullres"


@pytest.fixture
def packed(tmp_path, nnunet_folders, capsys):
    """A model folder and its package; another dataset is in nnUNet_raw."""
    write_dataset(nnunet_folders["nnUNet_raw"], 1)
    folder = write_tiny_model(tmp_path / "trained" / NAME, trainer="SpineTrainer", mirroring_axes=None)
    write_json(tmp_path / "card.json", CARD)
    pack = ["model", "pack", "-m", str(folder), "--card", str(tmp_path / "card.json"), "-o", str(tmp_path / "m.zip")]
    assert cli.main(pack) == 0
    assert "MB, sha256" in capsys.readouterr().out
    return folder, tmp_path / "m.zip"


def test_pack_writes_the_card_beside_and_show_prints_it(packed, capsys):
    folder, package = packed
    page = package.with_suffix(".md").read_text(encoding="utf-8")
    assert cli.main(["model", "show", str(package)]) == 0
    assert capsys.readouterr().out == page
    for line in (
        "# Tiny",
        "**Research only. Not a medical device: not for diagnosis or treatment.**",
        "Licence: CC0-1.0",
        "Nothing: random weights.",
        "| Dice | nothing | 0 |",
        "| weights | 0 |",
        "- everything",
        "| Spacing | 2 x 2 x 2 mm |",
        "| Labels | 2: L1, L2 |",
        "| Mirroring at prediction | none |",
    ):
        assert line in page.splitlines()
    assert cli.main(["model", "show", str(package), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sha256"] == read_model(folder).sha256
    assert shown["card"]["seeds"] == {"weights": 0}
    assert cli.main(["model", "show", str(folder)]) == 0
    assert "Licence: not stated" in capsys.readouterr().out


def test_an_installed_model_is_the_same_to_nnunet_and_to_us(packed, nnunet_folders, capsys, monkeypatch):
    folder, package = packed
    assert cli.main(["model", "install", str(package)]) == 0
    installed = nnunet_folders["nnUNet_results"] / "Dataset009_Tiny" / NAME
    assert f"Tiny in {installed}" in capsys.readouterr().out
    assert read_model(installed).sha256 == read_model(package).sha256
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        assert read_json(installed / name) == read_json(folder / name)
    assert (installed / "card.md").read_text(encoding="utf-8") == package.with_suffix(".md").read_text("utf-8")
    from nnunet_spine.io.environment import ext_trainer_value

    monkeypatch.setenv("nnUNet_extTrainer", ext_trainer_value(None))
    data, logits = torch.rand(1, 16, 16, 16), []
    for model in (folder, installed):
        predictor = nnUNetPredictor(device=CPU, perform_everything_on_device=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model), (0,))
        logits.append(predictor.predict_logits_from_preprocessed_data(data).numpy())
    np.testing.assert_array_equal(*logits)
    assert cli.main(["model", "install", str(package)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_training_can_start_from_the_weights(packed, nnunet_folders, capsys):
    _, package = packed
    assert cli.main(["model", "install", str(package), "--plans-for", "1"]) == 0
    printed = capsys.readouterr().out
    plans_file = nnunet_folders["nnUNet_preprocessed"] / "Dataset001_Boxes" / "TinyPlans.json"
    member = read_model(package).only_member()
    assert read_json(plans_file) == {**member.plans, "dataset_name": "Dataset001_Boxes"}
    assert (plans_file.parent / "dataset.json").is_file()
    checkpoint = printed.split("-pretrained_weights ")[1].strip()
    assert f"nnUNetv2_train 1 3d_fullres 0 -p TinyPlans -tr SpineTrainer -pretrained_weights {checkpoint}" in printed
    network = build_network(member)
    trained = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    load_pretrained_weights(network, checkpoint)
    for name, value in network.state_dict().items():
        expected = torch.zeros_like(value) if ".seg_layers." in name else trained[name]
        torch.testing.assert_close(value, expected)


def test_plans_of_the_same_name_are_not_replaced(packed, nnunet_folders, capsys):
    _, package = packed
    plans_file = nnunet_folders["nnUNet_preprocessed"] / "Dataset001_Boxes" / "TinyPlans.json"
    write_json(plans_file, {"plans_name": "TinyPlans"})
    assert cli.main(["model", "install", str(package), "--plans-for", "1"]) == 2
    assert "other plans of this name are there" in capsys.readouterr().err
    assert read_json(plans_file) == {"plans_name": "TinyPlans"}
    assert not list(nnunet_folders["nnUNet_results"].iterdir())


def test_a_number_that_is_taken_is_said(packed, nnunet_folders, capsys):
    _, package = packed
    (nnunet_folders["nnUNet_raw"] / "Dataset009_Other").mkdir()
    assert cli.main(["model", "install", str(package)]) == 2
    assert "belongs to Dataset009_Other as well" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "missing.zip"], "no such file or folder"),
        (["install", "trained"], "no such file"),
        (["pack", "-m", "missing", "--card", "card.json", "-o", "x.zip"], "no such file or folder"),
        (["pack", "-m", f"trained/{NAME}", "--card", "none.json", "-o", "x.zip"], "none.json"),
        (["pack", "-m", f"trained/{NAME}", "--card", "card.json", "-o", "x.zip", "-f", "3"], "no fold 3"),
    ],
)
def test_mistakes_are_one_line(packed, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["model", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("x.*"))
