"""Bones from label maps, judged without names."""

import numpy as np
import pytest
from corrupted_masks import CORRUPTIONS, bridges, half_renamed, holes, islands, missing, mixed, named_twice, shifted
from corrupted_masks import posterior_renamed as posterior

from nnunet_spine import geometry
from nnunet_spine.instances import compare_instances, find_bones
from nnunet_spine.io.nifti import read_nifti
from nnunet_spine.phantom.draw import draw_phantom
from nnunet_spine.phantom.options import PhantomOptions

VIEWS = {
    "whole": PhantomOptions(),
    "turned": PhantomOptions(shape=None, random_orientation=True, scoliosis_probability=1.0, levels_in_view=(6, 10)),
    "thick sagittal slices": PhantomOptions(shape=None, spacing_mm=(3.0, 1.0, 1.0), levels_in_view=(6, 10)),
    "thick axial slices, cut ends": PhantomOptions(
        shape=None, spacing_mm=(1.0, 1.0, 3.0), levels_in_view=(6, 10), keep_partial=True
    ),
}
SEEDS = {"whole": 3, "turned": 4, "thick sagittal slices": 5, "thick axial slices, cut ends": 6}
# mean Dice per bone that is reached at least; the right name of each voxel is not asked for
DICE = {
    half_renamed: 0.88, posterior: 0.93, mixed: 0.85, named_twice: 0.97, shifted: 1.0, missing: 1.0, bridges: 0.97,
    holes: 0.92, islands: 0.98,
}  # fmt: skip


@pytest.fixture(scope="module", params=VIEWS)
def phantom(request):
    drawn = draw_phantom(SEEDS[request.param], VIEWS[request.param])
    mask = drawn.mask.copy()
    mask[mask == 28] = 26
    return mask, drawn.affine


def test_right_mask_is_its_own_instances_voxel_for_voxel(phantom):
    mask, affine = phantom
    found = find_bones(mask, affine)
    quality = compare_instances(found.instances, mask)
    assert quality.panoptic == 1.0 and quality.missed == quality.surplus == 0
    assert not found.loose
    values = sorted((b.number, max(b.votes, key=b.votes.get)) for b in found.bones)
    names = [v for _, v in values]
    assert all(list(b.votes) == [v] for b, v in zip(found.bones, names, strict=True))
    position = {v: i for i, v in enumerate([*range(1, 20), 26, *range(20, 26)])}
    assert [position[v] for v in names] == sorted(position[v] for v in names)  # from top to bottom


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda f: f.__name__)
def test_bones_survive_wrong_names_and_torn_outlines(phantom, corruption):
    mask, affine = phantom
    wrong = corruption(mask, affine, np.random.default_rng(1))
    truth = np.where(wrong > 0, mask, 0)
    found = np.where(truth > 0, find_bones(wrong, affine).instances, 0)
    quality = compare_instances(found, truth)
    assert np.mean(quality.dice) >= DICE[corruption], quality
    assert quality.missed <= 1 and quality.surplus <= 2, quality


def test_spine_without_any_name_falls_into_its_vertebrae(phantom):
    mask, affine = phantom
    quality = compare_instances(find_bones((mask > 0).astype(np.uint8), affine).instances, mask)
    assert np.mean(quality.dice) >= 0.9
    assert quality.missed <= 1 and quality.surplus <= 1  # C1 and C2 are one where no name tells them apart


def test_same_bones_in_every_orientation():
    drawn = draw_phantom(7, PhantomOptions(shape=None, levels_in_view=(5, 5)))
    first = find_bones(drawn.mask, drawn.affine)
    for codes in ("LPS", "PIR", "SAL"):
        array, affine = geometry.reorient(drawn.mask, drawn.affine, codes)
        other = find_bones(np.ascontiguousarray(array), affine)
        back, _ = geometry.reorient(other.instances, affine, geometry.axis_codes(drawn.affine))
        assert np.array_equal(back, first.instances)
        for a, b in zip(first.bones, other.bones, strict=True):
            assert np.allclose(a.body_mm, b.body_mm, atol=1.5)


def test_body_lies_in_its_bone(phantom):
    mask, affine = phantom
    for bone in (b for b in find_bones(mask, affine).bones if b.height_mm):
        index = np.rint(geometry.to_index(affine, np.array(bone.body_mm))).astype(int)
        near = mask[tuple(slice(max(0, i - 4), i + 5) for i in index)]
        assert max(bone.votes, key=bone.votes.get) in near


def test_nothing_and_what_is_no_spine():
    nothing = find_bones(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    assert nothing.bones == () and not nothing.instances.any()
    one = np.zeros((20, 20, 20), np.uint8)
    one[5:9, 5:9, 5:9] = 200
    assert [list(b.votes) for b in find_bones(one, np.eye(4)).bones] in ([], [[200]])
    rng = np.random.default_rng(0)
    noise = np.zeros((60, 60, 60), np.uint8)
    for _ in range(30):
        at = rng.integers(2, 56, 3)
        noise[tuple(slice(a, a + 3) for a in at)] = rng.integers(1, 255)
    assert len(find_bones(noise, np.eye(4) * [3, 3, 3, 1]).bones) <= 60


def test_quality_of_hand_made_instances():
    reference, prediction = np.zeros((2, 10)), np.zeros((2, 10))
    reference[0, :4], reference[1, :4] = 1, 2
    prediction[0, :3], prediction[1, 8:] = 7, 9
    quality = compare_instances(prediction, reference)
    assert (quality.matched, quality.missed, quality.surplus) == (1, 1, 1)
    assert quality.mean_iou == 0.75 and quality.panoptic == 0.75 / 2
    assert quality.dice == (6 / 7, 0.0)
    assert compare_instances(reference * 0, reference * 0).panoptic == 1.0


@pytest.mark.parametrize("name", ["sub-tptbox_seg-vert_msk", "torso_sm_seg"])
def test_real_masks_are_their_own_instances(real_data, name):
    mask, affine = read_nifti(real_data / "ct" / f"{name}.nii.gz")
    mask = np.asarray(mask).astype(np.uint8)
    if name == "torso_sm_seg":
        mask[(mask < 27) | (mask > 50)] = 0
    assert compare_instances(find_bones(mask, affine).instances, mask).panoptic == 1.0


def test_piece_far_to_the_side_is_of_no_bone():
    mask = np.zeros((100, 30, 60), np.uint8)
    mask[5:25, 5:25, 32:58] = 19
    mask[5:25, 5:25, 2:28] = 20
    mask[70:95, 10:14, 34:38] = 19  # a rib, 90 mm aside
    found = find_bones(mask, np.diag([1.5, 1.5, 1.0, 1.0]))
    assert len(found.bones) == 2 and found.loose == ((400, 19),)
