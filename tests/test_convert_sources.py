"""What lies below a source folder: splits by folder names, links, loops, names that nearly fit or are no text."""

import os
from pathlib import Path, PurePath

import pytest
import verse_tree as tree

from nnunet_spine.dataset_conversion.case import Scan
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.source_files import walk
from nnunet_spine.dataset_conversion.split_names import (
    UNCLEAR,
    SplitRules,
    assign_splits,
    parse_rules,
    patients_in_several_splits,
    split_of,
)
from nnunet_spine.dataset_conversion.verse import find_scans
from nnunet_spine.errors import InputError


@pytest.mark.parametrize(
    "name",
    [
        "dataset-verse20test", "dataset-verse20test (1)", "dataset-verse20test-1", "dataset-verse19test_unzipped",
        "VerSe2020_test", "verse20-hidden-test", "dataset-03test", "03_test_set", "test_data", "Verse19 Test",
        "dataset-verse20test.zip_files", "test-20210430T101010Z-001", "Testing", "TEST20", "copy of test", "TestSet",
        "dataset-verse20test_v2", "testset", "kopie_test_2", "tests", "test cases",
    ],
)  # fmt: skip
def test_a_test_folder_is_one_whatever_unzipping_makes_of_its_name(name):
    assert split_of(PurePath(name)) == "test"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("dataset-verse19training", "training"), ("01_training", "training"), ("Training (2)", "training"),
        ("trainset", "training"), ("dataset-02validation", "validation"), ("val", "validation"),
        ("VALIDATION_DATA", "validation"), ("latest", ""), ("contest", ""), ("verse500", ""), ("data", ""), ("03", ""),
        ("hidden", ""), ("évaluation", ""), ("", ""),
    ],
)  # fmt: skip
def test_other_words(name, split):
    assert split_of(PurePath("data") / name) == split


@pytest.mark.parametrize(
    "name",
    [
        "public_test", "PublicTest", "verse2020_publictest", "train_val", "trainval", "training-and-test", "no-test",
        "not_for_training", "mytest", "test_val", "pretest", "testx", "nontest", "validated", "traintest",
    ],
)  # fmt: skip
def test_a_word_in_doubtful_company_is_unclear(name):
    assert split_of(PurePath("training") / name) == UNCLEAR


def test_the_innermost_folder_counts():
    assert split_of(PurePath("training/dataset-03test/verse500")) == "test"
    assert split_of(PurePath("training/public_test")) == UNCLEAR


def scan(case, place="", patient=None, **fields):
    return Scan(case, patient or case, place=PurePath(place), **fields)


class TestRules:
    def test_who_has_the_word(self):
        scans = [scan("a", "x/test"), scan("b", "x"), scan("c", "x", split="validation"), scan("d", "public_test")]
        rules = parse_rules(["training", "public_test=validation", "a=training"])
        assert [s.split for s in assign_splits(scans, rules)] == ["training", "training", "validation", "validation"]
        assert assign_splits(scans, rules)[1].flags == ("split training by --split",)

    @pytest.mark.parametrize("place", ["x", "public_test"])
    def test_no_scan_falls_to_training(self, place):
        scans = [scan("a", "training"), scan("b", place), scan("c", place)]
        with pytest.raises(InputError, match=rf"2 of 3 scans .*'{place}' \(2\).*--split {place}=test"):
            assign_splits(scans, SplitRules())

    def test_a_doubtful_name_is_not_covered_by_the_rule_for_all_others(self):
        with pytest.raises(InputError, match="public_test"):
            assign_splits([scan("a", "public_test")], parse_rules(["training"]))

    def test_copies_in_two_splits_are_a_question(self):
        twice = scan("a", "x/training", other_places=(PurePath("y/test"),))
        with pytest.raises(InputError, match="'a'"):
            assign_splits([twice], SplitRules())
        assert assign_splits([twice], parse_rules(["a=test"]))[0].split == "test"
        named_once = scan("a", "x", other_places=(PurePath("y/test"),))
        assert assign_splits([named_once], SplitRules())[0].split == "test"

    @pytest.mark.parametrize("inner", ["training", "test"])
    def test_an_outer_name_does_not_speak_for_the_neighbours_of_named_folders(self, inner):
        scans = [scan("a", f"training_data/{inner}/sub-a"), scan("b", "training_data/hold-out")]
        with pytest.raises(InputError, match="'hold-out'"):
            assign_splits(scans, SplitRules())
        assert assign_splits(scans[1:], SplitRules())[0].split == "training"

    @pytest.mark.parametrize("texts", [["tset"], ["x=tset"], ["training", "test"], ["x=test", "X=training"]])
    def test_rules_that_say_nothing(self, texts):
        with pytest.raises(InputError, match="--split"):
            parse_rules(texts)

    def test_a_rule_that_fits_nothing_is_refused(self):
        with pytest.raises(InputError, match="no folder, case or patient"):
            assign_splits([scan("a", "training")], parse_rules(["tset=test"]))

    def test_patients_in_several_splits(self):
        scans = [scan("a", patient="p", split="training"), scan("b", patient="p", split="test"), scan("c")]
        assert patients_in_several_splits(scans) == [
            "patient p has scans in test and training; the official split would leak"
        ]


def split_of_case(tmp_path):
    return {row["case"]: row["split"] for row in read_manifest(tmp_path / "raw/Dataset710_VerSe/manifest.csv")}


def convert(tmp_path, *options):
    return tree.run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", *options)


def test_a_folder_without_a_split_stops_the_run_until_the_user_says_it(tmp_path):
    tree.subject(tmp_path / "v" / "training", "a")
    tree.subject(tmp_path / "v" / "hold-out", "b")
    with pytest.raises(InputError, match="--split hold-out=test"):
        convert(tmp_path)
    assert not (tmp_path / "raw").exists()
    convert(tmp_path, "--split", "hold-out=test")
    assert split_of_case(tmp_path) == {"a": "training", "b": "test"}


def test_nothing_named_at_all_is_a_question_too(tmp_path):
    tree.subject(tmp_path / "data" / "verse", "a")  # pytest's own folder begins with "test_"
    argv = ("verse", tmp_path / "data" / "verse", "-d", "710", "-o", tmp_path / "raw")
    with pytest.raises(InputError, match="--split training for all"):
        tree.run_convert(*argv)
    tree.run_convert(*argv, "--split", "training")
    assert split_of_case(tmp_path) == {"a": "training"}


def test_links_in_a_circle_and_second_names_are_one_folder(tmp_path):
    for name in ("a", "b"):
        tree.subject(tmp_path / "v" / "training", name)
    (tmp_path / "v" / "loop").symlink_to(".")
    (tmp_path / "v" / "training" / "up").symlink_to("..")
    (tmp_path / "v" / "aaa").symlink_to("training")
    (tmp_path / "v" / "itself").symlink_to("itself")
    found = find_scans([tmp_path / "v", tmp_path / "v" / "loop", tmp_path / "v" / "aaa"])
    assert [s.case for s in found.scans] == ["a", "b"]
    assert not found.problems
    assert not found.left_out
    convert(tmp_path)
    assert split_of_case(tmp_path) == {"a": "training", "b": "training"}


def test_folders_behind_links_are_read_under_the_name_of_the_link(tmp_path):
    tree.subject(tmp_path / "store" / "x1", "a")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "test").symlink_to(tmp_path / "store" / "x1")
    (scan,) = find_scans([tmp_path / "v"]).scans
    assert split_of(scan.place) == "test"
    (scan,) = find_scans([tmp_path / "v" / "test"]).scans
    assert split_of(scan.place) == "test"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_to_the_same_files_are_no_duplicates(tmp_path, link):
    tree.subject(tmp_path / "v" / "training", "a")
    for path in [p for p in (tmp_path / "v").rglob("*") if p.is_file()]:
        other = tmp_path / "v" / "by_name" / path.relative_to(tmp_path / "v" / "training")
        other.parent.mkdir(parents=True, exist_ok=True)
        link(path, other)
    found = find_scans([tmp_path / "v"])
    assert [s.case for s in found.scans] == ["a"]
    assert not found.problems
    convert(tmp_path)
    assert split_of_case(tmp_path) == {"a": "training"}


def test_one_file_in_two_splits_is_a_question(tmp_path):
    tree.subject(tmp_path / "v" / "training", "a")
    tree.subject(tmp_path / "v" / "training", "b")
    for path in [p for p in (tmp_path / "v").rglob("*sub-a*") if p.is_file()]:
        other = tmp_path / "v" / "test" / path.relative_to(tmp_path / "v" / "training")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.symlink_to(path)
    with pytest.raises(InputError, match="--split a=test"):
        convert(tmp_path)


def test_walk_ends_in_a_net_of_links(tmp_path):
    folders = [tmp_path / f"d{i}" for i in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text("", encoding="utf-8")
        for other in folders:
            (folder / other.name).symlink_to(other)
    assert sorted(walk(tmp_path)) == sorted(folder / "file" for folder in folders)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_no_empty_one(tmp_path):
    tree.subject(tmp_path / "v" / "training", "a")
    (tmp_path / "v" / "training" / "rawdata").chmod(0)
    try:
        with pytest.raises(InputError, match="not readable"):
            find_scans([tmp_path / "v"])
    finally:
        (tmp_path / "v" / "training" / "rawdata").chmod(0o755)


def test_names_that_nearly_fit_are_counted(tmp_path, capsys):
    root = tmp_path / "v" / "training"
    tree.subject(root, "a")
    for name in ("sub-b_ct (1).nii.gz", "sub-b_CT_resampled.nii", "b.nrrd"):
        (root / "rawdata" / "sub-a" / name).write_bytes(b"")
    tree.write_voxel_centroids(root / "derivatives" / "sub-b_seg-subreg_ctd.json", tree.spine_mask(), tree.AFFINE_RAS)
    (root / "rawdata" / "sub-a" / "sub-a_ct.json").write_text("{}", encoding="utf-8")
    (root / "preview.png").write_bytes(b"")
    convert(tmp_path)
    assert "4 files with other names left out, e.g. " in capsys.readouterr().out
    convert(tmp_path, "--quiet")


def test_only_names_that_nearly_fit(tmp_path):
    tree.save(tmp_path / "v" / "training" / "sub-b_ct (1).nii.gz", tree.spine_ct(tree.spine_mask()))
    with pytest.raises(InputError, match=r"no VerSe scan found; 1 files with other names, e.g. sub-b_ct \(1\).nii.gz"):
        find_scans([tmp_path / "v"])


def test_names_are_bytes(tmp_path, capsys):
    """A folder of a zip made on an old Windows: its name is Latin-1."""
    top = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Wirbels\xe4ule"))
    try:
        tree.subject(top / "training", "a")
    except OSError:
        pytest.skip("the file system refuses such names")
    tree.subject(top / "training", os.fsdecode(b"m\xfcller"))
    argv = ("verse", top, "-d", "710", "-o", tmp_path / "raw")
    tree.run_convert(*argv)
    rows = read_manifest(tmp_path / "raw" / "Dataset710_VerSe" / "manifest.csv")
    assert [row["case"] for row in rows] == ["a", "m-ller"]
    assert Path(rows[0]["image"]).is_file()
    assert b"Wirbels\xe4ule" in (tmp_path / "raw" / "Dataset710_VerSe" / "manifest.csv").read_bytes()
    capsys.readouterr()
    tree.run_convert(*argv)
    assert "complete, nothing to do" in capsys.readouterr().out
    tree.run_convert("verse", "-d", "711", "--labels", "spine", "--images-from", "710", "-o", tmp_path / "raw")
    rows = read_manifest(tmp_path / "raw" / "Dataset711_VerSeSpine" / "manifest.csv")
    assert Path(rows[0]["image"]).is_file()


def test_a_dry_run_needs_no_folder_for_datasets(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.chdir(tmp_path)
    tree.subject(tmp_path / "v" / "training", "a")
    before = tree.digests(tmp_path)
    tree.run_convert("verse", tmp_path / "v", "-d", "710", "--dry-run")
    assert "would write $nnUNet_raw/Dataset710_VerSe" in capsys.readouterr().out
    assert tree.digests(tmp_path) == before
    with pytest.raises(InputError, match="nnUNet_raw is not set"):
        tree.run_convert("verse", tmp_path / "v", "-d", "710")


def test_unlisted_labels_go_below_a_limit_that_can_be_set(tmp_path, capsys):
    mask = tree.spine_mask((20, 21))
    mask[0:5, 15:20, 0:3] = 23  # 600 mm3
    _, path = tree.subject(tmp_path / "v" / "training", "a", mask=mask)
    tree.write_voxel_centroids(path.with_name("sub-a_seg-subreg_ctd.json"), tree.spine_mask((20, 21)), tree.AFFINE_RAS)
    convert(tmp_path)
    assert "L4 removed (600 mm3, not in the centroid file and below 2000 mm3)" in capsys.readouterr().out
    tree.run_convert("verse", tmp_path / "v", "-d", "711", "-o", tmp_path / "raw", "--min-unlisted", "500")
    assert "L4 has a label and no centroid" in capsys.readouterr().out


def test_a_correction_without_effect_is_reported(tmp_path, capsys):
    tree.subject(tmp_path / "v" / "training", "a", labels=(20, 21))
    tree.subject(tmp_path / "v" / "training", "verse509", labels=(20, 21))
    (tmp_path / "list.csv").write_text("a,L1,T13\na,L6,L5\n", encoding="utf-8")
    convert(tmp_path, "--corrections", tmp_path / "list.csv")
    out = capsys.readouterr().out
    assert "a: correction without effect, no such level: L6 to L5; levels corrected" in out
    # Of a list that names all levels below L1 at once nothing else can be expected.
    tree.run_convert("verse", tmp_path / "v", "-d", "711", "-o", tmp_path / "raw", "--corrections", "veridah")
    assert "without effect" not in capsys.readouterr().out


def test_the_same_scan_in_two_years_with_other_splits_is_a_question(tmp_path):
    tree.subject(tmp_path / "v" / "v19" / "dataset-verse19training", "verse020")
    folder = tmp_path / "v" / "v20" / "03_test" / "verse020"
    tree.miccai(folder, "verse020.nii.gz", "verse020_seg.nii.gz", "verse020_iso-ctd.json")
    with pytest.raises(InputError, match="--split verse020=test"):
        convert(tmp_path)
    convert(tmp_path, "--split", "verse020=training")
    assert split_of_case(tmp_path) == {"verse020": "training"}
