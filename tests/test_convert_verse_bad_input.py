"""Bad input to `convert verse`: a clear message, nothing written; with --skip-bad the case is left out and listed."""

import errno
import gzip
import json
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS, digests, run_convert, save, spine_ct, spine_mask, subject

from nnunet_spine.errors import InputError, WriteError


@pytest.fixture
def tree(tmp_path):
    """A source with a good case `good` and a case `bad` to be spoilt."""
    root = tmp_path / "v" / "training"
    subject(root, "good")
    subject(root, "bad")
    return root


def image_of(root):
    return root / "rawdata" / "sub-bad" / "sub-bad_ct.nii.gz"


def mask_of(root):
    return root / "derivatives" / "sub-bad" / "sub-bad_seg-vert_msk.nii.gz"


def four_axes(root):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), AFFINE_RAS), image_of(root))


def four_axes_in_mask(root):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.uint8), AFFINE_RAS), mask_of(root))


def nan_in_image(root):
    ct = spine_ct(spine_mask()).astype(np.float32)
    ct[3, 3, 3] = np.nan
    save(image_of(root), ct)


def fraction_in_mask(root):
    mask = spine_mask().astype(np.float32)
    mask[3, 3, 3] = 20.4
    save(mask_of(root), mask)


def infinite_mask(root):
    mask = spine_mask().astype(np.float32)
    mask[3, 3, 3] = np.inf
    save(mask_of(root), mask)


def negative_mask(root):
    save(mask_of(root), spine_mask().astype(np.int16) - 1)


def other_shape(root):
    save(mask_of(root), spine_mask()[:-1])


def elsewhere(root):
    far = AFFINE_RAS.copy()
    far[:3, 3] += 500
    save(mask_of(root), np.roll(spine_mask(), 8, 0), far)


def unknown_label(root):
    mask = spine_mask()
    mask[:3, :3, :3] = 26
    save(mask_of(root), mask)


def truncated_image(root):
    data = image_of(root).read_bytes()
    image_of(root).write_bytes(data[: len(data) // 2])


def truncated_mask(root):
    data = mask_of(root).read_bytes()
    mask_of(root).write_bytes(data[:-9])


def empty_image(root):
    image_of(root).write_bytes(b"")


def not_gzip(root):
    image_of(root).write_bytes(b"<html>404 not found</html>" * 10)


def damaged_mask(root):
    data = bytearray(mask_of(root).read_bytes())
    data[len(data) // 2] ^= 0xFF
    mask_of(root).write_bytes(bytes(data))


def singular_affine(root):
    ct = nib.Nifti1Image(spine_ct(spine_mask()), AFFINE_RAS)
    ct.header["srow_x"] = 0
    ct.header["sform_code"] = 2
    header = ct.header.copy()
    with gzip.open(image_of(root), "wb") as file:
        header.write_to(file)
        file.write(np.asarray(ct.dataobj).tobytes(order="F"))


def colours(root):
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, AFFINE_RAS), image_of(root))


def no_mask(root):
    mask_of(root).unlink()


def no_image(root):
    image_of(root).unlink()


def dangling_link(root):
    image_of(root).unlink()
    image_of(root).symlink_to("../../../.git/annex/objects/SHA256-1")


def duplicate(root):
    subject(root.parent / "again" / "training", "bad")


BAD = [
    (four_axes, r"4-D image of shape \(4, 4, 4, 2\); expected 3-D"),
    (four_axes_in_mask, r"seg-vert_msk.nii.gz: 4-D image"),
    (nan_in_image, "NaN or infinite voxels in the image"),
    (fraction_in_mask, r"no whole numbers in 1 voxel \(e.g. 20.4\)"),
    (infinite_mask, r"no whole numbers in 1 voxel \(e.g. inf\)"),
    (negative_mask, r"values outside 0 to 255 in 1\d+ voxels \(e.g. -1\)"),
    (other_shape, r"mask of shape \(23, 20, 40\) for an image of shape \(24, 20, 40\)"),
    (elsewhere, "the mask lies elsewhere than its image: 100 %.*--mask-grid voxels"),
    (unknown_label, r"unknown label 26 \(27 voxels\).*--drop-labels 26"),
    (truncated_image, "truncated"),
    (truncated_mask, "truncated"),
    (empty_image, "not readable as NIfTI"),
    (not_gzip, "not readable as NIfTI"),
    (damaged_mask, "damaged compression|not readable"),
    (singular_affine, "affine is singular"),
    (colours, "expected real numbers"),
    (no_mask, "image without a mask"),
    (no_image, "mask without an image"),
    (duplicate, "duplicate case"),
    (dangling_link, "link to a file that is not there. Fetch it"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_bad_case_stops_the_run_before_anything_is_written(tmp_path, tree, spoil, message, capsys):
    spoil(tree)
    before = digests(tmp_path, times=True)
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    with pytest.raises(InputError, match=r"1 of 2 cases cannot be used.*nothing was written.*--skip-bad") as info:
        run_convert(*argv)
    assert "bad: " in str(info.value)
    lines = capsys.readouterr().err
    assert re.search(message, lines), lines
    assert digests(tmp_path, times=True) == before


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_skip_bad_leaves_the_case_out_and_lists_it(tmp_path, tree, spoil, message, capsys):
    spoil(tree)
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--skip-bad")
    dataset = tmp_path / "raw" / "Dataset710_VerSe"
    assert [p.name for p in (dataset / "imagesTr").iterdir()] == ["good_0000.nii.gz"]
    assert [p.name for p in (dataset / "labelsTr").iterdir()] == ["good.nii.gz"]
    assert list(json.loads((dataset / "conversion.json").read_text(encoding="utf-8"))["left_out"]) == ["bad"]
    assert "1 bad case left out:\n  bad: " in capsys.readouterr().err
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--skip-bad")
    assert "is complete, nothing to do (1 case was left out as bad: bad)" in capsys.readouterr().out


@pytest.mark.parametrize(("spoil", "message"), BAD[:3], ids=[spoil.__name__ for spoil, _ in BAD[:3]])
def test_dry_run_finds_bad_cases(tmp_path, tree, spoil, message):
    spoil(tree)
    with pytest.raises(InputError, match="1 of 2 cases cannot be used"):
        run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--dry-run")
    assert not (tmp_path / "raw").exists()


def test_mended_case_is_converted(tmp_path, tree):
    data = image_of(tree).read_bytes()
    truncated_image(tree)
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    with pytest.raises(InputError):
        run_convert(*argv)
    image_of(tree).write_bytes(data)
    run_convert(*argv)


def test_damage_inside_an_image_is_found(tmp_path, tree):
    raw = nib.load(image_of(tree)).header
    content = bytearray(gzip.decompress(image_of(tree).read_bytes()))
    packed = bytearray(gzip.compress(bytes(content), 0, mtime=0))
    packed[len(packed) // 2] ^= 1  # stored blocks: still decompresses, only the checksum tells
    image_of(tree).write_bytes(bytes(packed))
    assert raw.get_data_shape() == (24, 20, 40)
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    with pytest.raises(InputError, match="damaged compression"):
        run_convert(*argv)


def test_missing_centroids_are_a_remark(tmp_path, tree, capsys):
    (tree / "derivatives" / "sub-bad" / "sub-bad_seg-subreg_ctd.json").unlink()
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    assert "bad: no centroid file" in capsys.readouterr().out
    content = json.loads(
        (tmp_path / "raw" / "Dataset710_VerSe" / "centroidsTr" / "bad.json").read_text(encoding="utf-8")
    )
    assert [v["name"] for v in content["vertebrae"]] == ["L1", "L2", "L3"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": 1}',
        "[1, 2]",
        '[{"label": NaN, "X": 1, "Y": 1, "Z": 1}]',
        '[{"direction": null}]',
        '[{"label": 20, "X": 999, "Y": 999, "Z": 999}]',
    ],
)
def test_unusable_centroids_are_a_remark(tmp_path, tree, text, capsys):
    (tree / "derivatives" / "sub-bad" / "sub-bad_seg-subreg_ctd.json").write_text(text, encoding="utf-8")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    assert "bad: centroid file not used" in capsys.readouterr().out


def test_nan_in_a_mask_is_background_and_reported(tmp_path, tree, capsys):
    mask = spine_mask().astype(np.float64)
    mask[0, 0, :5] = np.nan
    save(mask_of(tree), mask)
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    label = nib.load(tmp_path / "raw" / "Dataset710_VerSe" / "labelsTr" / "bad.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), spine_mask())
    assert "NaN in 5 voxels of the mask set to 0" in capsys.readouterr().out


def test_empty_mask_is_a_remark(tmp_path, tree, capsys):
    save(mask_of(tree), np.zeros_like(spine_mask()))
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    assert "no label in the mask" in capsys.readouterr().out


def test_unknown_label_can_be_dropped(tmp_path, tree):
    unknown_label(tree)
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--drop-labels", "26")
    label = nib.load(tmp_path / "raw" / "Dataset710_VerSe" / "labelsTr" / "bad.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), spine_mask())


def test_correction_that_does_not_fit_is_a_bad_case(tmp_path, tree):
    listing = tmp_path / "list.csv"
    listing.write_text("bad,*,L1-L5\n", encoding="utf-8")
    with pytest.raises(InputError, match="the correction names 5 levels, the mask has 3"):
        run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw", "--corrections", listing)


def test_missing_or_empty_source(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        run_convert("verse", tmp_path / "nothing", "-d", "1", "-o", tmp_path / "raw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no VerSe scan found"):
        run_convert("verse", tmp_path / "empty", "-d", "1", "-o", tmp_path / "raw")
    with pytest.raises(InputError, match="no source folder"):
        run_convert("verse", "-d", "1", "-o", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_raw_folder(tmp_path, tree, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(InputError, match="nnUNet_raw is not set"):
        run_convert("verse", tmp_path / "v", "-d", "1")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "from_env"))
    run_convert("verse", tmp_path / "v", "-d", "1")
    assert (tmp_path / "from_env" / "Dataset001_VerSe" / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("number", "name"), [("0", "VerSe"), ("1000", "VerSe"), ("1", "a b"), ("1", "a__b"), ("1", "a/b")]
)
def test_number_and_name(tmp_path, tree, number, name):
    with pytest.raises(InputError, match=r"dataset id|dataset name"):
        run_convert("verse", tmp_path / "v", "-d", number, "--name", name, "-o", tmp_path / "raw")


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_number_of_another_dataset(tmp_path, tree, monkeypatch, variable):
    other = tmp_path / variable / "Dataset710_Liver"
    other.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "nnUNet_raw"))
    monkeypatch.setenv(variable, str(tmp_path / variable))
    before = digests(tmp_path, times=True)
    with pytest.raises(InputError, match=r"Dataset710_Liver: dataset id 710 is taken. Choose another id with -d"):
        run_convert("verse", tmp_path / "v", "-d", "710")
    assert digests(tmp_path, times=True) == before


def test_folder_of_someone_else(tmp_path, tree):
    folder = tmp_path / "raw" / "Dataset710_VerSe"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}", encoding="utf-8")
    before = digests(tmp_path, times=True)
    with pytest.raises(InputError, match="was not written by nnunet-spine"):
        run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    assert digests(tmp_path, times=True) == before


def test_derived_dataset_needs_a_vertebrae_dataset(tmp_path, tree):
    raw = tmp_path / "raw"
    argv = ("verse", "-d", "711", "-o", raw, "--labels", "regions", "--images-from")
    with pytest.raises(InputError, match="Convert the vertebrae dataset first"):
        run_convert(*argv, "710")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", raw, "--labels", "spine")
    with pytest.raises(InputError, match="not a vertebrae dataset"):
        run_convert(*argv, "710")
    with pytest.raises(InputError, match="Choose --labels regions or spine"):
        run_convert("verse", "-d", "711", "-o", raw, "--images-from", "710")
    with pytest.raises(InputError, match="Give one of the two"):
        run_convert("verse", tmp_path / "v", *argv[1:], "710")


def test_file_in_place_of_the_raw_folder(tmp_path, tree):
    (tmp_path / "raw").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a file, not a folder"):
        run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")


def test_unwritable_target(tmp_path, tree):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(WriteError, match="cannot be written"):
        run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "file" / "raw")


@pytest.mark.parametrize(
    ("call", "n"),
    [("link", 1), ("link", 2), ("replace", 1), ("replace", 2), ("replace", 5), ("rename", 1)],
)
def test_full_disk(tmp_path, tree, monkeypatch, call, n):
    """Write number n and all later ones fail: nothing is visible, and the next run completes the work."""
    owner = os if call == "link" else Path  # Python 3.10 binds os.replace inside pathlib
    original, count = getattr(owner, call), 0

    def full(*args, **kwargs):
        nonlocal count
        count += 1
        if count >= n:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        with pytest.raises(WriteError, match="No space left on device"):
            run_convert(*argv)
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [".partial-Dataset710_VerSe"]
    run_convert(*argv)
    run_convert(*argv[:-2], tmp_path / "fresh")
    assert digests(tmp_path / "raw") == digests(tmp_path / "fresh")


def test_full_disk_while_voxels_are_written(tmp_path, tree, monkeypatch):
    subject(tree, "float", dtype=np.float64)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(nib, "save", full)
        with pytest.raises(WriteError, match="Free some space"):
            run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    left = [p.name for p in (tmp_path / "raw").rglob("*") if p.is_file() and "partial" in p.name]
    assert left == []
