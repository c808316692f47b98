"""`convert verse`: layouts, years, splits, label sets, corrections."""

import csv
import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from verse_tree import (
    AFFINE_RAS,
    digests,
    load_case,
    miccai,
    run_convert,
    save,
    spine_ct,
    spine_mask,
    subject,
    turned,
    write_voxel_centroids,
)

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.dataset_conversion.convert import build, plan_conversion
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.dataset_conversion.verse import CONVERTER, find_scans
from nnunet_spine.io import files, label_tables
from nnunet_spine.jobs import Processes, Run


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def manifest(dataset):
    with (dataset / "manifest.csv").open(encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_subject_layout_with_official_split(tmp_path, raw):
    source = tmp_path / "VerSe"
    subject(source / "dataset-verse19training" / "dataset-verse19training", "verse004")
    subject(source / "dataset-verse19training" / "dataset-verse19training", "verse405", "sub-verse405_split-verse258")
    subject(source / "dataset-verse19training" / "dataset-verse19training", "verse405", "sub-verse405_split-verse259")
    subject(source / "dataset-02validation", "gl017", "sub-gl017_dir-ax", codes="LPS")
    subject(source / "dataset-03test", "verse525", "sub-verse525_dir-sag", codes="PIR")
    before = digests(source, times=True)
    assert run_convert("verse", source, "-d", "710", "-o", raw) == 0
    assert digests(source, times=True) == before
    dataset = raw / "Dataset710_VerSe"
    assert [p.name for p in raw.iterdir()] == ["Dataset710_VerSe"]
    content = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    assert content["numTraining"] == 4
    assert content["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
    assert content["channel_names"] == {"0": "CT"}
    assert sorted(content["labels"].values()) == list(range(27))
    train = ["verse004", "verse405_verse258", "verse405_verse259"]
    assert json.loads((dataset / "splits_final.json").read_text(encoding="utf-8")) == [
        {"train": train, "val": ["gl017"]}
    ]
    assert sorted(p.name for p in (dataset / "imagesTr").iterdir()) == [f"{c}_0000.nii.gz" for c in ["gl017", *train]]
    assert [p.name for p in (dataset / "imagesTs").iterdir()] == ["verse525_0000.nii.gz"]
    assert [p.name for p in (dataset / "labelsTs").iterdir()] == ["verse525.nii.gz"]
    row = manifest(dataset)["verse525"]
    assert (row["patient"], row["split"], row["orientation"]) == ("verse525", "test", "PIR")
    assert (row["labels_before"], row["labels_after"]) == ("20 21 22", "L1 L2 L3")
    assert (row["spacing_mm"], row["centroid_frame"]) == ("2x2x2", "voxel")


def test_images_are_links_masks_are_own_files_and_copy_forces_copies(tmp_path, raw):
    image, mask = subject(tmp_path / "v" / "training", "a")
    before = mask.read_bytes()
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    run_convert("verse", tmp_path / "v", "-d", "2", "-o", raw, "--copy")
    linked, copied = raw / "Dataset001_VerSe", raw / "Dataset002_VerSe"
    name = "imagesTr/a_0000.nii.gz"
    assert (linked / name).samefile(image)
    assert not (copied / name).samefile(image)
    assert (copied / name).read_bytes() == image.read_bytes()
    for dataset in (linked, copied):
        # Masks get corrected by hand and carry their label names, which must not change the original.
        label = dataset / "labelsTr" / "a.nii.gz"
        assert not label.samefile(mask)
        np.testing.assert_array_equal(nib.load(label).dataobj, nib.load(mask).dataobj)
        np.testing.assert_array_equal(nib.load(label).affine, nib.load(mask).affine)
        assert label_tables.embedded_labels(label)[BY_NAME["T13"].nnunet_id] == "T13"
        assert json.loads((dataset / "labels.json").read_text(encoding="utf-8"))["kind"] == "nnunet"
    assert mask.read_bytes() == before


@pytest.mark.parametrize(("broken", "way"), [((), "hardlink"), (("link",), "symlink"), (("link", "symlink"), "copy")])
def test_link_falls_back(tmp_path, raw, monkeypatch, broken, way):
    def fail(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    for name in broken:
        monkeypatch.setattr(files.os, name, fail)
    image, _ = subject(tmp_path / "v" / "training", "a")
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    target = raw / "Dataset001_VerSe" / "imagesTr" / "a_0000.nii.gz"
    assert manifest(raw / "Dataset001_VerSe")["a"]["image_stored"] == way
    assert target.is_symlink() == (way == "symlink")
    assert target.read_bytes() == image.read_bytes()


def test_challenge_layout_2019(tmp_path, raw):
    flat = tmp_path / "VerSe2019" / "training"
    for series in ("verse014", "verse258", "verse259"):
        miccai(flat, f"{series}.nii.gz", f"{series}_seg.nii.gz", f"{series}_ctd.json")
    folders = tmp_path / "VerSe2019" / "test" / "verse200"
    miccai(folders, "verse200.nii.gz", "verse200_seg.nii.gz", "verse200_ctd.json")
    (flat / "verse014_snapshot.png").write_bytes(b"")
    run_convert("verse", tmp_path / "VerSe2019", "-d", "710", "-o", raw, "--folds", "2")
    rows = manifest(raw / "Dataset710_VerSe")
    assert list(rows) == ["verse014", "verse200", "verse405_verse258", "verse405_verse259"]
    assert rows["verse405_verse259"]["patient"] == "verse405"
    assert {row["cohort"] for row in rows.values()} == {"verse19"}
    assert {row["centroid_frame"] for row in rows.values()} == {"verse19"}
    assert rows["verse200"]["split"] == "test"
    for fold in json.loads((raw / "Dataset710_VerSe" / "splits_final.json").read_text(encoding="utf-8")):
        assert {"verse405_verse258", "verse405_verse259"} <= set(fold["train"]) or not any(
            case.startswith("verse405") for case in fold["train"]
        )


def test_challenge_layout_2020(tmp_path, raw):
    root = tmp_path / "data" / "01_training"
    miccai(root / "GL003", "GL003.nii.gz", "GL003_seg.nii.gz", "GL003_iso-ctd.json")
    miccai(root / "GL124", "GL124_CT-ax.nii.gz", "GL124_CT-ax_seg.nii.gz", "GL124_CT_ax-iso-ctd.json")
    miccai(root / "verse405", "verse405_verse258_CT-sag.nii.gz", "verse405_verse258_CT-sag_seg.nii.gz")
    (root / "verse999").mkdir()
    run_convert("verse", tmp_path / "data", "-d", "710", "-o", raw)
    rows = manifest(raw / "Dataset710_VerSe")
    assert list(rows) == ["gl003", "gl124", "verse405_verse258"]
    assert [row["centroid_frame"] for row in rows.values()] == ["verse20", "verse20", ""]
    assert {row["cohort"] for row in rows.values()} == {"verse20"}
    assert "no centroid file" in rows["verse405_verse258"]["flags"]


def test_union_takes_each_scan_once(tmp_path, raw):
    year19 = tmp_path / "v19" / "dataset-verse19training"
    subject(year19, "verse406", "sub-verse406_split-verse261", labels=(20, 21))
    subject(year19, "verse004")
    shared = tmp_path / "v20" / "01_training" / "verse406"
    names = [f"verse406_verse261_CT-sag{ending}" for ending in (".nii.gz", "_seg.nii.gz", "_iso-ctd.json")]
    miccai(shared, *names, labels=(19, 20, 21))
    only20 = tmp_path / "v20" / "02_validation" / "verse600"
    miccai(only20, "verse600.nii.gz", "verse600_seg.nii.gz", "verse600_iso-ctd.json")
    run_convert("verse", tmp_path / "v19", tmp_path / "v20", "-d", "1", "-o", raw)
    run_convert("verse", tmp_path / "v20", tmp_path / "v19", "-d", "2", "-o", raw, "--prefer", "2020")
    rows = manifest(raw / "Dataset001_VerSe")
    assert {case: row["cohort"] for case, row in rows.items()} == {
        "verse004": "verse19", "verse406_verse261": "verse19", "verse600": "verse20",
    }  # fmt: skip
    assert rows["verse406_verse261"]["labels_after"] == "L1 L2"
    assert "also in verse20 miccai" in rows["verse406_verse261"]["flags"]
    row = manifest(raw / "Dataset002_VerSe")["verse406_verse261"]
    assert (row["cohort"], row["labels_after"]) == ("verse20", "T12 L1 L2")


def test_union_prefers_layout_then_year(tmp_path):
    subject(tmp_path / "v19" / "dataset-verse19training", "verse020")
    folder = tmp_path / "v20" / "01_training" / "verse020"
    miccai(folder, "verse020.nii.gz", "verse020_seg.nii.gz", "verse020_iso-ctd.json")
    flat = tmp_path / "m19" / "verse19" / "training"
    miccai(flat, "verse020.nii.gz", "verse020_seg.nii.gz", "verse020_ctd.json")
    trees = [tmp_path / "v20", tmp_path / "v19", tmp_path / "m19"]

    def chosen(places, prefer="auto"):
        (scan,) = find_scans(places, prefer=prefer).scans
        return scan.cohort, scan.layout

    assert chosen(trees) == ("verse19", "subject")
    assert chosen([trees[0], trees[2]]) == ("verse20", "miccai")
    assert chosen(trees, "2020") == ("verse20", "miccai")
    assert chosen([trees[0], trees[2]], "2019") == ("verse19", "miccai")
    (scan,) = find_scans(trees).scans
    assert scan.flags == ("also in verse20 miccai (training)", "also in verse19 miccai (training)")


def test_incomplete_copy_does_not_matter_where_a_whole_one_exists(tmp_path):
    subject(tmp_path / "v19" / "dataset-verse19training", "verse020")
    folder = tmp_path / "v20" / "01_training" / "verse020"
    miccai(folder, "verse020.nii.gz", "verse020_seg.nii.gz")
    (folder / "verse020_seg.nii.gz").unlink()
    found = find_scans([tmp_path / "v19", tmp_path / "v20"])
    assert [s.cohort for s in found.scans] == ["verse19"]
    assert not found.problems
    assert "another copy is complete" in found.remarks[0]


def test_overlapping_sources_are_no_duplicates(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    found = find_scans([tmp_path / "v", tmp_path / "v" / "training", tmp_path / "v"])
    assert [s.case for s in found.scans] == ["a"]
    assert not found.problems


def test_labels_become_consecutive(tmp_path, raw):
    subject(tmp_path / "v" / "training", "a", labels=(19, 28, 20))
    subject(tmp_path / "v" / "training", "b", labels=(24, 25))
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", raw)
    dataset = raw / "Dataset710_VerSe"
    _, label, points = load_case(dataset, "a")
    assert label.get_data_dtype() == np.uint8
    assert set(np.unique(label.dataobj)) == {0, 19, 26, 20}
    assert [v["name"] for v in points["vertebrae"]] == ["T12", "T13", "L1"]
    assert [v["verse_id"] for v in points["vertebrae"]] == [19, 28, 20]
    assert manifest(dataset)["a"]["labels_after"] == "T12 T13 L1"
    assert set(np.unique(load_case(dataset, "b")[1].dataobj)) == {0, 24, 25}


def test_islands_are_removed_or_reported(tmp_path, raw):
    mask = spine_mask((20, 21))
    mask[0:2, 0, 39] = 3  # 16 mm3: noise
    mask[20:23, 1, 1] = 21  # 24 mm3 off a large label: reported only
    mask[0:5, 15:20, 0:3] = 23  # 600 mm3, not in the centroid file
    _, path = subject(tmp_path / "v" / "training", "a", mask=mask)
    centroids = path.with_name("sub-a_seg-subreg_ctd.json")
    write_voxel_centroids(centroids, spine_mask((20, 21)), AFFINE_RAS)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    run_convert("verse", tmp_path / "v", "-d", "2", "-o", raw, "--remove-islands")
    run_convert("verse", tmp_path / "v", "-d", "3", "-o", raw, "--min-volume", "0")
    label = np.asarray(load_case(raw / "Dataset001_VerSe", "a")[1].dataobj)
    assert set(np.unique(label)) == {0, 20, 21}
    assert label[20, 1, 1] == 21
    row = manifest(raw / "Dataset001_VerSe")["a"]
    assert "C3 removed (16 mm3)" in row["islands"]
    assert "L4 removed (600 mm3, not in the centroid file and below 2000 mm3)" in row["islands"]
    assert "L2 1 pieces kept (24 mm3)" in row["islands"]
    assert row["labels_before"] == "3 20 21 23"
    label = np.asarray(load_case(raw / "Dataset002_VerSe", "a")[1].dataobj)
    np.testing.assert_array_equal(label, spine_mask((20, 21)))
    label = np.asarray(load_case(raw / "Dataset003_VerSe", "a")[1].dataobj)
    np.testing.assert_array_equal(label, mask)


def test_corrections_from_a_file(tmp_path, raw):
    subject(tmp_path / "v" / "training", "a", labels=(20, 21))
    subject(tmp_path / "v" / "training", "b", labels=(20, 21))
    listing = tmp_path / "list.csv"
    listing.write_text("case,from,to\na,L1,T13\na,21,20\nb,*,T11-T12\nzz,L1,L2\n", encoding="utf-8")
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw, "--corrections", listing)
    dataset = raw / "Dataset001_VerSe"
    assert [v["name"] for v in load_case(dataset, "a")[2]["vertebrae"]] == ["T13", "L1"]
    assert set(np.unique(load_case(dataset, "a")[1].dataobj)) == {0, 26, 20}
    assert [v["name"] for v in load_case(dataset, "b")[2]["vertebrae"]] == ["T11", "T12"]
    assert "levels corrected" in manifest(dataset)["a"]["flags"]


def test_built_in_corrections_are_off_by_default(tmp_path, raw):
    subject(tmp_path / "v" / "training", "verse509", labels=(19, 20, 21))
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    run_convert("verse", tmp_path / "v", "-d", "2", "-o", raw, "--corrections", "veridah")
    names = [[v["name"] for v in load_case(raw / f"Dataset00{i}_VerSe", "verse509")[2]["vertebrae"]] for i in (1, 2)]
    assert names == [["T12", "L1", "L2"], ["T12", "T13", "L1"]]


def test_regions_and_spine_share_the_images(tmp_path, raw):
    subject(tmp_path / "v" / "training", "a", labels=(7, 8, 19, 20))
    subject(tmp_path / "v" / "validation", "b", labels=(19, 28, 20))
    subject(tmp_path / "v" / "test", "c")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", raw)
    run_convert("verse", "-d", "711", "-o", raw, "--labels", "regions", "--images-from", "710")
    run_convert("verse", "-d", "712", "-o", raw, "--labels", "spine", "--images-from", "710")
    for name, values in (("Dataset711_VerSeRegions", {0, 1, 2, 3}), ("Dataset712_VerSeSpine", {0, 1})):
        content = json.loads((raw / name / "dataset.json").read_text(encoding="utf-8"))
        assert content["numTraining"] == 2
        assert set(content["labels"].values()) == values
        assert content["dataset"]["a"]["images"] == ["../Dataset710_VerSe/imagesTr/a_0000.nii.gz"]
        assert not (raw / name / "imagesTr").exists()
        assert (raw / name / "labelsTs" / "c.nii.gz").is_file()
        folds = (raw / name / "splits_final.json").read_text(encoding="utf-8")
        assert folds == (raw / "Dataset710_VerSe" / "splits_final.json").read_text(encoding="utf-8")
    fine = nib.load(raw / "Dataset710_VerSe" / "labelsTr" / "b.nii.gz")
    coarse = nib.load(raw / "Dataset711_VerSeRegions" / "labelsTr" / "b.nii.gz")
    np.testing.assert_array_equal(fine.affine, coarse.affine)
    fine, coarse = np.asarray(fine.dataobj), np.asarray(coarse.dataobj)
    assert {(int(a), int(b)) for a, b in zip(fine.ravel(), coarse.ravel(), strict=True)} == {
        (0, 0), (19, 2), (26, 2), (20, 3),
    }  # fmt: skip


def test_regions_of_sources_are_a_dataset_of_their_own(tmp_path, raw):
    image, _ = subject(tmp_path / "v" / "training", "a", labels=(7, 8, 20))
    run_convert("verse", tmp_path / "v", "-d", "711", "-o", raw, "--labels", "regions")
    dataset = raw / "Dataset711_VerSeRegions"
    assert (dataset / "imagesTr" / "a_0000.nii.gz").samefile(image)
    assert set(np.unique(load_case(dataset, "a")[1].dataobj)) == {0, 1, 2, 3}


def test_image_that_nnunet_cannot_read_is_rewritten(tmp_path, raw):
    mask = spine_mask()
    ct = spine_ct(mask)
    root = tmp_path / "v" / "training"
    subject(root, "plain")
    (root / "rawdata" / "sub-plain" / "sub-plain_ct.nii.gz").unlink()
    save(root / "rawdata" / "sub-plain" / "sub-plain_ct.nii", ct)
    subject(root, "tail")
    path = root / "rawdata" / "sub-tail" / "sub-tail_ct.nii.gz"
    nib.save(nib.Nifti1Image(ct[..., None], AFFINE_RAS), path)
    subject(root, "pixdim")
    path = root / "rawdata" / "sub-pixdim" / "sub-pixdim_ct.nii.gz"
    stored = (ct + 1024) // 2
    wrong = nib.Nifti1Image(stored, AFFINE_RAS)
    wrong.header["pixdim"][1:4] = 1
    wrong.header["qform_code"] = 0
    wrong.header.set_slope_inter(2, -1024)
    _save_with_header(wrong, stored, path)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw, "--accept", "header-spacing")
    dataset = raw / "Dataset001_VerSe"
    for case in ("plain", "tail", "pixdim"):
        assert manifest(dataset)[case]["image_stored"] == "rewritten"
        image = load_case(dataset, case)[0]
        assert image.shape == mask.shape
        np.testing.assert_allclose(image.header.get_zooms(), 2)
        np.testing.assert_allclose(image.affine, AFFINE_RAS)
        expected = stored * 2.0 - 1024 if case == "pixdim" else ct
        np.testing.assert_array_equal(image.get_fdata(), expected)


def _save_with_header(image, array, path):
    """Header as it stands, stored values as given."""
    header = image.header.copy()
    header.set_data_dtype(array.dtype)
    with gzip.open(path, "wb") as file:
        header.write_to(file)
        file.write(array.tobytes(order="F"))


def test_dry_run_writes_nothing_and_says_what_it_found(tmp_path, raw, capsys):
    subject(tmp_path / "v" / "training", "a")
    subject(tmp_path / "v" / "validation", "b", codes="LPS", centroids=False)
    before = digests(tmp_path, times=True)
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", raw, "--dry-run")
    assert digests(tmp_path, times=True) == before
    out = capsys.readouterr().out
    assert "2 scans of 2 patients: 1 training, 1 validation, 0 test" in out
    assert "b: no centroid file" in out
    assert "nothing written" in out


def test_quiet_prints_nothing(tmp_path, raw, capsys):
    subject(tmp_path / "v" / "training", "a")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", raw, "--quiet")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_workers_make_no_difference(tmp_path, raw):
    for name in "abc":
        subject(tmp_path / "v" / "training", name, dtype=np.float64)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw / "one")
    plan = plan_conversion(CONVERTER, [tmp_path / "v"], Target(raw / "two", 1, "VerSe"))
    assert build(plan, Run(Processes(2))) == 3
    assert digests(raw / "one") == digests(raw / "two")


def test_mask_in_another_orientation_is_turned(tmp_path, raw):
    mask = spine_mask()
    root = tmp_path / "v" / "training"
    _, path = subject(root, "a", codes="LPS")
    save(path, *turned(mask, AFFINE_RAS, "PIR"))
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    image, label, _ = load_case(raw / "Dataset001_VerSe", "a")
    np.testing.assert_array_equal(np.asarray(label.dataobj), turned(mask, AFFINE_RAS, "LPS")[0])
    np.testing.assert_array_equal(label.affine, image.affine)
    assert "mask reoriented from PIR to LPS" in manifest(raw / "Dataset001_VerSe")["a"]["flags"]


def test_shifted_mask_is_resampled_through_the_world(tmp_path, raw):
    mask = spine_mask()
    _, path = subject(tmp_path / "v" / "training", "a")
    shifted = AFFINE_RAS.copy()
    shifted[:3, 3] += (4, -2, 2)  # by (2, -1, 1) voxels
    save(path, np.roll(mask, (-2, 1, -1), (0, 1, 2)), shifted)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    label = np.asarray(load_case(raw / "Dataset001_VerSe", "a")[1].dataobj)
    np.testing.assert_array_equal(label, mask)
    flags = manifest(raw / "Dataset001_VerSe")["a"]["flags"]
    assert "mask resampled" in flags
    assert (
        "mask-grid: mask and image have one shape and headers up to 4.9 mm apart; grey values under the labels "
        in flags
    )
    assert "decide for its header" in flags


def test_mask_of_another_shape_is_resampled_on_request(tmp_path, raw):
    mask = spine_mask()
    _, path = subject(tmp_path / "v" / "training", "a")
    crop = AFFINE_RAS.copy()
    crop[:3, 3] += (4, 4, 0)  # starts at voxel (2, 2, 0)
    save(path, mask[2:, 2:], crop)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw, "--resample")
    np.testing.assert_array_equal(np.asarray(load_case(raw / "Dataset001_VerSe", "a")[1].dataobj), mask)


def test_names_levels_and_values_agree(tmp_path, raw):
    subject(tmp_path / "v" / "training", "a", labels=(1, 2, 28, 25))
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", raw)
    _, label, points = load_case(raw / "Dataset001_VerSe", "a")
    array = np.asarray(label.dataobj)
    for vertebra in points["vertebrae"]:
        assert vertebra["label"] == BY_NAME[vertebra["name"]].nnunet_id
        centre = np.argwhere(array == vertebra["label"]).mean(0)
        np.testing.assert_allclose(
            vertebra["mask_centroid_mm"], AFFINE_RAS[:3, :3] @ centre + AFFINE_RAS[:3, 3], atol=1e-3
        )
