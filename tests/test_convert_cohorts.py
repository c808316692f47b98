"""xVertSeg, CTSpine1K and TotalSegmentator: the written tree ends in the known places and levels."""

import nibabel as nib
import numpy as np
import pytest
from csi2014_tree import vertebra_slabs
from ctspine1k_tree import COLON
from ctspine1k_tree import write_case as write_ctspine
from totalsegmentator_tree import write_meta, write_subject
from verse_tree import load_case, run_convert
from xvertseg_tree import write_case as write_xvertseg

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion import ctspine1k, totalsegmentator, xvertseg
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.errors import InputError


def convert(name, source, raw, *options):
    run_convert(name, source, "-d", "7", "-o", raw, *options)
    (dataset,) = raw.glob("Dataset007_*")
    return dataset, {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}


def assert_true_places(dataset, case, points_ras, split="Tr"):
    _, label, centroids = load_case(dataset, case, split)
    array = np.asarray(label.dataobj)
    found = {v["name"]: v["mask_centroid_mm"] for v in centroids["vertebrae"]}
    assert set(found) == set(points_ras)
    for name, point in points_ras.items():
        world = label.affine @ [*np.argwhere(array == BY_NAME[name].nnunet_id).mean(0), 1]
        np.testing.assert_allclose(world[:3], point, atol=0.01)
        np.testing.assert_allclose(found[name], point, atol=0.01)


class TestXVertSeg:
    def test_values_places_grey_values_and_splits(self, tmp_path):
        points = write_xvertseg(tmp_path / "src" / "SpineDatasets" / "Data1", 1)
        write_xvertseg(tmp_path / "src" / "SpineDatasets" / "Data1", 2, add=0)
        write_xvertseg(tmp_path / "src" / "SpineDatasets" / "Data2", 16, mask=False)
        dataset, rows = convert("xvertseg", tmp_path / "src", tmp_path / "raw")
        assert {case: row["split"] for case, row in rows.items()} == {
            "xvertseg001": "training", "xvertseg002": "training", "xvertseg016": "test",
        }  # fmt: skip
        assert_true_places(dataset, "xvertseg001", {k: (-x, -y, z) for k, (x, y, z) in points.items()})
        assert "HU = value - 1024" in rows["xvertseg001"]["flags"]
        assert "HU = value" not in rows["xvertseg002"]["flags"]
        _, hu = vertebra_slabs(9)
        for case, split in (("xvertseg001", "Tr"), ("xvertseg016", "Ts")):
            image = nib.load(dataset / f"images{split}" / f"{case}_0000.nii.gz")
            np.testing.assert_array_equal(np.asarray(image.dataobj), hu)

    def test_visible_t12_is_ignored_on_request_and_the_sacrum_is_not(self, tmp_path):
        write_xvertseg(tmp_path / "src" / "Data1", 1)
        dataset, _ = convert("xvertseg", tmp_path / "src", tmp_path / "raw", "--unlabelled", "ignore")
        array = np.asarray(load_case(dataset, "xvertseg001")[1].dataobj)
        order, _ = vertebra_slabs(9)
        assert (array[order < 4][order[order < 4] > 0] == 27).all()
        assert (array[order == 9] == 0).all()

    def test_one_number_in_two_folders_is_two_cases(self, tmp_path):
        write_xvertseg(tmp_path / "Data1", 1)
        write_xvertseg(tmp_path / "Data2", 1, mask=False)
        assert [scan.case for scan in xvertseg.find_scans([tmp_path]).scans] == [
            "xvertseg-Data1-001", "xvertseg-Data2-001",
        ]  # fmt: skip

    def test_other_values_are_refused(self, tmp_path):
        write_xvertseg(tmp_path / "src" / "Data1", 1)
        raw = tmp_path / "src" / "Data1" / "masks" / "mask001.raw"
        raw.write_bytes(raw.read_bytes().replace(bytes([240]), bytes([250])))
        with pytest.raises(InputError, match="unknown label 250"):
            convert("xvertseg", tmp_path / "src", tmp_path / "raw")


class TestCTSpine1K:
    def test_pairs_over_folders_ids_with_dots_and_official_splits(self, tmp_path):
        ctspine1k_example(tmp_path / "src")
        points = write_ctspine(tmp_path / "src" / "raw_data", "COLONOG", f"{COLON}0103", ("T11", "T12", "L1", "L6"))
        dataset, rows = convert("ctspine1k", tmp_path / "src", tmp_path / "raw", "--split", "training")
        assert {case: (row["split"], row["cohort"]) for case, row in rows.items()} == {
            "1-3-6-1-4-1-9328-50-4-0103": ("training", "ctspine1k colonog"),
            "1-3-6-1-4-1-9328-50-4-0104": ("training", "ctspine1k colonog"),
            "HN_P001": ("training", "ctspine1k hnscc"),
            "liver_104": ("validation", "ctspine1k msd"),
            "volume-covid19-A-0377_ct": ("test", "ctspine1k covid"),
        }
        assert_true_places(dataset, "1-3-6-1-4-1-9328-50-4-0103", points)
        assert "reported fault of the mask: the sequence" in rows["1-3-6-1-4-1-9328-50-4-0103"]["flags"]
        assert {row["border"] for row in rows.values()} == {"T11", "T12"}

    def test_images_from_another_source_and_organ_masks_of_the_same_name(self, tmp_path):
        write_ctspine(tmp_path / "a", "MSD-T10", "liver_1", image=False)
        assert [p.found for p in ctspine1k.find_scans([tmp_path / "a"]).problems] == ["mask without an image"]
        write_ctspine(tmp_path / "msd", "imagesTr", "liver_1")
        image = (tmp_path / "msd" / "volumes" / "imagesTr" / "liver_1.nii.gz").rename(tmp_path / "b.nii.gz")
        for folder in ("imagesTr", "labelsTr"):
            (tmp_path / "b" / folder).mkdir(parents=True)
            (tmp_path / "b" / folder / "liver_1.nii.gz").write_bytes(image.read_bytes())
        found = ctspine1k.find_scans([tmp_path / "a", tmp_path / "b"])
        assert [scan.image.path.parent.name for scan in found.scans] == ["imagesTr"]
        assert not found.problems

    def test_split_lists(self, tmp_path):
        ctspine1k_example(tmp_path)
        scans = ctspine1k.find_scans([tmp_path], test_public="test").scans
        assert {s.case: s.split for s in scans}["liver_104"] == "test"
        (tmp_path / "data_split.txt").write_text("trainset:\na.nii.gz\ntest_public:\na.nii.gz\n", encoding="utf-8")
        with pytest.raises(InputError, match="a is in two sections"):
            ctspine1k.find_scans([tmp_path])
        (tmp_path / "data_split.txt").write_text("a.nii.gz\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"line 1: a\.nii\.gz"):
            ctspine1k.find_scans([tmp_path])

    def test_reported_corrections_by_name(self, tmp_path):
        write_ctspine(tmp_path / "src", "COLONOG", f"{COLON}0482")
        _, rows = convert(
            "ctspine1k", tmp_path / "src", tmp_path / "raw", "--split", "training", "--corrections", "reported"
        )
        assert [row["labels_after"] for row in rows.values()] == ["T12 L1 L2 L3"]


def ctspine1k_example(root):
    from ctspine1k_tree import example

    example(root)


class TestTotalSegmentator:
    def test_levels_by_file_names_in_both_versions(self, tmp_path):
        points = write_subject(tmp_path / "src", "s0001", ("C7", "T1", "T2"), version=1)
        write_subject(tmp_path / "src", "s0002", ("T12", "L1", "L2"), dtype=np.float64, empty=False)
        write_meta(tmp_path / "src", {"s0001": "train", "s0002": "val", "s0003": "test"})
        dataset, rows = convert("totalsegmentator", tmp_path / "src", tmp_path / "raw")
        assert_true_places(dataset, "s0001", points)
        assert {c: (r["split"], r["labels_after"]) for c, r in rows.items()} == {
            "s0001": ("training", "C7 T1 T2"), "s0002": ("validation", "T12 L1 L2"),
        }  # fmt: skip

    def test_subjects_without_vertebrae_or_without_masks(self, tmp_path):
        write_subject(tmp_path, "s0001")
        write_subject(tmp_path, "s0002", (), empty=False)
        for file in (tmp_path / "s0002" / "segmentations").glob("vertebrae_*"):
            file.unlink()
        (tmp_path / "s0003").mkdir()
        (tmp_path / "s0003" / "ct.nii.gz").write_bytes(b"")
        found = totalsegmentator.find_scans([tmp_path])
        assert [scan.case for scan in found.scans] == ["s0001"]
        assert [(p.case, p.found) for p in found.problems] == [("s0003", "CT without the folder segmentations")]
        assert found.remarks == ("1 subjects without any file of a vertebra left out",)

    def test_unknown_splits_are_an_error(self, tmp_path):
        write_subject(tmp_path, "s0001")
        write_meta(tmp_path, {"s0001": "holdout"})
        with pytest.raises(InputError, match="split 'holdout' of s0001"):
            totalsegmentator.find_scans([tmp_path])
