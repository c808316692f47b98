"""Voxel grids in the world."""

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine.geometry import (
    axis_codes,
    bounding_box,
    corner_distance_mm,
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


def test_bounding_box():
    mask = np.zeros((5, 6, 7), np.uint8)
    assert bounding_box(mask) is None
    mask[1, 2:5, 6] = 3
    mask[3, 2, 0] = 1
    assert bounding_box(mask) == (slice(1, 4), slice(2, 5), slice(0, 7))


def test_affines_of_nibabel_are_ours():
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), PIR)
    np.testing.assert_array_equal(image.affine, PIR)
