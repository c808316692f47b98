"""Voxel grids in the world."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine.geometry import (
    axis_codes,
    bounding_box,
    corner_distance_mm,
    nearest_voxel,
    reorient,
    resample_nearest,
    spacing_mm,
    to_index,
    to_world,
)

PIR = np.array([[0, 0, 1.5, -78], [-1, 0, 0, -135], [0, -2, 0, -34], [0, 0, 0, 1]])


def test_codes_and_spacing():
    assert axis_codes(PIR) == "PIR"
    np.testing.assert_allclose(spacing_mm(PIR), (1, 2, 1.5))


def test_world_and_back():
    np.testing.assert_allclose(to_world(PIR, (1, 2, 3)), (-73.5, -136, -38))
    index = np.random.default_rng(0).uniform(0, 9, (5, 3))
    np.testing.assert_allclose(to_index(PIR, to_world(PIR, index)), index)


def test_corner_distance():
    moved = PIR.copy()
    moved[0, 3] += 3
    moved[1, 3] += 4
    assert corner_distance_mm((4, 4, 4), PIR, moved) == pytest.approx(5)
    wider = PIR.copy()
    wider[:3, 0] *= 1.1  # 0.1 mm per voxel along axis 0
    assert corner_distance_mm((11, 4, 4), PIR, wider) == pytest.approx(1)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_reorient_keeps_world_positions(codes):
    array = np.random.default_rng(0).integers(0, 99, (3, 4, 5))
    turned, affine = reorient(array, PIR, codes)
    assert axis_codes(affine) == codes
    index = np.argwhere(turned >= 0)
    source = np.rint(to_index(PIR, to_world(affine, index))).astype(int)
    np.testing.assert_array_equal(turned.ravel(), array[tuple(source.T)])


def test_resampling_to_a_turned_grid_is_reorientation():
    array = np.random.default_rng(0).integers(0, 99, (3, 4, 5)).astype(np.uint8)
    turned, affine = reorient(array, PIR, "RAS")
    np.testing.assert_array_equal(resample_nearest(array, PIR, turned.shape, affine), turned)


def test_resampling_to_half_the_voxel_size_repeats_voxels():
    array = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    fine = np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = -0.25
    expected = array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(resample_nearest(array, np.eye(4), (4, 4, 4), fine), expected)


def test_resampling_fills_the_outside_with_zero():
    shifted = np.eye(4)
    shifted[0, 3] = 2
    out = resample_nearest(np.ones((3, 1, 1), np.uint8), np.eye(4), (3, 1, 1), shifted)
    np.testing.assert_array_equal(out.ravel(), (1, 0, 0))


ORIENTATIONS = [
    "".join(signs) for axes in permutations(("LR", "PA", "IS")) for signs in product(*axes)
]  # all 48 ways to store a volume
CUBES = np.zeros((9, 8, 10), np.uint8)
CUBES[1:4, 2:5, 1:4], CUBES[4:8, 2:7, 4:9] = 1, 2


def scaled(factor: float, offset: float) -> np.ndarray:
    """A RAS grid over that of `CUBES`, which is the identity."""
    affine = np.diag([factor, factor, factor, 1.0])
    affine[:3, 3] = offset
    return affine


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize(("factor", "offset"), [(1, 0.5), (0.5, 0), (2, 0.5), (1.5, 0.25), (1 / 3, 0.5)])
def test_ties_do_not_depend_on_how_the_source_or_the_target_is_stored(codes, factor, offset):
    shape, target = (20, 19, 21), scaled(factor, offset)
    expected = resample_nearest(CUBES, np.eye(4), shape, target)
    turned, affine = reorient(CUBES, np.eye(4), codes)
    rounded = affine.astype(np.float32)
    rounded[:3] += np.float32(1e-5)  # as stored in single precision, far from the origin
    np.testing.assert_array_equal(resample_nearest(turned, rounded, shape, target), expected)
    grid, grid_affine = reorient(np.zeros(shape), target, codes)
    wanted, _ = reorient(expected, target, codes)
    np.testing.assert_array_equal(resample_nearest(turned, affine, grid.shape, grid_affine), wanted)


@pytest.mark.parametrize(("factor", "offset", "thickness"), [(0.5, 0, 4), (1, 0.5, 2), (2, 0.5, 1)])
@pytest.mark.parametrize("codes", ["RAS", "LPI"])
def test_slabs_keep_their_thickness_where_samples_are_ties(factor, offset, thickness, codes):
    slabs = np.repeat(np.arange(5, dtype=np.uint8), 2)[:, None, None]  # two voxels of air, four slabs of two
    turned, affine = reorient(slabs, np.eye(4), codes)
    target = np.diag([factor, 1, 1, 1.0])
    target[0, 3] = offset
    out = resample_nearest(turned, affine, (20, 1, 1), target)
    assert np.unique(out[out > 0], return_counts=True)[1].tolist() == [thickness] * 4


def test_a_tie_goes_to_the_left_posterior_inferior_voxel():
    for codes in ORIENTATIONS:
        _, affine = reorient(np.zeros((4, 4, 4)), np.eye(4), codes)
        voxel = nearest_voxel(affine, to_index(affine, (1.5, 0.5, 2.5)))
        assert to_world(affine, voxel).tolist() == [1, 0, 2]


def test_ties_on_oblique_axes_do_not_depend_on_flips():
    turn = np.array([[1, -1, 0], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)  # 45 degrees: no component is largest
    affine = np.eye(4)
    affine[:3, :3] = turn
    point = to_world(affine, (1.5, 2.5, 0.5))
    expected = to_world(affine, nearest_voxel(affine, to_index(affine, point)))
    for flips in product((False, True), repeat=3):
        flipped = affine @ nib.orientations.inv_ornt_aff(
            np.array([[axis, -1 if flip else 1] for axis, flip in enumerate(flips)]), (4, 4, 4)
        )
        found = to_world(flipped, nearest_voxel(flipped, to_index(flipped, point)))
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_bounding_box():
    mask = np.zeros((5, 6, 7), np.uint8)
    assert bounding_box(mask) is None
    mask[1, 2:5, 6] = 3
    mask[3, 2, 0] = 1
    assert bounding_box(mask) == (slice(1, 4), slice(2, 5), slice(0, 7))


def test_affines_of_nibabel_are_ours():
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), PIR)
    np.testing.assert_array_equal(image.affine, PIR)
