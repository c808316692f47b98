"""Trained models: from a folder or one packaged file to nnU-Net's predictor, without running code they may hold."""

import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tiny_models import CARD, tiny_plans, write_tiny_model

from nnunet_spine.errors import InputError
from nnunet_spine.inference.model_cards import Card
from nnunet_spine.inference.model_networks import make_predictor
from nnunet_spine.inference.model_packages import MANIFEST, write_package
from nnunet_spine.inference.model_reading import read_model, shipped_model
from nnunet_spine.io.files import read_json, write_json

CPU = torch.device("cpu")
DATA = torch.linspace(-1, 1, 18 * 17 * 20).reshape(1, 18, 17, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_model(
        tmp_path_factory.mktemp("models") / "nnUNetTrainer__TinyPlans__3d_fullres", folds=("0", "1")
    )


@pytest.fixture(scope="module")
def package(folder) -> Path:
    path = folder.parent / "tiny.zip"
    write_package(read_model(folder), Card.from_json(CARD), path)
    return path


def logits(path: Path | None, **options) -> np.ndarray:
    predictor = make_predictor(read_model(path, **options).only_member(), CPU, allow_tqdm=False)
    return predictor.predict_logits_from_preprocessed_data(DATA).numpy()


def repack(package: Path, target: Path, change=lambda parts: None, *, trusted: bool = True) -> Path:
    """A copy of a package with other content: `change` gets name -> bytes.

    Args:
        trusted: write the checksums that fit.
    """
    with zipfile.ZipFile(package) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    if trusted and MANIFEST in parts:
        manifest = json.loads(parts[MANIFEST])
        for name in manifest["files"]:
            if name in parts:
                manifest["files"][name] = {
                    "bytes": len(parts[name]),
                    "sha256": hashlib.sha256(parts[name]).hexdigest(),
                }
        parts[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target


def change_json(name: str, change):
    """A change of a part that is JSON."""

    def apply(parts: dict[str, bytes]) -> None:
        content = json.loads(parts[name])
        change(content)
        parts[name] = json.dumps(content).encode()

    return apply


# -- one file for a folder ---------------------------------------------------------------------------------------------


def test_package_and_folder_predict_what_stock_nnunet_predicts(folder, package):
    stock = nnUNetPredictor(device=CPU, perform_everything_on_device=False, allow_tqdm=False)
    stock.initialize_from_trained_model_folder(str(folder), None)
    expected = stock.predict_logits_from_preprocessed_data(DATA).numpy()
    np.testing.assert_array_equal(logits(folder), expected)
    np.testing.assert_array_equal(logits(package), expected)


def test_a_model_is_the_same_model_in_each_form(folder, package, tmp_path):
    model = read_model(folder)
    half = tmp_path / "half.zip"
    written = write_package(model, Card.from_json(CARD), half, precision="float16")
    assert read_model(package).sha256 == model.sha256
    assert read_model(half).sha256 == written.sha256 != model.sha256
    assert half.stat().st_size < package.stat().st_size
    np.testing.assert_allclose(logits(half), logits(folder), atol=0.1)
    again = tmp_path / "again.zip"
    write_package(read_model(package), Card.from_json(CARD), again)
    assert again.read_bytes() == package.read_bytes()


def test_identity_tells_name_hash_and_training_data(folder, package):
    packed, bare = read_model(package).identity, read_model(folder).identity
    assert (packed["name"], packed["training_data"]) == ("Tiny", "Nothing: random weights.")
    assert (bare["name"], bare["training_data"]) == (folder.name, "not stated")
    assert packed["sha256"] == bare["sha256"]
    assert packed["members"] == [
        {"role": "main", "trainer": "nnUNetTrainer", "configuration": "3d_fullres", "folds": ["0", "1"]}
    ]


def test_a_package_holds_json_and_weights_each_tensor_once(folder, package):
    with zipfile.ZipFile(package) as archive:
        names, stored = archive.namelist(), safetensors.torch.load(archive.read("main/fold_0.safetensors"))
    expected = ["plans.json", "dataset.json", "dataset_fingerprint.json", "fold_0.safetensors", "fold_1.safetensors"]
    assert names == [MANIFEST, *(f"main/{name}" for name in expected)]
    weights = read_model(folder).only_member().folds["0"]
    different = {(tuple(value.shape), value.numpy().tobytes()) for value in weights.values()}
    assert len(stored) == len(different) < len(weights)


def test_folds_are_chosen(folder, package):
    for path in (folder, package):
        np.testing.assert_array_equal(logits(path, folds=["1"]), logits(folder, folds=["1"]))
        assert list(read_model(path, folds=["fold_0"]).only_member().folds) == ["0"]
        with pytest.raises(InputError, match=r"no fold 4. There is 0, 1"):
            read_model(path, folds=["4"])


def test_the_fold_all_counts_where_it_is_alone(tmp_path):
    both = write_tiny_model(tmp_path / "both", folds=("0", "all"))
    assert list(read_model(both).only_member().folds) == ["0"]
    alone = write_tiny_model(tmp_path / "alone", folds=("all",))
    assert list(read_model(alone).only_member().folds) == ["all"]


def test_checkpoints_have_names(tmp_path, package):
    folder = write_tiny_model(tmp_path / "model", checkpoint="checkpoint_best.pth")
    assert read_model(folder, checkpoint="checkpoint_best.pth").only_member().trainer == "nnUNetTrainer"
    with pytest.raises(InputError, match=r"no fold with checkpoint_final.pth. There is checkpoint_best.pth"):
        read_model(folder)
    with pytest.raises(InputError, match="a package holds one"):
        read_model(package, checkpoint="checkpoint_best.pth")


def test_our_trainers_build_their_own_network(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    folder = write_tiny_model(tmp_path / "model", trainer="ConvLSTMTrainer_skips1", mirroring_axes=None)
    write_package(read_model(folder), Card.from_json(CARD), tmp_path / "m.zip")
    predictor = make_predictor(read_model(tmp_path / "m.zip").only_member(), CPU)
    assert type(predictor.network).__module__.startswith("nnunet_spine.architectures")
    assert predictor.allowed_mirroring_axes is None


def test_without_a_model_the_shipped_one_is_read(package, tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_spine.inference.model_reading.shipped_model", lambda: tmp_path / "starter.zip")
    with pytest.raises(InputError, match="no model comes with this version"):
        read_model()
    (tmp_path / "starter.zip").write_bytes(package.read_bytes())
    assert read_model().name == "Tiny"


@pytest.mark.skipif(not shipped_model().is_file(), reason="no model comes with this version")
def test_the_shipped_model_is_small_and_has_its_card():
    assert shipped_model().stat().st_size <= 10e6
    model = read_model()
    assert model.card.use.startswith("Research only")
    assert shipped_model().with_suffix(".md").read_text(encoding="utf-8").startswith(f"# {model.name}\n")


# -- what is no model --------------------------------------------------------------------------------------------------


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("code ran",))


def test_nothing_pickled_is_run(folder, tmp_path, capsys):
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps(Evil()))
    checkpoint = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": Evil()}, checkpoint)
    with pytest.raises(InputError, match="a pickle, which could run any code"):
        read_model(evil)
    with pytest.raises(InputError, match="a checkpoint of torch, a pickle"):
        read_model(checkpoint)
    bad = write_tiny_model(tmp_path / "bad")
    (bad / "fold_0" / "checkpoint_final.pth").write_bytes(checkpoint.read_bytes())
    with pytest.raises(InputError, match="holds more than weights and numbers"):
        read_model(bad)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or folder"),
        (b"", "no packaged model"),
        (b"some text", "no packaged model"),
        ({"a.txt": b""}, "no model.json in it"),
        ({"model.json": b"[]"}, "no packaged model"),
        ({"model.json": b"{"}, "not readable as JSON"),
        ({"x/fold_0/checkpoint_final.pth": b""}, "an archive of nnU-Net with pickled checkpoints"),
        ({"../model.json": b"{}"}, "a path that leaves the archive"),
        ({"/etc/passwd": b"{}"}, "a path that leaves the archive"),
        ({"..\\model.json": b"{}"}, "a path that leaves the archive"),
    ],
)
def test_other_files_are_refused_with_the_reason(content, message, tmp_path):
    path = tmp_path / "model.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in content.items():
                archive.writestr(name, part)
    with pytest.raises(InputError, match=message) as caught:
        read_model(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_a_file_that_ends_early_says_so(package, tmp_path, share):
    content = package.read_bytes()
    path = tmp_path / "short.zip"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"ends early or is damaged.*Get the file again"):
        read_model(path)


def test_a_changed_byte_anywhere_is_noticed(package, tmp_path):
    content = package.read_bytes()
    path = tmp_path / "changed.zip"
    expected = read_model(package)
    for at in np.random.default_rng(0).integers(0, len(content), 40):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            found = read_model(path)
        except InputError:
            continue
        assert (found.sha256, found.card) == (expected.sha256, expected.card)  # a time or flag of zip's own


HIDDEN = "torch.nn.modules.module.torch.os.abort"  # through a name that a trusted module happens to import


def _set(key, value):
    return lambda content: content.__setitem__(key, value)


def _of_first_member(key, value):
    return lambda content: content["members"][0].__setitem__(key, value)


def _architecture(key, value):
    return lambda plans: plans["configurations"]["3d_fullres"]["architecture"].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_json(MANIFEST, _set("version", 2)), "format version 2; expected 1"),
        (change_json(MANIFEST, _set("format", "other")), "no packaged model"),
        (change_json(MANIFEST, _set("members", [])), "no members"),
        (change_json(MANIFEST, _set("members", None)), "no members"),
        (change_json(MANIFEST, _set("files", [1])), "no checksums"),
        (change_json(MANIFEST, _set("card", {"name": "x"})), "without licence, training_data"),
        (change_json(MANIFEST, _set("sha256", "0")), "is not the model that it says it is"),
        (change_json(MANIFEST, _of_first_member("role", "../..")), "role '../..'"),
        (change_json(MANIFEST, _of_first_member("trainer", "os.system")), "trainer 'os.system'"),
        (change_json(MANIFEST, _of_first_member("folds", ["0", "7"])), "fold_7.safetensors is missing"),
        (change_json(MANIFEST, _of_first_member("folds", ["0"])), "'main/fold_1.safetensors', which is no part"),
        (change_json(MANIFEST, _of_first_member("mirroring_axes", [3])), "mirroring axes"),
        (change_json(MANIFEST, _of_first_member("configuration", "2d")), "plans without configuration 2d"),
        (lambda parts: parts.update({"main/code.pkl": b""}), "'main/code.pkl', which is no part of a model"),
        (lambda parts: parts.pop("main/plans.json"), "main/plans.json is missing"),
        (lambda parts: parts.update({"main/plans.json": b"[]"}), "main/plans.json is no JSON object"),
        (lambda parts: parts.update({"main/fold_0.safetensors": b"abc"}), "holds no weights"),
        (change_json("main/dataset.json", _set("labels", 3)), "dataset.json without labels"),
        (change_json("main/plans.json", _set("dataset_name", "../../x")), "dataset_name '../../x'"),
        (change_json("main/plans.json", _architecture("network_class_name", "subprocess.Popen")), "subprocess.Popen"),
        (
            change_json(
                "main/plans.json", _architecture("network_class_name", "torch.nn.modules.module.torch.os.abort")
            ),
            "os.abort', no network",
        ),
    ],
)
def test_packages_with_something_wrong_are_refused(package, tmp_path, change, message):
    path = repack(package, tmp_path / "model.zip", change)
    with pytest.raises(InputError, match=message) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def test_a_wrong_checksum_is_named(package, tmp_path):
    def change(parts: dict[str, bytes]) -> None:
        parts["main/fold_1.safetensors"] = parts["main/fold_0.safetensors"]

    path = repack(package, tmp_path / "model.zip", change, trusted=False)
    with pytest.raises(InputError, match=r"wrong checksum of main/fold_1.safetensors"):
        read_model(path)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    other = write_tiny_model(tmp_path / "other")
    plans = tiny_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 12]
    write_json(other / "plans.json", plans)
    with pytest.raises(InputError, match=r"weights of fold 0 are of another network"):
        make_predictor(read_model(other).only_member(), CPU)


def test_a_trainer_that_is_not_here_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    folder = write_tiny_model(tmp_path / "model")
    file = folder / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(file, weights_only=False), "trainer_name": "StrangeTrainer"}, file)
    with pytest.raises(InputError, match=r"StrangeTrainer, a trainer that is not here"):
        make_predictor(read_model(folder).only_member(), CPU)


def test_float16_refuses_weights_beyond_it(tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    file = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    next(iter(content["network_weights"].values())).data[0] = 1e6
    torch.save(content, file)
    with pytest.raises(InputError, match="beyond what float16 holds"):
        write_package(read_model(folder), Card.from_json(CARD), tmp_path / "m.zip", precision="float16")
    assert not (tmp_path / "m.zip").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": ""}, "a card without licence"),
        ({"colour": "red"}, "unknown entry 'colour'"),
        ({"seeds": {"a": "b"}}, "'seeds' of the card"),
        ({"limits": "all"}, "'limits' of the card"),
        ({"figures": [{"measure": "Dice"}]}, "'figures' of the card"),
        ({"name": 3}, "'name' of the card"),
    ],
)
def test_cards_with_something_wrong_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Card.from_json({**CARD, **change}, "card.json")


def test_a_card_goes_to_json_and_back():
    card = Card.from_json(CARD)
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_files_of_a_folder_are_json_as_written(folder):
    assert read_json(folder / "plans.json") == read_model(folder).only_member().plans
