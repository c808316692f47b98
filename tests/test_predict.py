"""`predict`: from scans in any format to named vertebrae, whatever else lies in the folder, interrupted or not."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from banded_model import spine_ct, write_banded_model, write_scan

from benchmarks.endurance import results
from nnunet_spine.anatomy import dataset_labels
from nnunet_spine.cli import main
from nnunet_spine.inference.model_folders import read_checkpoint
from nnunet_spine.io.itk import read_itk, write_itk
from nnunet_spine.io.masks import read_mask
from nnunet_spine.io.nifti import write_nifti

LEVELS = ["T11", "T12", "L1", "L2", "L3"]
VERSE = {0, 18, 19, 20, 21, 22}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_banded_model(tmp_path_factory.mktemp("model") / "nnUNetTrainer__TinyPlans__3d_fullres")


@pytest.fixture(scope="module")
def predict(model):
    """Runs the command with the model; returns its exit code."""

    def run(scans, out, *options, model=model) -> int:
        return main(
            ["predict", "-i", str(scans), "-o", str(out), "-m", str(model), "-device", "cpu", *map(str, options)]
        )

    return run


def report(out: Path, case: str) -> dict:
    return json.loads((out / "reports" / f"{case}.json").read_text(encoding="utf-8"))


def table(out: Path) -> dict[str, dict]:
    with (out / "predict.csv").open(encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def predicted(predict, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """One scan, predicted with everything there is: the folder of results, and the true labels."""
    root = tmp_path_factory.mktemp("predicted")
    labels = write_scan(root / "scans" / "case_0000.nii.gz")
    assert predict(root / "scans", root / "out") == 0
    return root / "out", labels


def test_every_file_of_a_case_is_there(predicted):
    out, _ = predicted
    wanted = [
        "case.nii.gz", "reports/case.json", "pictures/case.png", "centroids/case.csv", "centroids/body/case.json",
        "centroids/mask/case.json", "markups/case_body.mrk.json", "markups/case_mask.mrk.json",
    ]  # fmt: skip
    assert sorted(report(out, "case")["files"]) == sorted(wanted)
    assert all((out / name).stat().st_size > 50 for name in wanted)
    assert (out / "labels.json").is_file() and not list(out.rglob(".partial*"))


def test_label_map_has_the_scans_grid_and_verse_ids(predicted):
    out, labels = predicted
    written, scan = nib.load(out / "case.nii.gz"), nib.load(out.parent / "scans" / "case_0000.nii.gz")
    assert np.array_equal(written.affine, scan.affine) and written.shape == scan.shape
    verse = np.array([0, *range(1, 26), 28])[labels]
    assert np.array_equal(np.asanyarray(written.dataobj), verse)


def test_report_says_what_was_found_and_how(predicted):
    out, _ = predicted
    content = report(out, "case")
    assert content["levels"] == LEVELS and content["spine_found"]
    (flag,) = content["flags"]  # neither ribs nor a sacrum are in view
    assert flag == f"names may be shifted as a whole: {content['ambiguous']}"
    assert content["boundaries"] == ["T/L"] and content["probability_all_right"] > 0.9
    assert len(content["model"]["sha256"]) == 64 and {"nnunetv2", "torch"} <= content["versions"].keys()
    assert {"reading", "preprocessing", "network", "export", "naming", "all"} == content["seconds"].keys()
    l1 = content["vertebrae"][2]
    assert (l1["name"], l1["value"], l1["volume_ml"]) == ("L1", 20, 20.48)
    assert l1["body_hu"]["mean"] == 1000 and l1["body_hu"]["sd"] == 0
    assert [round(l1["height"][f"{where}_mm"]) for where in ("anterior", "middle", "posterior")] == [20, 20, 20]
    assert l1["body_mm"] == l1["mask_mm"] == [-1, -73, 129]
    assert 0 < l1["margin"] <= l1["probability"] <= 1


def test_centres_are_the_same_in_all_files(predicted):
    out, labels = predicted
    with (out / "centroids" / "case.csv").open(encoding="utf-8") as file:
        rows = {row["level"]: row for row in csv.DictReader(file)}
    world = [float(rows["L1"][f"body_{axis}_mm"]) for axis in "xyz"]
    assert world == [-1, -73, 129] and rows["L1"]["verse_id"] == "20"
    markup = json.loads((out / "markups" / "case_body.mrk.json").read_text(encoding="utf-8"))["markups"][0]
    point = markup["controlPoints"][2]
    assert markup["coordinateSystem"] == "LPS" and (point["label"], point["position"]) == ("L1", [1, 73, 129])
    direction, *points = json.loads((out / "centroids" / "body" / "case.json").read_text(encoding="utf-8"))
    assert direction == {"direction": ["R", "A", "S"]}
    middle = np.argwhere(labels == 20).mean(0)
    assert {"label": 20, **dict(zip("XYZ", middle, strict=True))} in points


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_formats_come_back_as_they_came(predict, tmp_path, ending):
    image, labels, affine = spine_ct(names=("T12", "L1", "L2"))
    turn = np.array([[-0.98, 0.199, 0], [-0.199, -0.98, 0], [0, 0, 1]])  # oblique, to the left and back
    affine[:3, :3] = turn / np.linalg.norm(turn, axis=0) * 2.0
    scan = tmp_path / "scans" / f"a{ending}"
    write_nifti(scan, image, affine) if ending == ".nii" else write_itk(scan, image, affine)
    assert predict(scan, tmp_path / "out", "--ids", "nnunet", "--no-pictures") == 0
    result = tmp_path / "out" / f"a{ending}"
    assert np.array_equal(read_mask(result).labels, labels)
    if ending == ".nii":
        assert np.array_equal(nib.load(result).affine, nib.load(scan).affine)
    else:
        first, second = (SimpleITK.ReadImage(str(path)) for path in (scan, result))
        for what in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
            assert np.allclose(getattr(first, what)(), getattr(second, what)(), atol=1e-12)
    assert not (tmp_path / "out" / "pictures").exists()


def test_a_cohort_goes_on_whatever_is_wrong_with_some(predict, tmp_path, capsys):
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_scan(scans / "a.nii.gz")
    whole = (scans / "a.nii.gz").read_bytes()
    (scans / "b_ends_early.nii.gz").write_bytes(whole[: len(whole) * 2 // 3])
    image, labels, affine = spine_ct()
    write_nifti(scans / "c_4d.nii.gz", np.stack([image] * 2, -1), affine)
    write_nifti(scans / "d_offset.nii.gz", image + 1024, affine)
    (scans / "e_text.nrrd").write_text("no image", encoding="utf-8")
    write_nifti(scans / "f_only_nan.nii.gz", np.full(image.shape, np.nan, np.float32), affine)
    nan = image.astype(np.float32)
    nan[:, :, :3], nan[0, 0, 5] = np.nan, np.inf
    write_nifti(scans / "g_nan.nii.gz", nan, affine)
    write_nifti(scans / "h_leg.nii.gz", np.where(labels > 0, 40, image).astype(np.int16), affine)
    write_nifti(scans / "i_air.nii.gz", np.full(image.shape, -1000, np.int16), affine)
    assert predict(scans, out) == 1
    captured = capsys.readouterr()
    messages = {
        "b_ends_early": "damaged", "c_4d": "4-D image", "d_offset": "HU + 1024", "e_text": "damaged",
        "f_only_nan": "no voxel is a finite number",
    }  # fmt: skip
    for case, message in messages.items():
        (line,) = [line for line in captured.err.splitlines() if line.startswith(f"nnunet-spine predict: {case}: ")]
        assert message in line or "truncated" in line or "no readable header" in line
        assert not list(out.glob(f"{case}*")) and not list(out.rglob(f"{case}.png"))
    assert "4 of 9 scans, 10 vertebrae" in captured.out
    rows = table(out)
    assert rows["a"]["levels"].split() == rows["g_nan"]["levels"].split() == LEVELS
    assert "voxels set to -1000" in rows["g_nan"]["flags"]
    for case in ("h_leg", "i_air"):
        assert rows[case]["flags"].endswith("no spine found") and f"{case}: no spine found" in captured.err
        assert not read_mask(out / f"{case}.nii.gz").labels.any()
        assert report(out, case)["spine_found"] is False
        assert len(json.loads((out / "centroids" / "mask" / f"{case}.json").read_text(encoding="utf-8"))) == 1


def test_no_spine_is_no_failure(predict, tmp_path, capsys):
    image, labels, affine = spine_ct()
    write_nifti(tmp_path / "leg.nii.gz", np.where(labels > 0, 40, image).astype(np.int16), affine)
    assert predict(tmp_path / "leg.nii.gz", tmp_path / "out") == 0
    assert "leg: no spine found" in capsys.readouterr().err


def test_values_that_are_no_hu_are_taken_only_when_told(predict, tmp_path):
    image, _, affine = spine_ct()
    write_nifti(tmp_path / "a.nii.gz", image + 1024, affine)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--no-pictures") == 1
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--no-pictures", "--accept", "hu") == 0
    assert any("HU + 1024" in flag for flag in report(tmp_path / "out", "a")["flags"])


@pytest.mark.parametrize(
    ("spacing", "names"),
    [((0.2, 4.0, 2.0), ("L1", "L2", "L3")), ((2.0, 2.0, 5.0), LEVELS), ((1.0, 1.0, 8.0), LEVELS)],
    ids=["0.2 mm", "5 mm slices", "8 mm slices"],
)
def test_spacings(predict, tmp_path, spacing, names):
    labels = write_scan(tmp_path / "a.nii.gz", names=tuple(names), spacing_mm=spacing)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--ids", "nnunet") == 0
    assert report(tmp_path / "out", "a")["levels"] == list(names)
    found = read_mask(tmp_path / "out" / "a.nii.gz").labels
    overlap = 2 * np.count_nonzero((found == labels) & (labels > 0))
    assert overlap / (np.count_nonzero(found) + np.count_nonzero(labels)) > 0.9


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice(predict, tmp_path, axis):
    image, _, affine = spine_ct()
    part = tuple(slice(14, 15) if a == axis else slice(None) for a in range(3))
    write_nifti(tmp_path / "a.nii.gz", image[part], affine)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out") == 0
    assert read_mask(tmp_path / "out" / "a.nii.gz").labels.shape == image[part].shape


def test_a_very_long_scan(predict, tmp_path):
    names = ("C7", *[f"T{i}" for i in range(1, 13)], *[f"L{i}" for i in range(1, 6)])
    write_scan(tmp_path / "a.nii.gz", names=names, spacing_mm=(4, 4, 0.25))
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out") == 0
    assert report(tmp_path / "out", "a")["levels"] == list(names)
    assert report(tmp_path / "out", "a")["scan"]["shape"][2] > 2000


def test_a_scan_too_large_for_the_memory_is_left_out_and_not_held_against_it(predict, tmp_path, capsys, monkeypatch):
    write_scan(tmp_path / "a.nii.gz")
    monkeypatch.setattr("nnunet_spine.inference.predict_case.memory_bytes", lambda: 1e6)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out") == 1
    assert "GB of memory" in capsys.readouterr().err
    monkeypatch.undo()
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--continue") == 0


def written(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("*.*") if p.parent.name != "cases"}


def test_continue_does_what_is_left(predict, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for case in "abc":
        write_scan(scans / f"{case}.nii.gz", names=("T12", "L1", "L2"))
    whole = (scans / "c.nii.gz").read_bytes()
    (scans / "c.nii.gz").write_bytes(whole[:2000])
    assert predict(scans, out) == 1
    before = written(out)
    (out / "b.nii.gz").unlink()
    assert predict(scans, out, "--continue") == 1
    after = written(out)
    assert {name for name in before if "a" in Path(name).stem.split("_") and after[name] != before[name]} == set()
    assert after["reports/b.json"] > before["reports/b.json"]
    (scans / "c.nii.gz").write_bytes(whole)
    write_scan(scans / "a.nii.gz", names=("L1", "L2", "L3"))
    assert predict(scans, out, "--continue") == 0
    assert [table(out)[case]["levels"] for case in "abc"] == ["L1 L2 L3", "T12 L1 L2", "T12 L1 L2"]
    assert predict(scans, out, "--continue", "--ids", "nnunet", "--no-pictures") == 0
    assert not list(out.glob("pictures/*.png"))  # nothing of the run with other options


def test_parts_make_the_whole(predict, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for case in "abc":
        write_scan(scans / f"{case}.nii.gz", names=("T12", "L1", "L2"))
    assert predict(scans, out, "--no-pictures", "-num_parts", 2, "-part_id", 1) == 0
    assert list(table(out)) == ["b"]
    assert predict(scans, out, "--no-pictures", "-num_parts", 2, "-part_id", 0) == 0
    assert sorted(table(out)) == ["a", "b", "c"]


def test_score_in_the_same_run(predict, tmp_path, capsys):
    scans, references = tmp_path / "scans", tmp_path / "references"
    for case in "ab":
        image, labels, affine = spine_ct(seed=ord(case))
        write_nifti(scans / f"{case}_0000.nii.gz", image, affine)
        write_nifti(references / f"{case}.nii.gz", labels, affine)
    assert predict(scans, tmp_path / "out", "--no-pictures", "--score", references) == 0
    assert "All labels correct in 2 of 2 scans" in capsys.readouterr().out
    assert (tmp_path / "out" / "evaluation" / "evaluation.json").is_file()


def test_what_cannot_be_scored_is_said_first_and_costs_no_prediction(predict, tmp_path, capsys):
    write_scan(tmp_path / "a.nii.gz", names=("L1", "L2"))
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--score", tmp_path / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "out").exists()
    (tmp_path / "b.nii.gz").write_bytes(b"")
    write_scan(tmp_path / "references" / "b.nii.gz")
    options = ("--score", tmp_path / "references", "-num_parts", 2, "-part_id", 1)
    assert predict(tmp_path / "b.nii.gz", tmp_path / "out", *options[:2]) == 1
    assert predict(tmp_path / "b.nii.gz", tmp_path / "out", *options) == 0  # nothing is left for this part


def test_scores_of_parts_wait_for_each_other(predict, tmp_path, capsys):
    for case in "ab":
        image, labels, affine = spine_ct(seed=ord(case))
        write_nifti(tmp_path / "scans" / f"{case}.nii.gz", image, affine)
        write_nifti(tmp_path / "references" / f"{case}.nii.gz", labels, affine)
    options = ("--no-pictures", "--score", tmp_path / "references", "-num_parts", 2)
    assert predict(tmp_path / "scans", tmp_path / "out", *options, "-part_id", 0) == 0
    assert "scores wait" in capsys.readouterr().out
    assert predict(tmp_path / "scans", tmp_path / "out", *options, "-part_id", 1) == 0
    assert "2 of 2 scans" in capsys.readouterr().out


def test_one_scan_is_scored_by_a_reference_of_another_name(predict, tmp_path, capsys):
    image, labels, affine = spine_ct()
    write_nifti(tmp_path / "scan.nii.gz", image, affine)
    write_nifti(tmp_path / "truth.nii.gz", labels, affine)
    assert predict(tmp_path / "scan.nii.gz", tmp_path / "out", "--score", tmp_path / "truth.nii.gz") == 0
    assert "All labels correct in 1 of 1" in capsys.readouterr().out


def test_names_of_scans(predict, tmp_path, capsys):
    scans = tmp_path / "scans"
    write_scan(scans / "sub-1_ct.nii.gz", names=("L1", "L2"))
    shutil.copy(scans / "sub-1_ct.nii.gz", scans / "sub-1_seg-vert_msk.nii.gz")
    shutil.copy(scans / "sub-1_ct.nii.gz", scans / ".hidden.nii.gz")
    (scans / "notes.txt").write_text("x", encoding="utf-8")
    assert predict(scans, tmp_path / "out", "--no-pictures") == 0
    assert list(table(tmp_path / "out")) == ["sub-1_ct"]
    assert "1 file left out as masks, e.g. sub-1_seg-vert_msk.nii.gz" in capsys.readouterr().err


def dicom(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)


WRONG_PLACES = {
    "nowhere": (lambda p: None, "no such file or folder"),
    "empty": (lambda p: p.mkdir(), "no scan; expected NIfTI"),
    "dicom": (lambda p: dicom(p / "series" / "IM0001"), "DICOM files"),
    "a dicom file": (lambda p: dicom(p), "DICOM files"),
    "two of a case": (lambda p: [write_scan(p / n) for n in ("a.nii.gz", "a_0000.nii.gz")], "case a is there twice"),
    "channels": (lambda p: write_scan(p / "a_0001.nii.gz"), "channel 0001"),
    "only masks": (lambda p: write_scan(p / "a_seg.nii.gz"), "nothing but masks"),
    "below": (lambda p: write_scan(p / "sub" / "a.nii.gz"), "in folders below"),
}


@pytest.mark.parametrize(("make", "message"), WRONG_PLACES.values(), ids=WRONG_PLACES)
def test_wrong_places_are_one_line(predict, tmp_path, capsys, make, message):
    make(tmp_path / "place")
    assert predict(tmp_path / "place", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and "place" in line and not (tmp_path / "out").exists()


def test_results_never_go_where_the_scans_are(predict, tmp_path, capsys):
    write_scan(tmp_path / "scans" / "a.nii.gz")
    before = (tmp_path / "scans" / "a.nii.gz").read_bytes()
    assert predict(tmp_path / "scans", tmp_path / "scans") == 2
    assert predict(tmp_path / "scans" / "a.nii.gz", tmp_path / "scans") == 2
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.nii.gz").symlink_to(tmp_path / "scans" / "a.nii.gz")
    assert predict(tmp_path / "links", tmp_path / "scans") == 1
    assert (tmp_path / "scans" / "a.nii.gz").read_bytes() == before
    assert "lies where its results go" in capsys.readouterr().err


WRONG_MODELS = {
    "crops": ({"labels": dataset_labels("vertebra")}, "single vertebrae"),
    "organs": ({"labels": {"background": 0, "liver": 1}}, "no vertebra among the labels"),
    "two images": ({"channel_names": {"0": "CT", "1": "MR"}}, "2 images per case"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_models_of_the_wrong_kind_say_why(predict, tmp_path, capsys, change, message):
    from tiny_models import write_tiny_model

    write_scan(tmp_path / "a.nii.gz")
    model = write_tiny_model(tmp_path / "model", **change)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", model=model) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_model_of_maps_says_what_to_use(predict, model, tmp_path, capsys):
    write_scan(tmp_path / "a.nii.gz")
    other = Path(shutil.copytree(model, tmp_path / "model"))
    (checkpoint,) = other.glob("fold_*/*.pth")
    torch.save({**read_checkpoint(checkpoint), "trainer_name": "AttentionTrainer"}, checkpoint)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", model=other) == 2
    assert "nnunet-spine spine-map" in capsys.readouterr().err


def test_a_model_that_needs_a_stage_before_it_says_so(predict, tmp_path, capsys):
    from tiny_models import tiny_plans, write_tiny_model

    write_scan(tmp_path / "a.nii.gz")
    plans = tiny_plans(previous_stage="3d_lowres")
    plans["configurations"]["3d_cascade_fullres"] = plans["configurations"].pop("3d_fullres")
    model = write_tiny_model(tmp_path / "model", plans=plans)
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", model=model) == 2
    assert "refines predictions of 3d_lowres" in capsys.readouterr().err


def test_models_in_nnunets_results(model, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    for name in ("nnUNetTrainer__TinyPlans__3d_fullres", "nnUNetTrainer__OtherPlans__3d_fullres"):
        shutil.copytree(model, results / "Dataset009_Tiny" / name)
    monkeypatch.setenv("nnUNet_results", str(results))
    write_scan(tmp_path / "a.nii.gz", names=("L1", "L2"))
    run = ["predict", "-i", str(tmp_path / "a.nii.gz"), "-o", str(tmp_path / "out"), "-d", "9", "--no-pictures"]
    assert main(run) == 2 and "OtherPlans" in capsys.readouterr().err
    assert main([*run, "-p", "TinyPlans", "-tr", "nnUNetTrainer", "-c", "3d_fullres", "-f", "0"]) == 0
    assert main([*run, "-p", "TinyPlans", "-c", "2d"]) == 2 and "no model of" in capsys.readouterr().err
    assert main([*run[:-3], "-d", "8"]) == 2 and "no dataset '8'" in capsys.readouterr().err
    assert main([*run[:-3], "-c", "2d"]) == 2 and "-c without -d" in capsys.readouterr().err
    assert main([*run[:-3], "-d", "9", "-m", str(model)]) == 2 and "both -m and -d" in capsys.readouterr().err


def test_reading_itk_back(tmp_path):
    write_itk(tmp_path / "a.nrrd", np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    volume = read_itk(tmp_path / "a.nrrd")
    assert np.array_equal(volume.array, np.arange(24).reshape(2, 3, 4))
    assert np.allclose(volume.affine, np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("reader", "regions"), [("NibabelIOWithReorient", False), ("NibabelIO", False), ("SimpleITKIO", True)]
)
def test_label_maps_are_those_of_nnunet(tmp_path, reader, regions):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from tiny_models import tiny_plans, write_tiny_model

    from nnunet_spine.inference.scan_files import read_scan
    from nnunet_spine.inference.single_stage import SingleStage

    plans = {**tiny_plans(), "image_reader_writer": reader}
    plans |= {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    labels = {"background": 0, "spine": [1, 2], "L1": 1} if regions else {"background": 0, "L1": 1, "L2": 2}
    order = {"regions_class_order": [2, 1]} if regions else {}
    model = write_tiny_model(tmp_path / "model", plans=plans, labels=labels, folds=("0", "1"), **order)
    image = np.random.default_rng(0).normal(0, 400, (14, 20, 33)).astype(np.int16)
    image[0], image[:, :, -2:] = 0, 0  # nnU-Net crops what is 0
    turn = np.array([[0, 0, 1.3], [-2.1, 0, 0], [0, -1.7, 0]])  # to the back, the feet, the right
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (3, 4, 5)
    write_nifti(tmp_path / "scans" / "a_0000.nii.gz", image, affine)

    (tmp_path / "stock").mkdir()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), None)
    predictor.predict_from_files_sequential(str(tmp_path / "scans"), str(tmp_path / "stock"))
    stock = np.asanyarray(nib.load(tmp_path / "stock" / "a.nii.gz").dataobj)
    found = SingleStage(str(model), device="cpu").open().segment(read_scan(tmp_path / "scans" / "a_0000.nii.gz"))
    names = {1: 20, 2: 21}  # L1, L2 -> nnU-Net ids
    if regions:  # of L1 and the spine the levels are the finer kind
        names = {1: 20, 2: 0}
    assert len(np.unique(stock)) > 1
    assert np.array_equal(found.labels, np.vectorize(lambda v: names.get(v, 0))(stock))


def test_several_processes_give_what_one_gives(predict, tmp_path):
    scans = tmp_path / "scans"
    for case, names in {"a": ("L1", "L2"), "b": ("T12", "L1", "L2")}.items():
        write_scan(scans / f"{case}.nii.gz", names=names)
    (scans / "c.nii.gz").write_bytes(b"")
    assert predict(scans, tmp_path / "one", "-np", 1) == predict(scans, tmp_path / "two", "-np", 2) == 1
    assert results(tmp_path / "one") == results(tmp_path / "two")


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_files(model, tmp_path):
    for case, names in {"a": ("L1", "L2"), "b": ("T12", "L1", "L2")}.items():
        write_scan(tmp_path / "scans" / f"{case}.nii.gz", names=names)
    command = [sys.executable, "-m", "benchmarks.endurance", "kills", "-m", model, "-i", tmp_path / "scans"]
    tests = Path(__file__).parent
    done = subprocess.run(
        [*map(str, command), "--cases", "5", "--kills", "5"], cwd=tests.parent, capture_output=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all files as undisturbed" in done.stdout


@pytest.mark.parametrize("kind", ["regions", "spine"])
def test_models_of_regions_and_of_the_spine_get_levels(predict, tmp_path, kind):
    image, labels, affine = spine_ct(names=("T11", "T12", "L1", "L2", "L3"))
    coarse = {"regions": np.where(labels < 20, 2, 3), "spine": np.ones_like(labels)}[kind]
    image = np.where(labels > 0, 200 + 40 * coarse, image).astype(np.int16)
    write_nifti(tmp_path / "a.nii.gz", image, affine)
    model = write_banded_model(tmp_path / "model", labels=dataset_labels(kind))
    assert predict(tmp_path / "a.nii.gz", tmp_path / "out", "--no-pictures", "--ids", "nnunet", model=model) == 0
    content, found = report(tmp_path / "out", "a"), read_mask(tmp_path / "out" / "a.nii.gz").labels
    assert len(content["levels"]) == 5 and np.array_equal(found > 0, labels > 0)
    assert all(len(np.unique(found[labels == value])) == 1 for value in (18, 19, 20, 21, 22))
    if kind == "regions":
        assert np.array_equal(found, labels) and content["levels"] == LEVELS
    else:
        assert content["ambiguous"]  # any five neighbours would do
