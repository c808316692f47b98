"""Labels that are declared and occur nowhere: what is said of them, and datasets that declare only what occurs."""

from dataclasses import replace

import numpy as np
import pytest
from verse_tree import run_convert, save, spine_mask, subject

from nnunet_spine.anatomy import NAMES
from nnunet_spine.dataset_conversion.coverage import coverage_lines
from nnunet_spine.dataset_conversion.label_sets import ignore_value, label_values, parse_declared, spans
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.prepare import Record
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json
from nnunet_spine.io.label_ids import read_table
from nnunet_spine.io.label_tables import embedded_labels
from nnunet_spine.io.nifti import read_nifti


def test_spans():
    assert spans(["T13", "C1", "C2", "C3", "L6"]) == "C1-C3, T13, L6"
    assert spans(["T12", "T13", "L1"]) == "T12-L1"
    assert spans(["thoracic", "cervical"]) == "thoracic, cervical"
    assert spans([]) == ""


@pytest.mark.parametrize(
    ("words", "declared"),
    [
        (["all"], ()), (["occurring"], ("occurring",)), (["L2", "l1", "T13"], ("T13", "L1", "L2")), ([*NAMES], ()),
    ],
)  # fmt: skip
def test_words_of_the_user(words, declared):
    assert parse_declared(words, "vertebrae") == declared


@pytest.mark.parametrize("words", [["L7"], ["all", "L1"], ["cervical"], ["occurring", "all"]])
def test_words_that_say_nothing(words):
    with pytest.raises(InputError, match="--declare"):
        parse_declared(words, "vertebrae")


def test_values_are_consecutive():
    values = label_values("vertebrae", ("T12", "T13", "L1"))
    assert values == {"background": 0, "T12": 1, "T13": 2, "L1": 3}
    assert ignore_value(values) == 4
    assert ignore_value(label_values("vertebrae")) == 27


def record(case, names, split="training"):
    return Record(case, case, split, {"labels_after": names})


def test_lines_on_labels_that_occur_nowhere_or_not_in_a_fold():
    labels = label_values("vertebrae", ("C1", "C2", "L1", "L2"))
    records = [record("a", "L1 L2"), record("b", "L1"), record("c", "C1 C2", "test")]
    nowhere, per_fold = coverage_lines(labels, records, [{"val": ["a"]}, {"val": ["b"]}])
    assert nowhere.startswith("2 of 4 declared labels occur in no training or validation scan: C1-C2. ")
    assert "nan" in nowhere
    assert "--declare occurring" in nowhere
    assert "fold 1 L2." in per_fold
    assert "fold 0" not in per_fold
    assert coverage_lines(label_values("vertebrae", ("L1",)), records, [{"val": ["a"]}]) == []


@pytest.fixture
def lumbar(tmp_path):
    """Two scans with L1 to L3, one with T12, and a T13 in the test scan only."""
    root = tmp_path / "v"
    subject(root / "training", "a")
    subject(root / "training", "b", labels=(19, 20, 21))
    subject(root / "validation", "c")
    subject(root / "test", "d", labels=(28, 20))
    return root


def test_the_report_says_what_occurs_nowhere(tmp_path, lumbar, capsys):
    run_convert("verse", lumbar, "-d", "1", "-o", tmp_path / "raw")
    out = capsys.readouterr().out
    assert "22 of 26 declared labels occur in no training or validation scan: C1-T11, T13, L4-L6. nnU-Net's mean" in out
    assert "no validation scan of a fold has: fold 0 T12." in out


def test_only_what_occurs_is_declared(tmp_path, lumbar, capsys):
    raw = tmp_path / "raw"
    argv = ("verse", lumbar, "-d", "1", "-o", raw, "--declare", "occurring")
    run_convert(*argv)
    dataset = raw / "Dataset001_VerSe"
    labels = read_json(dataset / "dataset.json")["labels"]
    assert labels == {"background": 0, "T12": 1, "T13": 2, "L1": 3, "L2": 4, "L3": 5}
    stored = read_nifti(dataset / "labelsTr" / "b.nii.gz")[0]
    truth = spine_mask((19, 20, 21))
    np.testing.assert_array_equal(stored, np.select([truth == v for v in (19, 20, 21)], [1, 3, 4]))
    # Whoever meets one of these masks is told the names.
    assert embedded_labels(dataset / "labelsTr" / "b.nii.gz") == {1: "T12", 2: "T13", 3: "L1", 4: "L2", 5: "L3"}
    assert read_table(dataset / "dataset.json").levels == {1: "T12", 2: "T13", 3: "L1", 4: "L2", 5: "L3"}
    assert [row["value"] for row in read_json(dataset / "labels.json")["labels"]] == [1, 2, 3, 4, 5]
    capsys.readouterr()
    run_convert(*argv)
    assert "complete, nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="differs in: declared"):
        run_convert(*argv[:-2])


def test_derived_datasets_and_crops_follow_the_names(tmp_path, lumbar):
    raw = tmp_path / "raw"
    run_convert("verse", lumbar, "-d", "1", "-o", raw, "--declare", "occurring")
    run_convert("verse", "-d", "2", "-o", raw, "--labels", "regions", "--images-from", "1", "--declare", "occurring")
    run_convert("vertebra-crops", "-d", "1", "-t", "3", "-o", raw, "--levels", "T12", "L2")
    regions = raw / "Dataset002_VerSeRegions"
    assert read_json(regions / "dataset.json")["labels"] == {"background": 0, "thoracic": 1, "lumbar": 2}
    stored = read_nifti(regions / "labelsTr" / "b.nii.gz")[0]
    np.testing.assert_array_equal(stored, np.select([spine_mask((19, 20, 21)) == v for v in (19, 20, 21)], [1, 2, 2]))
    crops = read_manifest(raw / "Dataset003_VertebraCrops" / "manifest.csv")
    assert [row["case"] for row in crops] == ["a_L2", "b_L2", "b_T12", "c_L2"]


def test_a_level_that_is_not_declared_is_a_bad_case(tmp_path, lumbar, capsys):
    argv = ("verse", lumbar, "-d", "1", "-o", tmp_path / "raw", "--declare", "T12", "L1", "L2", "L3")
    with pytest.raises(InputError, match="1 of 4 cases"):
        run_convert(*argv)
    assert "d: T13 is not declared. Declare it, too: --declare T12 L1 L2 L3 T13" in capsys.readouterr().err


def test_voxels_to_be_ignored(tmp_path):
    from test_converters import convert, converter_of, scan_of

    mask = spine_mask((20, 21, 22))
    path = save(tmp_path / "with.nii.gz", np.where(mask == 22, 99, mask).astype(np.uint8))
    source = LabelFile(path, {20: "L1", 21: "L2", 99: "ignore"})
    scans = replace(scan_of(tmp_path, "a"), mask=source), scan_of(tmp_path, "b")
    _, dataset = convert(tmp_path, converter_of(*scans))
    assert read_json(dataset / "dataset.json")["labels"]["ignore"] == 27
    stored = read_nifti(dataset / "labelsTr" / "a.nii.gz")[0]
    np.testing.assert_array_equal(stored, np.where(mask == 22, 27, mask))
    row = read_manifest(dataset / "manifest.csv")[0]
    assert (row["labels_after"], row["islands"]) == ("L1 L2 ignore", "")
    assert [v["name"] for v in read_json(dataset / "centroidsTr" / "a.json")["vertebrae"]] == ["L1", "L2"]
