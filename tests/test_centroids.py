"""Mask centroid and body centre in world mm."""

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS

from nnunet_spine.centroids import body_centre, label_boxes, mask_centroid, measure
from nnunet_spine.geometry import to_world


def vertebra(step=1.0):
    """A 30 x 30 x 20 mm block with a 6 mm thin, 40 mm long bar behind it (along axis 1), and the block's centre."""
    n = [round(v / step) for v in (50, 90, 40)]
    mask = np.zeros(n, bool)
    a, b, c, d, e, f, g, h = (round(v / step) for v in (10, 40, 50, 80, 22, 28, 17, 23))
    mask[a:b, c:d, round(10 / step) : round(30 / step)] = True
    mask[e:f, round(10 / step) : c, g:h] = True
    return mask, np.array([24.5, 64.5, 19.5]) if step == 1 else None


def test_mask_centroid_of_two_voxels():
    mask = np.zeros((5, 5, 5), bool)
    mask[1, 2, 3] = mask[2, 2, 3] = True
    centre, count = mask_centroid(mask)
    np.testing.assert_allclose(centre, (1.5, 2, 3))
    assert count == 2


def test_body_centre_ignores_processes():
    mask, centre = vertebra()
    np.testing.assert_allclose(body_centre(mask, np.ones(3)), centre, atol=0.1)
    assert mask_centroid(mask)[0][1] < centre[1] - 2


@pytest.mark.parametrize("step", [0.25, 0.4, 0.5, 0.7])
def test_body_centre_on_finer_grids(step):
    mask, _ = vertebra(step)
    first_voxel_mm = step / 2
    centre_mm = body_centre(mask, np.full(3, step)) * step + first_voxel_mm
    np.testing.assert_allclose(centre_mm, (25, 65, 20), atol=0.5)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.4, 0.3, 1.3), (0.3, 0.3, 2.0)])
@pytest.mark.parametrize("shape", [(31, 40, 22), (30, 41, 23), (2, 3, 1)])
def test_body_centre_does_not_depend_on_the_direction_of_axes(spacing, shape):
    rng = np.random.default_rng(0)
    mask = rng.random(shape) > 0.02
    centre = body_centre(mask, np.array(spacing))
    flipped = body_centre(mask[::-1, ::-1, ::-1], np.array(spacing))
    np.testing.assert_allclose(flipped, np.array(shape) - 1 - centre, atol=1e-6)
    swapped = body_centre(mask.transpose(2, 0, 1), np.array(spacing)[[2, 0, 1]])
    np.testing.assert_allclose(swapped, centre[[2, 0, 1]], atol=1e-6)


def test_thick_parts_beside_a_small_body_do_not_pull():
    mask = np.zeros((40, 30, 20), bool)
    mask[12:28, 14:28, 4:16] = True  # body of 16 x 14 x 12 mm, thinner than two balls of 6 mm
    mask[2:12, 2:12, 5:15] = mask[28:38, 2:12, 5:15] = True  # lateral masses
    mask[10:30, 10:16, 9:11] = True  # thin bridges
    np.testing.assert_allclose(body_centre(mask, np.ones(3)), (19.5, 20.5, 9.5), atol=0.3)


def test_small_bodies_have_a_centre():
    mask = np.ones((7, 7, 7), bool)
    np.testing.assert_allclose(body_centre(mask, np.ones(3)), (3, 3, 3))
    one = np.ones((1, 1, 1), bool)
    np.testing.assert_allclose(body_centre(one, np.ones(3)), (0, 0, 0))


def test_measure_in_the_world():
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[2:6, 4:8, 10:14] = 7
    mask[0:2, 0:2, 0:2] = 1
    out = measure(mask, AFFINE_RAS)
    assert list(out) == [1, 7]
    np.testing.assert_allclose(out[7].mask_mm, to_world(AFFINE_RAS, (3.5, 5.5, 11.5)))
    np.testing.assert_allclose(out[7].body_mm, out[7].mask_mm, atol=1e-6)
    assert out[7].volume_mm3 == pytest.approx(64 * 8)
    assert (out[1].touches_border, out[7].touches_border) == (True, False)
    assert measure(np.zeros((3, 3, 3), np.uint8), AFFINE_RAS) == {}


def test_ring_of_c1_keeps_its_mask_centroid():
    mask, _ = vertebra()
    points = measure(mask.astype(np.uint8), np.eye(4))[1]
    assert points.body_mm == points.mask_mm


def test_label_boxes():
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:3, 2, 4:6] = 9
    assert label_boxes(mask) == {9: (slice(1, 3), slice(2, 3), slice(4, 6))}


def test_real_vertebra_body_lies_before_the_mask_centroid(real_data):
    image = nib.load(real_data / "ct" / "sub-tptbox_seg-vert_msk.nii.gz")
    points = measure(np.asarray(image.dataobj), image.affine)[22]  # L3, the only whole one
    anterior_mm = points.body_mm[1] - points.mask_mm[1]
    assert 8 < anterior_mm < 15  # VerSe: 8-15 mm
