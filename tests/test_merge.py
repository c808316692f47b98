"""Joined datasets: nothing copied, one label table, no scan twice, no patient on two sides."""

import json

import numpy as np
import pytest
from glocker_tree import points_for, write_scan
from verse_tree import load_case, run_convert, save, spine_ct, spine_mask, subject
from xvertseg_tree import write_case as write_xvertseg

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.cli import main
from nnunet_spine.dataset_conversion.ends import CAUDAL, CRANIAL
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.merge import open_levels
from nnunet_spine.io.files import read_json

IGNORE = 27


@pytest.fixture
def raw(tmp_path, nnunet_folders):
    """710: VerSe with C7 to L5 in four scans; 720: xVertSeg, L1 to L5 in two and one without a mask."""
    root = tmp_path / "verse"
    subject(root / "training", "verse004", labels=(7, 8, 9), seed=1)
    subject(root / "training", "verse005", labels=(22, 23, 24), seed=4)
    subject(root / "validation", "verse010", labels=(19, 20, 21), seed=2)
    subject(root / "test", "verse020", labels=(19, 20, 21), seed=3)
    run_convert("verse", root, "-d", "710")
    write_xvertseg(tmp_path / "xv" / "Data1", 1)
    write_xvertseg(tmp_path / "xv" / "Data1", 2, upper=2)
    write_xvertseg(tmp_path / "xv" / "Data2", 16, mask=False)
    run_convert("xvertseg", tmp_path / "xv", "-d", "720")
    return nnunet_folders["nnUNet_raw"]


def merge(*argv) -> int:
    return main(["merge", *map(str, argv), "-np", "1"])


def test_cases_labels_folds_and_links(raw):
    assert merge("-d", 710, 720, "-t", 750) == 0
    dataset = raw / "Dataset750_Spines"
    content = read_json(dataset / "dataset.json")
    assert content["numTraining"] == 5
    assert content["labels"]["T13"] == 26
    assert content["labels"]["ignore"] == IGNORE
    assert content["licence"] == "CC BY-SA 4.0; research use, see lit.fe.uni-lj.si/xVertSeg"
    for split, name, number in (("Tr", "verse004", 710), ("Ts", "verse020", 710), ("Tr", "xvertseg001", 720)):
        (source,) = raw.glob(f"Dataset{number}_*")
        there, here = (f / f"images{split}" / f"{name}_0000.nii.gz" for f in (source, dataset))
        assert there.samefile(here)
    assert read_json(dataset / "splits_final.json") == [
        {"train": ["verse004", "verse005", "xvertseg001", "xvertseg002"], "val": ["verse010"]}
    ]
    rows = {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}
    assert {row["dataset"] for row in rows.values()} == {"Dataset710_VerSe", "Dataset720_XVertSeg"}
    _, label, centroids = load_case(dataset, "verse004")
    assert np.array_equal(label.get_fdata(), load_case(raw / "Dataset710_VerSe", "verse004")[1].get_fdata())
    assert [v["name"] for v in centroids["vertebrae"]] == ["C7", "T1", "T2"]
    assert merge("-d", 710, 720, "-t", 750) == 0  # a second run finds it complete


def test_levels_that_a_set_does_not_label_are_ignored_and_not_background(raw, capsys):
    """xVertSeg labels no thoracic vertebra, VerSe does: above L1 nobody knows."""
    merge("-d", 710, 720, "-t", 750)
    assert "Dataset720_XVertSeg labels L1-L5: what lies beyond L1 is ignored" in capsys.readouterr().out
    dataset = raw / "Dataset750_Spines"
    array = load_case(dataset, "xvertseg001")[1].get_fdata()
    before = load_case(raw / "Dataset720_XVertSeg", "xvertseg001")[1].get_fdata()
    assert np.array_equal((array > 0) & (array < IGNORE), before > 0)
    top = int(np.argwhere(before == BY_NAME["L1"].nnunet_id)[:, 2].max())
    assert (array[..., top + 2 :] == IGNORE).all()
    bottom = int(np.argwhere(before > 0)[:, 2].min())
    assert not (array[..., :bottom] == IGNORE).any()
    row = next(r for r in read_manifest(dataset / "manifest.csv") if r["case"] == "xvertseg001")
    assert row["labels_after"] == "L1 L2 L3 L4 L5 ignore"
    assert "ignored beyond L1: its data set labels no vertebra there" in row["flags"]
    assert not (load_case(dataset, "verse010")[1].get_fdata() == IGNORE).any()


def test_ends_that_a_set_leaves_open():
    whole = frozenset(BY_NAME) - {"T13", "L6"}
    lumbar, cervical = frozenset({"L1", "L2", "L5"}), frozenset({"C1", "C7"})
    assert open_levels(whole, frozenset(BY_NAME)) == ()
    assert open_levels(lumbar, whole) == ((CRANIAL, "L1"),)
    assert open_levels(cervical, whole) == ((CAUDAL, "C7"),)
    assert open_levels(frozenset({"T3", "T4"}), whole) == ((CRANIAL, "T3"), (CAUDAL, "T4"))
    assert open_levels(lumbar, lumbar) == open_levels(frozenset(), whole) == ()


def test_numbers_of_narrower_tables_are_brought_to_one(raw, tmp_path):
    run_convert("xvertseg", tmp_path / "xv", "-d", "721", "--declare", "occurring", "--name", "Lumbar")
    run_convert("verse", tmp_path / "verse", "-d", "711", "--declare", "occurring", "--name", "Narrow")
    assert merge("-d", 721, 711, "-t", 751) == 0
    dataset = raw / "Dataset751_Spines"
    labels = read_json(dataset / "dataset.json")["labels"]
    assert list(labels) == ["background", "C7", "T1", "T2", "T12", "L1", "L2", "L3", "L4", "L5", "ignore"]
    assert list(labels.values()) == list(range(11))
    array = load_case(dataset, "verse010")[1].get_fdata()
    assert set(np.unique(array)) == {0, 4, 5, 6}


class TestRefusals:
    def test_one_scan_in_two_datasets(self, raw, tmp_path, capsys):
        mask = spine_mask((19, 20, 21))
        save(tmp_path / "more" / "training" / "verse077.nii.gz", spine_ct(mask, 2))  # shows what verse010 shows
        save(tmp_path / "more" / "training" / "verse077_seg.nii.gz", mask)
        run_convert("verse", tmp_path / "more", "-d", "730", "--name", "More")
        assert merge("-d", 710, 730, "-t", 750) == 2
        assert "verse010 of Dataset710_VerSe is verse077 of Dataset730_More" in capsys.readouterr().err
        assert not (raw / "Dataset750_Spines").exists()
        assert merge("-d", 710, 730, "-t", 750, "--overlaps", "first") == 0
        assert "verse077 of Dataset730_More is taken from Dataset710_VerSe" in capsys.readouterr().out
        assert merge("-d", 710, 730, "-t", 751, "--leave-out", "verse077", "--name", "Other") == 0
        cases = [[r["case"] for r in read_manifest(d / "manifest.csv")] for d in raw.glob("Dataset75*")]
        assert cases == [["verse004", "verse005", "verse010", "verse020"]] * 2

    def test_scans_of_glocker_that_are_known_to_be_verse20s(self, raw, tmp_path, capsys):
        root = tmp_path / "gl"
        subject(root / "training", "gl003", seed=5)
        run_convert("verse", root, "-d", "731", "--name", "GL")
        write_scan(tmp_path / "glocker/spine-1/patient0007/4613319", "4613319")
        write_scan(tmp_path / "glocker/spine-1/patient0007/1", "1", points_for(x=18))
        run_convert("glocker", tmp_path / "glocker", "-d", "732", "--as", "heatmaps")
        assert merge("-d", 731, 732, "-t", 750) == 2
        assert "gl003 of Dataset731_GL is 4613319 of Dataset732_Glocker" in capsys.readouterr().err

    def test_patients_stay_on_one_side_also_under_two_names(self, raw, tmp_path, capsys):
        """The scan in both sets ties patient0007 to gl003: the other scan of that patient must not train."""
        root = tmp_path / "gl"
        subject(root / "training", "gl010", seed=6)
        subject(root / "test", "gl003", seed=5)
        run_convert("verse", root, "-d", "731", "--name", "GL")
        write_scan(tmp_path / "glocker/spine-1/patient0007/4613319", "4613319")
        write_scan(tmp_path / "glocker/spine-1/patient0007/1", "1", points_for(x=18))
        run_convert("glocker", tmp_path / "glocker", "-d", "732", "--as", "heatmaps")
        assert merge("-d", 731, 732, "-t", 750, "--overlaps", "first") == 2
        error = capsys.readouterr().err
        assert "patient gl003 is in several parts of the split: gl003 of Dataset731_GL (test)" in error
        assert "1 of Dataset732_Glocker (training)" in error
        assert merge("-d", 731, 732, "-t", 750, "--overlaps", "first", "--leave-out", "1") == 0

    def test_what_is_no_vertebrae_dataset(self, raw, capsys):
        run_convert("verse", "-d", "711", "--labels", "spine", "--images-from", "710")
        assert merge("-d", 710, 711, "-t", 750) == 2
        assert "not a vertebrae dataset" in capsys.readouterr().err
        assert merge("-d", 710, "-t", 750) == 2
        assert merge("-d", 710, 720, "-t", 750, "--leave-out", "nobody") == 2
        assert "--leave-out nobody: no such case" in capsys.readouterr().err


def test_cases_of_one_name_are_told_apart(raw, tmp_path):
    for number, seed in ((733, 7), (734, 8)):
        subject(tmp_path / str(number) / "training", "gl900", seed=seed)
        run_convert("verse", tmp_path / str(number), "-d", str(number), "--name", f"Set{seed}")
    assert merge("-d", 733, 734, "-t", 750, "--folds", "official") == 0
    cases = [row["case"] for row in read_manifest(raw / "Dataset750_Spines" / "manifest.csv")]
    assert cases == ["Set7-gl900", "Set8-gl900"]
    content = json.loads((raw / "Dataset750_Spines" / "conversion.json").read_text(encoding="utf-8"))
    assert content["identity"]["merge"] == ["Dataset733_Set7", "Dataset734_Set8"]
