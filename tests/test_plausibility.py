"""Contradictions between a scan, its mask, their headers and anatomy, each on a small case with known figures."""

import re

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine.errors import InputError
from nnunet_spine.geometry import to_world
from nnunet_spine.plausibility import (
    KEYS,
    Contrast,
    Finding,
    choose_placement,
    contrast,
    header_findings,
    intensity_finding,
    level_findings,
    placement_finding,
    sample_step,
    settle,
    shear_finding,
    sites,
)

LPS = np.array([[-1.0, 0, 0, 20], [0, -1.0, 0, 25], [0, 0, 1.0, -300], [0, 0, 0, 1]])
SHAPE = (40, 40, 60)


def header(sform, qform, codes=(1, 1)) -> nib.Nifti1Header:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    return image.header


def keys(findings) -> list[str]:
    assert all(f.key in KEYS for f in findings)
    return [f.key for f in findings]


def sheared(degrees: float) -> np.ndarray:
    affine = LPS.copy()
    affine[1, 2] = np.tan(np.deg2rad(degrees))
    return affine


class TestHeaders:
    @pytest.mark.parametrize("codes", [(1, 1), (2, 1), (0, 1), (1, 0), (0, 0)])
    def test_agreement_and_a_single_source_are_silent(self, codes):
        assert header_findings(header(LPS, LPS, codes), SHAPE) == []

    def test_a_factor_of_spacing_stops_even_without_a_qform_code(self):
        true = np.diag([-0.8, -0.8, 3.0, 1])
        for code in (1, 0):
            (found,) = header_findings(header(np.diag([-1.0, -1, 1, 1]), true, (1, code)), SHAPE)
            assert (found.key, found.stops) == ("header-spacing", True)
            assert found.figures["factor"] == pytest.approx(3)
            assert "1 x 1 x 1 mm by the sform, 0.8 x 0.8 x 3 mm" in found.sentence

    def test_another_place_is_flagged_with_its_distance(self):
        moved = LPS.copy()
        moved[0, 3] += 12
        (found,) = header_findings(header(LPS, moved), SHAPE)
        assert (found.key, found.stops) == ("header-place", False)
        assert found.figures["distance_mm"] == pytest.approx(12, abs=1e-3)

    def test_a_mirrored_qform_names_both_orientations(self):
        (found,) = header_findings(header(LPS, LPS @ np.diag([-1.0, 1, 1, 1])), SHAPE)
        assert "LPS by the sform and RPS by the qform" in found.sentence

    def test_a_qform_that_is_no_rotation_is_flagged(self):
        broken = header(LPS, LPS)
        for name in ("quatern_b", "quatern_c", "quatern_d"):
            broken[name] = 1
        assert keys(header_findings(broken, SHAPE)) == ["header-place"]

    def test_shear_is_no_contradiction_between_the_forms(self):
        both = header(sheared(20), np.eye(4))
        both.set_qform(sheared(20), 1, strip_shears=True)
        both.set_sform(sheared(20), 1)
        assert keys(header_findings(both, SHAPE)) == ["shear"]

    def test_shear_says_its_angle_and_what_it_does_to_lengths(self):
        assert shear_finding(LPS) is None
        found = shear_finding(sheared(20))
        assert found.figures["degrees"] == pytest.approx(20, abs=0.01)
        # unit axes that meet at 70 degrees: singular values sqrt(1 + sin 20) and sqrt(1 - sin 20)
        assert found.figures["percent"] == pytest.approx(100 * (1 - np.sqrt(1 - np.sin(np.deg2rad(20)))), abs=0.01)


def column(names, step=(0.0, 2.0, -30.0)) -> dict:
    return {name: tuple(k * np.array(step)) for k, name in enumerate(names)}


class TestLevels:
    NAMES = ("T11", "T12", "L1", "L2", "L3")

    def test_a_spine_as_it_lies_in_a_body_is_silent(self):
        assert level_findings(column(self.NAMES)) == []
        assert level_findings(column(["L1"])) == level_findings({}) == []
        assert level_findings(column(self.NAMES, (12.0, 15.0, -20.0))) == []  # scoliosis and a bent back

    def test_upside_down_stops(self):
        (found,) = level_findings(column(self.NAMES, (0, 0, 30)))
        assert (found.key, found.stops) == ("upside-down", True)
        assert "T11 at z = 0 mm, L3 at z = 120 mm" in found.sentence

    def test_two_swapped_levels_are_flagged_by_name(self):
        points = column(self.NAMES)
        points["T12"], points["L1"] = points["L1"], points["T12"]
        (found,) = level_findings(points)
        assert (found.key, found.stops) == ("level-order", False)
        assert "L1 lies above T12" in found.sentence
        assert keys(level_findings(column(["L1", "L2"], (0, 0, 30)))) == ["level-order"]

    def test_a_first_level_of_three_that_is_last(self):
        points = column(["L1", "L2", "L3"])
        (found,) = level_findings({"L1": points["L1"], "L3": points["L2"], "L2": points["L3"]})
        assert found.key == "level-order"

    def test_a_spine_from_left_to_right_stops(self):
        (found,) = level_findings(column(self.NAMES, (30, 0, 0)))
        assert (found.key, found.stops) == ("spine-axis", True)
        assert "120 mm from left to right" in found.sentence

    def test_bodies_behind_their_processes_stop(self):
        points = column(self.NAMES)
        front, back = ({n: np.add(p, (0, y, 0)) for n, p in points.items()} for y in (10, -10))
        assert level_findings(points, front) == []
        (found,) = level_findings(points, back)
        assert (found.key, found.stops, found.figures["depth_mm"]) == ("front-back", True, 10)

    def test_shallow_depths_are_flagged_and_none_is_silent(self):
        points = column(self.NAMES)
        for depth, expected in ((-1, [False]), (-0.3, []), (0, [])):
            found = level_findings(points, {n: np.add(p, (0, depth, 0)) for n, p in points.items()})
            assert [f.stops for f in found] == expected

    def test_a_vertebra_that_the_field_of_view_cuts_does_not_hide_it(self):
        points = column(self.NAMES[:4])
        bodies = {n: np.add(p, (0, 12 if n == "L2" else -7, 0)) for n, p in points.items()}
        assert keys(level_findings(points, bodies)) == ["front-back"]
        two = {n: bodies[n] for n in ("T11", "T12")}
        assert [f.stops for f in level_findings(points, two)] == [False]

    def test_one_odd_body_is_no_mirrored_scan(self):
        points = column(self.NAMES)
        bodies = {n: np.add(p, (0, -10 if n == "L2" else 10, 0)) for n, p in points.items()}
        assert level_findings(points, bodies) == []


def spine() -> np.ndarray:
    """Three blocks with a process behind each, off the middle of the volume."""
    labels = np.zeros(SHAPE, np.uint8)
    for k in range(3):
        labels[8:26, 6:22, 4 + 18 * k : 16 + 18 * k] = 20 + k
        labels[15:19, 22:34, 8 + 18 * k : 11 + 18 * k] = 20 + k
    return labels


def scan(labels: np.ndarray, noise: float = 60) -> np.ndarray:
    return np.where(labels > 0, 250, 20) + np.random.default_rng(0).normal(0, noise, labels.shape)


def looked_at(image: np.ndarray, labels: np.ndarray) -> Contrast | None:
    flat = image.ravel(order="F")
    inside, near = sites(labels, np.ones(3))
    return contrast(flat[inside], flat[near])


class TestPlacement:
    def test_sites_lie_in_the_labels_and_near_them(self):
        labels = spine()
        inside, near = sites(labels, np.array([1.0, 1.0, 2.0]), count=500)
        flat = labels.ravel(order="F")
        assert len(inside) == 500
        assert (flat[inside] > 0).all()
        assert (flat[near] == 0).all()
        assert (np.diff(inside) > 0).all()
        assert (np.diff(near) > 0).all()
        assert all(part.size == 0 for part in sites(np.zeros(SHAPE, np.uint8), np.ones(3)))

    def test_chance_is_that_of_a_pair(self):
        assert contrast(np.array([1.0, 2, 3]), np.array([2.0])).chance == pytest.approx(0.5)
        assert contrast(np.array([5.0]), np.array([1.0, 9, 5])).chance == pytest.approx(0.5)
        assert contrast(np.array([]), np.array([1.0])) is None

    @pytest.mark.parametrize("shift", [3, 8])
    def test_a_moved_mask_has_less_contrast(self, shift):
        labels = spine()
        right, moved = looked_at(scan(labels), labels), looked_at(scan(labels), np.roll(labels, shift, (0, 1, 2)))
        way, found = choose_placement({"index": right, "header": moved}, "grids differ")
        assert way == "index"
        assert not found.stops
        assert "decide for index" in found.sentence

    def test_a_mask_on_something_else_is_flagged_and_a_right_one_not(self):
        labels = spine()
        assert placement_finding(looked_at(scan(labels), labels)) is None
        assert placement_finding(looked_at(np.random.default_rng(0).normal(size=SHAPE), labels)).key == "mask-place"

    def test_grey_values_that_tell_nothing_stop(self):
        labels, flat = spine(), np.random.default_rng(0).normal(size=SHAPE)
        ways = {"index": looked_at(flat, labels), "header": looked_at(flat, np.roll(labels, 5, 0)), "far": None}
        way, found = choose_placement(ways, "image here, mask there")
        assert way is None
        assert found.stops
        assert "image here, mask there" in found.sentence
        assert "far: no label in the image" in found.sentence


class TestIntensities:
    HU = np.concatenate([scan(spine()).ravel(), np.full(20_000, -1000.0), np.full(3000, -100.0)]).round()
    BONE = Contrast(250, 20, 0.95, 1000)

    def other(self, change) -> tuple[np.ndarray, Contrast]:
        return change(self.HU), Contrast(float(change(250.0)), float(change(20.0)), 0.95, 1000)

    def test_samples_come_from_all_columns(self):
        columns = np.arange(500 * 500 * 80) % 500
        assert set(columns[:: sample_step((500, 500, 80), 200_000)]) == set(range(500))
        assert sample_step((3, 3, 3), 10) == 2 and sample_step((1, 5, 1), 100) == 1

    def test_hounsfield_units_are_silent(self):
        assert intensity_finding(self.HU) is None
        assert intensity_finding(self.HU, self.BONE) is None
        assert intensity_finding(scan(spine()).round(), self.BONE) is None  # no air in view
        padded = np.concatenate([self.HU, np.full(30_000, -3024.0)])
        assert intensity_finding(padded, self.BONE) is None
        assert intensity_finding(np.append(self.HU, 30_000), self.BONE) is None  # metal
        assert intensity_finding(np.zeros(0)) is None

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda v: v + 1024, r"HU \+ 1024"),
            (lambda v: np.maximum(v + 1000, 0), r"HU \+ 10"),
            (lambda v: v - 1024, "HU - 10"),
            (lambda v: np.round((np.clip(v, -200, 600) + 200) / 800 * 255), "8-bit picture"),
            (lambda v: (v + 1024) / 4096, "normalised"),
            (lambda v: (v + 400) / 500, "normalised"),
            (lambda v: np.where(np.asarray(v) < 0, np.asarray(v) + 65536, v), "negative HU stored without their sign"),
            (lambda v: np.where(np.asarray(v) > 200, 21, 0), "label map"),
            (lambda v: np.abs(v) * 0.0, "every voxel is 0"),
            (lambda v: 10 * np.asarray(v) + 3, "median 2503 in the labels"),
        ],
    )
    def test_what_is_none_stops_with_what_it_is(self, change, words):
        values, labelled = self.other(change)
        found = intensity_finding(values, labelled)
        assert (found.key, found.stops) == ("hu", True)
        assert re.search(words, found.sentence), found.sentence

    def test_offset_is_seen_without_labels_too(self):
        assert "HU + 1024" in intensity_finding(self.HU + 1024).sentence

    def test_nothing_below_zero_is_only_flagged(self):
        found = intensity_finding(np.maximum(self.HU, 0), self.BONE)
        assert (found.key, found.stops) == ("hu", False)


def test_a_finding_stops_unless_its_key_is_accepted():
    findings = [Finding("shear", "a"), Finding("hu", "b", True, "convert again"), Finding("upside-down", "c", True)]
    with pytest.raises(InputError, match=r"x: b; c. Convert again; .*--accept hu upside-down"):
        settle(findings, path="x")
    assert settle(findings, ("hu", "upside-down")) == ["shear: a", "hu: b", "upside-down: c"]
    assert settle([]) == []


def test_positions_follow_the_affine_whatever_the_storage():
    points = {n: to_world(LPS, (10, 10, z)) for n, z in (("L1", 50), ("L2", 30), ("L3", 10))}
    assert level_findings(points) == []


def test_a_vertebra_without_a_name_between_two_named_ones_is_a_gap():
    def gaps(**heights):
        points = {name: (0.0, 0.0, float(z)) for name, z in heights.items()}
        return [f.sentence for f in level_findings(points) if f.key == "level-gap"]

    assert gaps(T12=66, L1=33, L2=0) == []
    assert gaps(T11=66, L1=33, L2=0) == []  # eleven thoracic vertebrae
    assert gaps(T6=135, T11=0) == ["without a name: T7 to T10 between T6 and T11, 135 mm apart"]
    assert gaps(T12=63, L1=0) == ["without a name: a vertebra between T12 and L1, 63 mm apart"]
    assert gaps(L1=60, L3=0) == ["without a name: L2 between L1 and L3, 60 mm apart"]
