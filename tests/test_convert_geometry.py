"""World geometry survives conversion: all 48 orientations, oblique grids, float masks, noisy headers."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS, load_case, run_convert, save, spine_ct, spine_mask, turned

from nnunet_spine.centroids import measure
from nnunet_spine.geometry import to_index, to_world

ORIENTATIONS = [
    "".join(pair[side] for pair, side in zip(axes, sides, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for sides in product((0, 1), repeat=3)
]


def synthetic():
    """A volume with unequal spacing and shape, whose labels differ in size and place."""
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[:3, 3] = (-31.3, 12.7, 104.1)
    mask = spine_mask((19, 28, 20))
    return spine_ct(mask), mask, affine


def real(folder):
    """A real CT with masks of L2 to L4."""
    image = nib.load(folder / "ct" / "sub-tptbox_ct.nii.gz")
    mask = nib.load(folder / "ct" / "sub-tptbox_seg-vert_msk.nii.gz")
    return np.asarray(image.dataobj), np.asarray(mask.dataobj), image.affine


@pytest.fixture(params=["synthetic", "real"])
def volume(request):
    """CT, VerSe mask and affine."""
    return synthetic() if request.param == "synthetic" else real(request.getfixturevalue("real_data"))


def world_points(mask, affine, n=400):
    """World points at voxel centres: half of them labelled."""
    rng = np.random.default_rng(1)
    labelled = np.argwhere(mask > 0)
    index = np.concatenate([rng.choice(labelled, n // 2), rng.integers(0, mask.shape, (n // 2, 3))])
    return to_world(affine, index), mask[tuple(index.T)]


def values_at(image, points_mm):
    """Value of the nearest voxel."""
    index = np.rint(to_index(image.affine, points_mm)).astype(int)
    return np.asarray(image.dataobj)[tuple(index.T)]


def lay_out(root, name, ct, mask, affine, mask_affine=None):
    """One VerSe subject."""
    save(root / "rawdata" / f"sub-{name}" / f"sub-{name}_ct.nii.gz", ct, affine)
    path = root / "derivatives" / f"sub-{name}" / f"sub-{name}_seg-vert_msk.nii.gz"
    save(path, mask, affine if mask_affine is None else mask_affine)


def check(dataset, case, ct, mask, affine):
    """Same labels and grey values at the same world points, same centroids within 0.01 mm."""
    image, label, points = load_case(dataset, case)
    np.testing.assert_array_equal(label.affine, image.affine)
    assert label.get_data_dtype() == np.uint8
    points_mm, expected = world_points(mask, affine)
    np.testing.assert_array_equal(values_at(label, points_mm), np.where(expected == 28, 26, expected))
    index = np.rint(to_index(affine, points_mm)).astype(int)
    np.testing.assert_array_equal(values_at(image, points_mm), ct[tuple(index.T)])
    truth = measure(mask, affine)
    assert {v["verse_id"] for v in points["vertebrae"]} == set(truth)
    for vertebra in points["vertebrae"]:
        centroid = truth[vertebra["verse_id"]]
        np.testing.assert_allclose(vertebra["mask_centroid_mm"], centroid.mask_mm, atol=0.01)
        np.testing.assert_allclose(vertebra["body_centre_mm"], centroid.body_mm, atol=0.01)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


def test_axis_aligned_orientations(tmp_path, volume):
    ct, mask, affine = volume
    for codes in ORIENTATIONS:
        turned_ct, turned_affine = turned(ct, affine, codes)
        lay_out(tmp_path / "v" / "training", codes, turned_ct, turned(mask, affine, codes)[0], turned_affine)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw", "--quiet")
    for codes in ORIENTATIONS:
        check(tmp_path / "raw" / "Dataset001_VerSe", codes.lower(), ct, mask, affine)


def oblique(affine, degrees=(20, -15, 35)):
    """The grid turned about all three axes."""
    turn = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(4)
        step[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ step
    return (turn @ affine).astype(np.float32).astype(float)  # as a header stores it


def test_oblique_affine(tmp_path, volume):
    ct, mask, affine = volume
    tilted = oblique(affine)
    lay_out(tmp_path / "v" / "training", "a", ct, mask, tilted)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw")
    check(tmp_path / "raw" / "Dataset001_VerSe", "a", ct, mask, tilted)


def test_float_mask_and_direction_noise(tmp_path, volume):
    ct, mask, affine = volume
    noisy = affine.copy()
    noisy[:3, :3] += np.random.default_rng(0).normal(0, 1e-8, (3, 3))
    root = tmp_path / "v" / "training"
    lay_out(root, "float", ct, mask.astype(np.float64), affine)
    lay_out(root, "noise", ct, mask, affine, noisy)
    lay_out(root, "both", ct, mask + np.float64(1e-5), affine, noisy)
    lay_out(root, "imagenoise", ct, mask, noisy, affine)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw")
    for case in ("float", "noise", "both", "imagenoise"):
        check(tmp_path / "raw" / "Dataset001_VerSe", case, ct, mask, affine)


def test_affines_within_a_tenth_of_a_millimetre_are_one(tmp_path):
    ct, mask, affine = synthetic()
    moved = affine.copy()
    moved[:3, 3] += 0.05
    lay_out(tmp_path / "v" / "training", "a", ct, mask, affine, moved)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw")
    check(tmp_path / "raw" / "Dataset001_VerSe", "a", ct, mask, affine)
    assert "mask affine replaced by the image's" in (tmp_path / "raw/Dataset001_VerSe/manifest.csv").read_text(
        encoding="utf-8"
    )


def test_qform_only(tmp_path):
    ct, mask, _ = synthetic()
    for kind, array in (("rawdata", ct), ("derivatives", mask)):
        image = nib.Nifti1Image(array, None)
        image.header.set_qform(AFFINE_RAS, code=1)
        ending = "ct" if kind == "rawdata" else "seg-vert_msk"
        path = tmp_path / "v" / "training" / kind / "sub-a" / f"sub-a_{ending}.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, None, image.header), path)
    run_convert("verse", tmp_path / "v", "-d", "1", "-o", tmp_path / "raw")
    check(tmp_path / "raw" / "Dataset001_VerSe", "a", ct, mask, AFFINE_RAS)
    assert "no sform" in (tmp_path / "raw/Dataset001_VerSe/manifest.csv").read_text(encoding="utf-8")
