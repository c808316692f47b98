"""One name per bone: whole masks through the command and as arrays."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine.cli import main
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.naming import relabel

AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])


def bricks(levels, heights=None):
    """Bodies of 24 x 24 mm, from head to foot, with discs between; nnU-Net ids."""
    heights = heights or [18] * len(levels)
    mask = np.zeros((24, 24, sum(heights) + 4 * len(levels)), np.uint8)
    top = mask.shape[2]
    for level, height in zip(levels, heights, strict=True):
        mask[4:20, 4:20, top - height : top] = level
        top -= height + 4
    return mask


RIGHT = bricks([18, 19, 20, 21, 22, 23])  # T11 to L4


def test_right_mask_is_returned_as_it_is():
    result = relabel(RIGHT, AFFINE)
    assert result.labels is RIGHT and result.changes == () and result.unsure == ""
    assert [bone.name for bone in result.bones] == ["T11", "T12", "L1", "L2", "L3", "L4"]


def test_two_names_in_a_bone_become_one():
    wrong = RIGHT.copy()
    wrong[4:20, 4:11][wrong[4:20, 4:11] == 21] = 22
    result = relabel(wrong, AFFINE)
    assert np.array_equal(result.labels, RIGHT)
    assert len(result.changes) == 1 and "L2" in result.changes[0]
    assert relabel(result.labels, AFFINE).changes == ()


def test_name_given_twice_is_corrected():
    wrong = np.where(RIGHT == 21, 20, RIGHT).astype(np.uint8)
    assert np.array_equal(relabel(wrong, AFFINE).labels, RIGHT)


def test_outline_stays():
    wrong = np.where((RIGHT == 21) | (RIGHT == 19), 5, RIGHT).astype(np.uint8)
    assert np.array_equal(relabel(wrong, AFFINE).labels > 0, RIGHT > 0)


def test_numbers_that_are_no_names_are_not_named_without_a_boundary():
    result = relabel(np.where(RIGHT > 0, RIGHT - 10, 0).astype(np.uint8), AFFINE, named=False)
    assert result.unsure and result.changes == ()


@pytest.mark.parametrize("mask", [np.zeros((9, 9, 9), np.uint8)], ids=["empty"])
def test_nothing_to_tell(mask):
    result = relabel(mask, AFFINE)
    assert result.bones == () and result.labels is mask and "no vertebra" in result.unsure


def test_noise_gets_no_invented_names():
    rng = np.random.default_rng(0)
    noise = np.zeros((60, 60, 60), np.uint8)
    for _ in range(30):
        at = rng.integers(2, 56, 3)
        noise[tuple(slice(a, a + 3) for a in at)] = rng.integers(1, 25)
    result = relabel(noise, AFFINE)
    assert result.unsure and result.labels is noise


def run(*arguments):
    return main(["relabel", *map(str, arguments)])


@pytest.fixture
def masks(tmp_path):
    """A right mask, one to correct and an empty one, in VerSe ids with a sacrum."""
    folder = tmp_path / "masks"
    right = RIGHT.copy()
    right[0:3, 0:3, 0:3] = 26
    wrong = np.where(right == 21, 20, right).astype(np.uint8)
    for name, mask in {"right": right, "wrong": wrong, "empty": right * 0}.items():
        write_nifti(folder / f"{name}.nii.gz", mask, AFFINE)
    return folder


def test_command_corrects_copies_and_lists(masks, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("-i", masks, "-o", out, "--labels", "verse", "-np", 1) == 0
    assert (out / "right.nii.gz").read_bytes() == (masks / "right.nii.gz").read_bytes()
    assert (out / "empty.nii.gz").read_bytes() == (masks / "empty.nii.gz").read_bytes()
    assert np.array_equal(nib.load(out / "wrong.nii.gz").get_fdata(), nib.load(masks / "right.nii.gz").get_fdata())
    with (out / "relabel.csv").open(encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[c]["state"] for c in ("right", "wrong", "empty")] == ["unchanged", "changed", "unsure"]
    report = json.loads((out / "wrong_relabel.json").read_text(encoding="utf-8"))
    assert [bone["name"] for bone in report["bones"]] == ["T11", "T12", "L1", "L2", "L3", "L4"]
    assert "1 unchanged, 1 changed, 1 unsure" in capsys.readouterr().out
    again = tmp_path / "again"
    assert run("-i", out, "-o", again, "--labels", "verse", "-np", 1) == 0
    for name in ("right", "wrong", "empty"):
        assert (again / f"{name}.nii.gz").read_bytes() == (out / f"{name}.nii.gz").read_bytes()


def test_bad_input_is_one_line(masks, tmp_path, capsys):
    assert run("-i", tmp_path / "nowhere", "-o", tmp_path / "o") == 2
    assert run("-i", masks, "-o", masks) == 2
    assert run("-i", masks, "-o", tmp_path / "o", "--sure", "2") == 2
    assert all(line.startswith("nnunet-spine relabel: ") for line in capsys.readouterr().err.splitlines())
    write_nifti(masks / "odd.nii.gz", np.full((9, 9, 9), 99, np.uint8), AFFINE)
    assert run("-i", masks, "-o", tmp_path / "o", "--labels", "verse", "-np", 1) == 1
    assert "label 99" in capsys.readouterr().err


def test_real_masks_go_through_unchanged(real_data, tmp_path):
    for name, labels in (("sub-tptbox_seg-vert_msk", "verse"), ("torso_sm_seg", "totalsegmentator")):
        mask = real_data / "ct" / f"{name}.nii.gz"
        assert run("-i", mask, "-o", tmp_path, "--labels", labels, "-np", 1) == 0
        assert (tmp_path / mask.name).read_bytes() == mask.read_bytes()
