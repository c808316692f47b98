from dataclasses import replace
from itertools import pairwise

import cc3d
import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from nnunet_spine.anatomy import BY_NAME, NAMES, spine_sequence
from nnunet_spine.errors import InputError
from nnunet_spine.geometry import axis_codes, reorient, spacing_mm, to_index, to_world
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom
from nnunet_spine.phantom.dimensions import MEAN_DIMENSIONS, draw_dimensions
from nnunet_spine.phantom.draw import keep_largest_components
from nnunet_spine.phantom.grid import DistanceField, Grid
from nnunet_spine.phantom.shapes import Body, Capsule

WHOLE = PhantomOptions(**PLAIN, shape=None, spacing_mm=(3.0, 3.0, 3.0))
CROP = replace(WHOLE, levels_in_view=(5, 7), spacing_mm=(2.5, 2.5, 2.5))


def level_ids(phantom):
    return set(np.unique(phantom.mask).tolist()) - {0}


@pytest.fixture(scope="module")
def whole():
    return draw_phantom(11, WHOLE)


def test_the_same_seed_gives_identical_arrays_and_another_one_does_not():
    first, again, other = draw_phantom(3, CROP), draw_phantom(3, CROP), draw_phantom(4, CROP)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    np.testing.assert_array_equal(first.affine, again.affine)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_types_and_default_grid():
    phantom = draw_phantom(0)
    assert (phantom.image.dtype, phantom.mask.dtype) == (np.int16, np.uint8)
    assert phantom.image.shape == phantom.mask.shape == (128, 128, 256)
    assert axis_codes(phantom.affine) == "RAS"
    np.testing.assert_allclose(spacing_mm(phantom.affine), 2)


def test_a_whole_view_shows_every_level_of_the_sequence_in_order(whole):
    assert whole.levels == spine_sequence() == tuple(whole.body_centres_mm)
    assert level_ids(whole) == {BY_NAME[name].verse_id for name in whole.levels}
    heights = [centre[2] for centre in whole.body_centres_mm.values()]
    assert heights == sorted(heights, reverse=True)


def test_distances_between_body_centres_are_the_drawn_ones_and_near_the_table(whole):
    for above, below in pairwise(whole.levels[1:]):  # C1 is the centroid of its ring
        distance = np.linalg.norm(whole.body_centres_mm[above] - whole.body_centres_mm[below])
        assert distance == pytest.approx(whole.spacing_to_next_mm[above], abs=1e-6)
        assert distance == pytest.approx(MEAN_DIMENSIONS[above].spacing, rel=0.25)


def test_body_centres_lie_in_their_label_and_c1_is_its_centroid(whole):
    for name, centre in whole.body_centres_mm.items():
        index = to_index(whole.affine, centre)
        if name == "C1":
            np.testing.assert_allclose(index, np.argwhere(whole.mask == 1).mean(0), atol=1e-6)
        else:
            assert whole.mask[tuple(np.rint(index).astype(int))] == BY_NAME[name].verse_id, name


def test_every_vertebra_is_one_piece_and_was_nearly_so_before_crumbs_were_dropped():
    for seed in range(3):
        phantom = draw_phantom(seed, replace(WHOLE, scoliosis_probability=1.0, fracture_probability=1.0))
        assert min(phantom.largest_component.values()) >= 0.95
        for label in level_ids(phantom):
            assert cc3d.connected_components(phantom.mask == label, connectivity=26).max() == 1


def test_hounsfield_units_of_bone_soft_tissue_lung_and_air():
    phantom = draw_phantom(5, replace(WHOLE, spacing_mm=(2.5, 2.5, 2.5)))
    image, bone = phantom.image, phantom.mask > 0
    assert image.min() >= -1024 and image.max() <= 3071
    assert 180 < image[bone].mean() < 700
    # A ball well inside a lumbar body is cancellous, a few voxels before it there is soft tissue or aorta.
    grid = to_world(phantom.affine, np.stack(np.indices(image.shape), -1))
    near = np.linalg.norm(grid - phantom.body_centres_mm["L3"], axis=-1) < 6
    assert 30 < image[near].mean() < 380
    assert (image < -700).mean() > 0.02  # lungs
    muscle = (image > -50) & (image < 120)
    assert muscle.mean() > 0.2


def test_bone_is_brighter_at_the_rim_than_inside():
    phantom = draw_phantom(2, replace(CROP, spacing_mm=(1.0, 1.0, 1.0), levels_in_view=(2, 2)))
    bone = phantom.mask > 0
    below_surface = binary_erosion(bone) & ~binary_erosion(bone, iterations=2)
    inside = binary_erosion(bone, iterations=4)
    assert phantom.image[below_surface].mean() > phantom.image[inside].mean() + 40


@pytest.mark.parametrize("seed", range(4))
def test_turning_the_axes_keeps_the_world(seed):
    still = draw_phantom(seed, CROP)
    turned = draw_phantom(seed, replace(CROP, random_orientation=True))
    for array in ("image", "mask"):
        back, affine = reorient(getattr(turned, array), turned.affine, "RAS")
        np.testing.assert_array_equal(back, getattr(still, array))
        np.testing.assert_allclose(affine, still.affine, atol=1e-9)
    for name, centre in still.body_centres_mm.items():
        np.testing.assert_allclose(turned.body_centres_mm[name], centre, atol=1e-6)


def test_axis_orders_vary():
    options = replace(CROP, random_orientation=True, levels_in_view=(3, 3), spacing_mm=(3.0, 3.0, 3.0))
    codes = {draw_phantom(seed, options).orientation for seed in range(6)}
    assert len(codes) > 3


def test_volumes_agree_between_spacings():
    volumes = []
    for size in ((2.0, 2.0, 2.0), (1.5, 1.5, 1.5)):
        phantom = draw_phantom(9, replace(CROP, spacing_mm=size))
        voxels = np.bincount(phantom.mask.ravel(), minlength=29)
        volumes.append({n: voxels[BY_NAME[n].verse_id] * size[0] ** 3 for n in phantom.body_centres_mm})
    common = volumes[0].keys() & volumes[1].keys()
    assert len(common) >= 4
    for name in common:
        assert volumes[0][name] == pytest.approx(volumes[1][name], rel=0.04), name


def test_a_lumbar_vertebra_is_larger_than_a_thoracic_and_that_than_a_cervical(whole):
    voxels = np.bincount(whole.mask.ravel(), minlength=29)
    volume = {n: voxels[BY_NAME[n].verse_id] * 27 for n in ("C4", "T6", "L3")}
    assert 5_000 < volume["C4"] < volume["T6"] < volume["L3"] < 110_000


@pytest.mark.parametrize("thoracic, lumbar", [(11, 5), (13, 5), (12, 4), (12, 6), (13, 6)])
def test_variants_are_labelled(thoracic, lumbar):
    phantom = draw_phantom(1, replace(WHOLE, last_thoracic=thoracic, last_lumbar=lumbar))
    assert phantom.levels == spine_sequence(last_thoracic=thoracic, last_lumbar=lumbar)
    assert level_ids(phantom) == {BY_NAME[name].verse_id for name in phantom.levels}
    assert (28 in level_ids(phantom)) == (thoracic == 13)


def test_a_lumbar_view_ends_at_the_last_lumbar_level():
    options = replace(CROP, lowest_levels=True, spacing_mm=(3.0, 3.0, 3.0))
    for seed in range(4):
        phantom = draw_phantom(seed, options)
        assert phantom.levels[-1] in ("L4", "L5", "L6")
        seen = [name for name in phantom.levels if BY_NAME[name].verse_id in level_ids(phantom)]
        assert 5 <= len(seen) <= 7
        assert seen == list(phantom.levels[-len(seen) :])


def test_variants_are_drawn_when_not_fixed():
    options = replace(CROP, variant_probability=1.0, levels_in_view=(2, 2), spacing_mm=(3.0, 3.0, 3.0))
    assert len({draw_phantom(seed, options).levels for seed in range(8)}) > 2


def test_vertebrae_cut_by_the_field_of_view_are_background_unless_asked_for():
    options = replace(WHOLE, shape=(60, 60, 40))
    only_whole, all_parts = draw_phantom(6, options), draw_phantom(6, replace(options, keep_partial=True))
    assert level_ids(only_whole) < level_ids(all_parts)
    np.testing.assert_array_equal(only_whole.image, all_parts.image)
    for label in level_ids(only_whole):
        np.testing.assert_array_equal(only_whole.mask == label, all_parts.mask == label)
        ends = np.flatnonzero((only_whole.mask == label).any((0, 1)))[[0, -1]]
        assert ends[0] > 0 and ends[1] < 39
    assert list(only_whole.body_centres_mm) == [n for n in NAMES if BY_NAME[n].verse_id in level_ids(only_whole)]


def test_a_crop_keeps_some_slices_and_shows_the_same_patient():
    full = draw_phantom(8, replace(WHOLE, shape=(50, 50, 120)))
    crop = draw_phantom(8, replace(WHOLE, shape=(50, 50, 120), z_crop_probability=1.0))
    assert crop.image.shape[:2] == (50, 50) and 16 <= crop.image.shape[2] < 120
    shared = crop.body_centres_mm.keys() & full.body_centres_mm.keys() - {"C1"}
    for name in shared:
        np.testing.assert_allclose(crop.body_centres_mm[name], full.body_centres_mm[name], atol=1e-6)


def test_a_round_field_of_view_is_blank_and_unlabelled_outside():
    phantom = draw_phantom(8, replace(WHOLE, shape=(70, 70, 40), circular_fov_probability=1.0))
    for corner in (phantom.image[:5, :5], phantom.image[-5:, -5:]):
        assert (corner == -1024).all()
    assert (phantom.image[33:37] > -1024).any()
    outside = (phantom.image == -1024).all(2)
    assert not phantom.mask[outside].any()


def test_wedge_fractures_lower_the_front_of_a_body():
    options = replace(WHOLE, fracture_probability=1.0, fracture_grade=3)
    phantom = next(p for p in map(lambda s: draw_phantom(s, options), range(20)) if p.fractures[0].kind == "wedge")
    fracture = phantom.fractures[0]
    assert fracture.grade == 3 and fracture.loss >= 0.4
    body = Body(np.zeros(3), np.eye(3), 40, 30, 24, anterior_factor=0.6, concavity_mm=0)

    def half_height(anterior):
        line = np.linspace(0, 15, 1501, dtype=np.float32)[None, None]
        point = (np.zeros((1, 1, 1), np.float32), np.full((1, 1, 1), anterior, np.float32), line)
        return line.ravel()[np.argmax(body.distance(point).ravel() > 0)]

    assert half_height(-12) == pytest.approx(12 * (1 - 0.2 * 0.2), abs=0.4)
    assert half_height(12) == pytest.approx(12 * (1 - 0.2 * 1.8), abs=0.4)


def test_screws_and_cement_are_bright_and_reported():
    options = replace(CROP, levels_in_view=(24, 24), spacing_mm=(3.0, 3.0, 3.0))
    phantom = draw_phantom(2, replace(options, screws_probability=1.0, cement_probability=1.0))
    assert phantom.image.max() > 2000 > draw_phantom(2, options).image.max()
    levels = [*phantom.implants.screw_levels, *phantom.implants.cement_levels]
    assert len(phantom.implants.screw_levels) >= 2 and phantom.implants.cement_levels
    bright = phantom.image > 1000
    assert {name[0] for name in levels} <= {"T", "L"}
    assert bright[phantom.mask == BY_NAME[levels[0]].verse_id].any()


def test_scoliosis_bends_the_spine_sideways():
    straight, bent = (
        draw_phantom(4, replace(WHOLE, scoliosis_probability=p)).body_centres_mm.values() for p in (0.0, 1.0)
    )
    width = [np.ptp([c[0] for c in centres]) for centres in (straight, bent)]
    assert width[1] > width[0] + 5


def test_two_scans_of_a_patient_show_the_same_vertebrae():
    first, second = draw_phantom(4, WHOLE), draw_phantom(4, WHOLE, scan=1)
    steps = [np.diff(list(p.body_centres_mm.values())[1:], axis=0) for p in (first, second)]
    np.testing.assert_allclose(*steps, atol=1e-6)
    assert first.image.shape != second.image.shape or (first.image != second.image).any()


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (8, 64, 64)},
        {"spacing_mm": (6.0, 6.0, 6.0)},
        {"spacing_mm": (1.0,)},
        {"spacing_mm": (3.0, 1.0)},
        {"last_thoracic": 10},
        {"fracture_grade": 4},
        {"screws_probability": 1.5},
        {"levels_in_view": (3, 2)},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        PhantomOptions(**options)


def test_a_range_of_spacings_is_kept_to():
    phantom = draw_phantom(1, replace(CROP, spacing_mm=(2.0, 3.0), levels_in_view=(2, 2)))
    sizes = spacing_mm(phantom.affine)
    assert (sizes >= 2).all() and (sizes <= 3).all() and len(set(sizes.round(4))) == 2


def test_every_vertebra_is_whole_at_the_coarsest_voxels():
    phantom = draw_phantom(3, replace(WHOLE, spacing_mm=(5.0, 5.0, 5.0)))
    assert len(phantom.body_centres_mm) == 24
    for value in np.unique(phantom.mask)[1:]:
        pieces = np.bincount(cc3d.connected_components(phantom.mask == value, connectivity=26).ravel())[1:]
        assert pieces.max() >= 0.95 * pieces.sum()


def test_discs_keep_a_height():
    dims = draw_dimensions(np.random.default_rng(0), spine_sequence())
    for above, below in pairwise(dims[1:]):
        assert above.spacing - (above.height + below.height) / 2 >= 2.5 - 1e-9


def _line(values):
    return np.asarray(values, np.float32)


def test_capsule_distance_along_a_line():
    capsule = Capsule(np.array([0.0, 0, 0]), np.array([10.0, 0, 0]), 2.0, 4.0)
    x = _line([-5, 0, 10, 17])[:, None, None]
    zero = np.zeros((1, 1, 1), np.float32)
    np.testing.assert_allclose(capsule.distance((x, zero, zero)).ravel(), [3, -2, -4, 3], atol=1e-4)
    plate = Capsule(np.array([0.0, 0, 0]), np.array([10.0, 0, 0]), 2.0, 2.0, np.array([3.0, 0, 5]))
    z = _line([0, 5, 9])[None, None, :]
    np.testing.assert_allclose(plate.distance((x[1:2], zero, z)).ravel(), [-2, -2, 2], atol=1e-4)


def test_overlapping_bones_leave_a_joint_space_between_them():
    grid = Grid((41, 21, 21), np.full(3, 0.5), np.array([-10.0, -5, -5]))
    field = DistanceField(grid)
    for code, x in ((1, -2.0), (2, 2.0)):
        field.add_bone([Capsule(np.array([x, 0, 0]), np.array([x, 0, 0]), 3.0, 3.0)], [], code, joint_space_mm=1.2)
    row = np.where(field.distance_mm[:, 10, 10] < 0, field.code[:, 10, 10], 0)
    assert row[20] == 0 and row[16] == 1 and row[24] == 2
    assert (row[:20] != 2).all() and (row[21:] != 1).all()


def test_crumbs_are_dropped():
    codes = np.zeros((6, 6, 12), np.uint8)
    codes[1:4, 1:4, 1:4] = 1
    codes[5, 5, 5] = 1
    codes[1, 1, 8:11] = 2
    cleaned, fractions = keep_largest_components(codes)
    assert cleaned[5, 5, 5] == 0 and (cleaned == 1).sum() == 27 and (cleaned == 2).sum() == 3
    assert fractions == {1: pytest.approx(27 / 28), 2: 1.0}
