"""Any cohort without programming: a table, patterns, or names; DICOM folders; values by any table."""

import csv
import json

import numpy as np
import pytest
from generic_tree import example
from test_dicom import write_series
from verse_tree import AFFINE_RAS, load_case, run_convert, save, spine_ct, spine_mask, subject, turned

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion.generic import find_scans, guess, read_values
from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.dataset_conversion.rows import guess_rows, match_patterns
from nnunet_spine.dataset_conversion.source_files import walk
from nnunet_spine.errors import InputError

VALUES = ("1=L1", "2=L2", "3=L3")


def convert(tmp_path, *options, raw="raw"):
    run_convert("generic", tmp_path / "src", "-d", "7", "-o", tmp_path / raw, "--split", "training", *options)
    dataset = tmp_path / raw / "Dataset007_Own"
    return dataset, {row["case"]: row for row in read_manifest(dataset / "manifest.csv")}


def test_guess_prints_a_table_that_can_be_given_back(tmp_path, capsys):
    example(tmp_path / "src")
    run_convert("generic", tmp_path / "src", "--guess")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "case,patient,split,image,mask,centroids"
    assert lines[2] == "p1,p1,training,training/ct/p1.nii.gz,training/masks/p1.nii.gz,"
    assert lines[-1] == "# --values 1=T12 2=L1 3=L2 4=L3"
    (tmp_path / "cases.csv").write_text(printed, encoding="utf-8")
    scans = find_scans([tmp_path / "src"], cases=tmp_path / "cases.csv").scans
    assert [(scan.case, scan.split) for scan in scans] == [("p1", "training"), ("p2", "training"), ("p3", "test")]
    (tmp_path / "bare.csv").write_text(
        printed.replace("training,training", ",training").replace("test,test", ",test"), encoding="utf-8"
    )
    bare = find_scans([tmp_path / "src"], cases=tmp_path / "bare.csv").scans
    assert [(scan.split, scan.place.parts[:2]) for scan in bare][2] == ("", ("src", "test"))  # the folder still says it
    _, rows = convert(tmp_path, "--cases", tmp_path / "cases.csv", "--values", *lines[-1].split()[2:])
    assert rows["p1"]["labels_after"] == "T12 L1 L2"
    assert not list((tmp_path / "raw").glob(".partial*"))


@pytest.mark.parametrize(
    "pairs",
    [
        {"images/a.nii.gz": "labels/a.nii.gz"},
        {"a_ct.nii.gz": "a_seg.nii.gz"},
        {"imagesTr/a_0000.nii.gz": "labelsTr/a.nii.gz"},
        {"sub-a/sub-a_ct.nii.gz": "derivatives/sub-a/sub-a_seg-vert_msk.nii.gz"},
        {"one/a/image.nrrd": "one/a/mask.nrrd"},
        {"a/ct.nii.gz": "a/segmentations/vertebrae_L1.nii.gz"},
    ],
)
def test_pairs_by_names_of_many_habits(tmp_path, pairs):
    for image, mask in pairs.items():
        for case in ("a", "b"):
            for name in (image, mask):
                path = tmp_path / (name.replace("a", "@").replace("@", "a") if case == "a" else _other(name))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
    rows = guess_rows([tmp_path], list(walk(tmp_path)))
    assert len(rows) == 2
    for row in rows:
        assert row.mask is not None
        assert _letter(row.image.relative_to(tmp_path)) == _letter(row.mask.relative_to(tmp_path))


def _other(name):
    """The same for case b: the word `a` alone."""
    import re

    return re.sub(r"(?<![a-z])a(?![a-z])", "b", name)


def _letter(path):
    import re

    return set(re.findall(r"(?<![a-z])[ab](?![a-z])", str(path)))


class TestPatterns:
    def test_names_patients_splits_and_levels(self, tmp_path):
        for split, patient, case in (("train", "7", "x"), ("val", "8", "y")):
            for level in ("L1", "L2"):
                save(tmp_path / split / patient / f"{case}_masks" / f"vertebrae_{level}.nii.gz", spine_mask())
            save(tmp_path / split / patient / f"{case}.nii.gz", spine_mask())
        rows = match_patterns(
            [tmp_path], list(walk(tmp_path)), "{split}/{patient}/{case}.nii.gz",
            "*/*/{case}_masks/vertebrae_{level}.nii.gz",
        )  # fmt: skip
        assert [(r.case, r.patient, r.split, r.mask.name) for r in rows] == [
            ("x", "7", "training", "x_masks"), ("y", "8", "validation", "y_masks"),
        ]  # fmt: skip

    def test_what_is_wrong_with_a_pattern(self, tmp_path):
        save(tmp_path / "a" / "x.nii.gz", spine_mask())
        save(tmp_path / "b" / "x.nii.gz", spine_mask())
        files = list(walk(tmp_path))
        with pytest.raises(InputError, match=r"Put \{case\} where"):
            match_patterns([tmp_path], files, "*.nii.gz")
        with pytest.raises(InputError, match="x has two files for its image"):
            match_patterns([tmp_path], files, "**/{case}.nii.gz")
        with pytest.raises(InputError, match="--masks without --images"):
            find_scans([tmp_path], masks="{case}")


class TestValues:
    def test_all_ways_to_say_them(self, tmp_path):
        table = ((1, "L1"), (2, "L2"), (9, "background"), (10, "ignore"))
        assert read_values(["1=l1", "2=L2", "9=Background", "10=ignore"], []) == table
        path = tmp_path / "values.csv"
        path.write_text("Value;Level\r\n1;L1\r\n2;L2\r\n9;background\r\n10;ignore\r\n", encoding="cp1252")
        assert read_values([str(path)], []) == table
        assert dict(read_values(["verse"], []))[28] == "T13"
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "L4": 1}}), encoding="utf-8")
        assert read_values([str(tmp_path / "dataset.json")], []) == ((1, "L4"),)

    @pytest.mark.parametrize(("words", "found"), [(("1=L9",), "1=L9"), (("1=L1", "2=L1"), "is there twice"),
                                                  (("x=L1",), "x=L1"), (("many",), "label table 'many'")])  # fmt: skip
    def test_what_is_none(self, words, found):
        with pytest.raises(InputError, match=found):
            read_values(words, [])

    def test_background_and_ignored_values_in_a_dataset(self, tmp_path):
        mask = spine_mask((1, 2, 3)).astype(np.int16)
        mask[0, 0], mask[1, 1] = 900, 10
        save(tmp_path / "src" / "a.nii.gz", spine_ct(spine_mask()))
        save(tmp_path / "src" / "a_mask.nii.gz", mask)
        dataset, rows = convert(tmp_path, "--values", *VALUES, "900=background", "10=ignore")
        array = np.asarray(load_case(dataset, "a")[1].dataobj)
        assert not array[0, 0].any()
        assert (array[1, 1] == 27).all()
        assert rows["a"]["labels_after"] == "L1 L2 L3 ignore"
        with pytest.raises(InputError, match="the table of levels has no value 10"):
            convert(tmp_path, "--values", *VALUES, "900=background", raw="other")


class TestDicom:
    def test_a_folder_with_a_series_and_a_localiser(self, tmp_path):
        voxels, affine = turned(spine_ct(spine_mask()), AFFINE_RAS, "LPS")
        write_series(tmp_path / "src", voxels, affine)  # makes the folder
        for path in (tmp_path / "src").iterdir():
            (tmp_path / "src" / "dicom" / "p1").mkdir(parents=True, exist_ok=True)
            if path.is_file():
                path.rename(tmp_path / "src" / "dicom" / "p1" / path.stem)  # without ending
        write_series(tmp_path / "src" / "dicom" / "p1", voxels[..., :2], affine, uid="1.9", prefix="loc")
        save(tmp_path / "src" / "masks" / "p1.nii.gz", *turned(spine_mask((1, 2, 3)), AFFINE_RAS, "LPS"))
        lines = list(guess([tmp_path / "src"]))
        assert next(csv.reader(lines[1:2])) == ["p1", "p1", "", "dicom/p1", "masks/p1.nii.gz", ""]
        dataset, rows = convert(tmp_path, "--images", "dicom/{case}/", "--masks", "masks/{case}.nii.gz",
                                "--values", *VALUES)  # fmt: skip
        image, _, _ = load_case(dataset, "p1")
        np.testing.assert_array_equal(np.asarray(image.dataobj), voxels)
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        assert "1 series of up to 3 slices passed over" in rows["p1"]["flags"]

    def test_two_series_are_named(self, tmp_path):
        voxels, affine = turned(spine_ct(spine_mask()), AFFINE_RAS, "LPS")
        (tmp_path / "src").mkdir()
        write_series(tmp_path / "src" / "p1", voxels[..., :5], affine)
        write_series(tmp_path / "src" / "p1", voxels[..., :6], affine, uid="1.9", prefix="other")
        found = find_scans([tmp_path / "src"], images="{case}/")
        assert [(p.case, p.found.split(":")[0]) for p in found.problems] == [("p1", "2 DICOM series")]


def test_one_scan_in_four_forms_is_the_same_dataset(tmp_path):
    """As VerSe, as CSI2014's pair, as NIfTI with a table, and as DICOM: the same labels in the same places."""
    from test_converters import write_itk

    mask = spine_mask((20, 21, 22))
    ct = spine_ct(mask)
    subject(tmp_path / "verse" / "training", "a")
    run_convert("verse", tmp_path / "verse", "-d", "1", "-o", tmp_path / "raw")
    (tmp_path / "csi").mkdir()
    write_itk(tmp_path / "csi" / "a.mha", ct)
    write_itk(tmp_path / "csi" / "a_label.mha", np.where(mask, mask.astype(np.int16) * 100 - 1900, 0))
    run_convert("csi2014", tmp_path / "csi", "-d", "2", "-o", tmp_path / "raw", "--split", "training",
                "--first-level", "L1")  # fmt: skip
    save(tmp_path / "nifti" / "ct" / "a.nii.gz", ct)
    save(tmp_path / "nifti" / "mask" / "a.nii.gz", np.where(mask, mask - 19, 0).astype(np.float32))
    run_convert("generic", tmp_path / "nifti", "-d", "3", "-o", tmp_path / "raw", "--split", "training",
                "--values", *VALUES)  # fmt: skip
    (tmp_path / "dicom").mkdir()
    write_series(tmp_path / "dicom" / "a", ct, AFFINE_RAS)
    save(tmp_path / "dicom" / "a_seg.nii.gz", *turned(mask, AFFINE_RAS, "PIR"))
    run_convert("generic", tmp_path / "dicom", "-d", "4", "-o", tmp_path / "raw", "--split", "training",
                "--values", "verse", "--name", "Dicom")  # fmt: skip
    volumes = []
    for dataset in sorted((tmp_path / "raw").glob("Dataset00*")):
        image, label, centroids = load_case(dataset, "a")
        (voxels, affine), (labels, _) = (turned(np.asarray(v.dataobj), v.affine, "RAS") for v in (image, label))
        volumes.append((voxels, labels, affine, {v["name"]: v["mask_centroid_mm"] for v in centroids["vertebrae"]}))
    assert len(volumes) == 4
    for voxels, labels, affine, points in volumes:
        np.testing.assert_array_equal(voxels, ct)
        np.testing.assert_array_equal(labels, mask)
        np.testing.assert_allclose(affine, AFFINE_RAS, atol=1e-4)
        assert list(points) == ["L1", "L2", "L3"]
        for name, point in points.items():
            index = np.argwhere(mask == BY_NAME[name].verse_id).mean(0)
            np.testing.assert_allclose(point, (AFFINE_RAS @ [*index, 1])[:3], atol=0.01)
