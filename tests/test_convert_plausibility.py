"""What contradicts itself or a human body: decided by evidence, flagged with its figures, or stopped until accepted."""

import nibabel as nib
import numpy as np
import pytest
from test_converters import convert as convert_made
from test_converters import converter_of, scan_of
from verse_tree import AFFINE_RAS, load_case, run_convert, save, spine_ct, spine_mask, subject

from nnunet_spine.dataset_conversion.manifest import read_manifest
from nnunet_spine.errors import InputError


@pytest.fixture
def tree(tmp_path):
    """A good scan and one to be spoilt; returns image and mask of the latter."""
    subject(tmp_path / "v" / "training", "good")
    return subject(tmp_path / "v" / "training", "bad")


def convert(tmp_path, *options):
    return run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw", *options)


def flags(tmp_path):
    return {row["case"]: row["flags"] for row in read_manifest(tmp_path / "raw" / "Dataset001_VerSe" / "manifest.csv")}


def test_nothing_is_said_of_a_sound_scan(tmp_path, tree):
    convert(tmp_path)
    assert flags(tmp_path) == {"good": "", "bad": ""}


@pytest.mark.parametrize("lost", [np.eye(4), np.diag([-1.0, -1, 1, 1]), np.diag([2.0, 2, 2, 1])])
def test_a_mask_whose_header_was_lost_lies_on_the_voxels_of_its_image(tmp_path, tree, lost):
    save(tree[1], spine_mask(), lost)
    convert(tmp_path)
    _, label, _ = load_case(tmp_path / "raw" / "Dataset001_VerSe", "bad")
    np.testing.assert_array_equal(np.asarray(label.dataobj), spine_mask())
    assert "mask laid on the image voxel for voxel" in flags(tmp_path)["bad"]
    assert "decide for its voxels" in flags(tmp_path)["bad"]


def test_where_grey_values_do_not_decide_the_user_does(tmp_path, tree, capsys):
    save(tree[0], np.random.default_rng(0).normal(40, 20, spine_mask().shape).astype(np.int16))
    moved = AFFINE_RAS.copy()
    moved[0, 3] += 10
    save(tree[1], spine_mask(), moved)
    with pytest.raises(InputError, match="1 of 2 cases"):
        convert(tmp_path)
    error = capsys.readouterr().err
    assert "headers up to 10 mm apart; grey values under the labels do not decide" in error
    assert "--accept mask-grid" in error
    convert(tmp_path, "--mask-grid", "voxels")
    _, label, _ = load_case(tmp_path / "raw" / "Dataset001_VerSe", "bad")
    np.testing.assert_array_equal(np.asarray(label.dataobj), spine_mask())
    with pytest.raises(InputError, match="differs in: believe"):
        convert(tmp_path, "--mask-grid", "header")


def test_a_scan_that_is_upside_down_stops_until_it_is_accepted(tmp_path, tree, capsys):
    upside_down = AFFINE_RAS @ np.diag([1, 1, -1, 1])
    for path in tree:
        save(path, np.asarray(nib.load(path).dataobj), upside_down)
    with pytest.raises(InputError, match=r"upside down.*--accept upside-down"):
        convert(tmp_path)
    convert(tmp_path, "--accept", "upside-down")
    assert "upside-down: levels ascend from foot to head (L1 at z = " in flags(tmp_path)["bad"]
    assert flags(tmp_path)["good"] == ""
    with pytest.raises(InputError, match="differs in: accept"):
        convert(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda ct: ct + 1024,
        lambda ct: ((ct - ct.min()) / np.ptp(ct)).astype(np.float32),
        lambda ct: (np.clip((ct + 200) / 700, 0, 1) * 255).astype(np.uint8),
        lambda ct: spine_mask(),
    ],
    ids=["offset", "normalised", "windowed", "labels"],
)
def test_values_that_are_no_hounsfield_units_stop(tmp_path, tree, change):
    ct = spine_ct(spine_mask(), 1)
    ct[:, 18:] = -1000  # air behind the patient
    save(tree[0], change(ct).astype(change(ct).dtype))
    with pytest.raises(InputError, match=r"--accept (.* )?hu"):
        convert(tmp_path)
    save(tree[0], ct)
    convert(tmp_path)


def test_sform_and_qform_that_disagree(tmp_path, tree):
    image = nib.Nifti1Image(spine_ct(spine_mask()), AFFINE_RAS)
    image.set_sform(AFFINE_RAS, code=2)
    moved = AFFINE_RAS.copy()
    moved[:3, 3] += (0, 0, 7)
    image.set_qform(moved, code=1)
    nib.save(image, tree[0])
    convert(tmp_path)
    assert "header-place: " in flags(tmp_path)["bad"]
    assert "7" in flags(tmp_path)["bad"]
    image.set_qform(AFFINE_RAS @ np.diag([0.5, 0.5, 0.5, 1]), code=1)
    nib.save(image, tree[0])
    with pytest.raises(InputError, match="--accept header-spacing"):
        run_convert("verse", tmp_path / "v", "-d", "2", "-o", tmp_path / "raw")


def test_images_are_not_needed_for_the_order_of_levels(tmp_path):
    scan = scan_of(tmp_path, "a", image=None)
    save(scan.mask.path, spine_mask(), AFFINE_RAS @ np.diag([1, 1, -1, 1]))
    scans = scan, scan_of(tmp_path, "b")
    assert convert_made(tmp_path, converter_of(*scans))[0] == 2
    assert convert_made(tmp_path, converter_of(*scans), "--accept", "upside-down")[0] == 0
