import numpy as np
import pytest

from nnunet_spine import geometry, scores
from nnunet_spine.anatomy import BY_NAME, NAMES, sort_cranio_caudal
from nnunet_spine.errors import InputError

SPACING_MM = 5.0
AFFINE = np.array([[SPACING_MM, 0, 0, -20], [0, SPACING_MM, 0, 7], [0, 0, SPACING_MM, -300], [0, 0, 0, 1.0]])


def spine(names, *, gap=6, size=4):
    """A column of cubes of `size` voxels, `gap` voxels apart, the first on top of the last; RAS."""
    labels = np.zeros((8, 8, gap * len(names) + 2), np.uint8)
    for k, name in enumerate(reversed(names)):
        labels[2 : 2 + size, 2 : 2 + size, 1 + gap * k : 1 + gap * k + size] = BY_NAME[name].nnunet_id
    return labels


def relabel(labels, renaming):
    table = np.arange(scores.N_IDS, dtype=np.uint8)
    for old, new in renaming.items():
        table[BY_NAME[old].nnunet_id] = BY_NAME[new].nnunet_id if new else 0
    return table[labels]


LEVELS_SEEN = ["T10", "T11", "T12", "L1", "L2"]


class TestOneCase:
    def test_perfect(self):
        reference = spine(LEVELS_SEEN)
        score = scores.score_case(reference, reference, AFFINE, case="a")
        assert score.case == "a"
        assert [v.name for v in score.vertebrae] == LEVELS_SEEN
        assert score["binary_dice"] == score["dice"] == score["identification_rate"] == 1.0
        assert score["localisation_error_mm"] == 0.0
        assert score.missed == score.surplus_names == ()
        assert score.all_labels_correct
        assert score.vertebrae[0].reference_mm3 == pytest.approx(64 * SPACING_MM**3)

    def test_dice_by_hand(self):
        reference = np.zeros((4, 4, 4), np.uint8)
        reference[0, 0, :4] = 20  # L1: 4 voxels
        reference[2, 2, :2] = 21  # L2: 2 voxels
        prediction = np.zeros_like(reference)
        prediction[0, 0, 1:3] = 20  # L1: 2 of its 4
        prediction[0, 0, 3] = 21  # one voxel of L1 called L2
        score = scores.score_case(prediction, reference, np.eye(4))
        l1, l2 = score.vertebrae
        assert l1["dice"] == pytest.approx(2 * 2 / (4 + 2))
        assert l2["dice"] == 0.0  # present, but elsewhere
        assert not l2.missed
        assert score["binary_dice"] == pytest.approx(2 * 3 / (6 + 3))
        assert score["dice"] == pytest.approx((2 / 3 + 0) / 2)
        assert l1["distance_mm"] == 0.0
        assert l2["distance_mm"] == pytest.approx(np.sqrt(2**2 + 2**2 + 2.5**2))

    def test_shift_by_one_level(self):
        reference = spine(LEVELS_SEEN)
        one_down = dict(zip(LEVELS_SEEN, [*LEVELS_SEEN[1:], "L3"], strict=True))
        score = scores.score_case(relabel(reference, one_down), reference, AFFINE)
        assert score["binary_dice"] == 1.0
        assert score["dice"] == 0.0
        assert score["identification_rate"] == 0.0
        assert score["localisation_error_mm"] == pytest.approx(6 * SPACING_MM)
        assert score.missed == ("T10",)
        assert score.surplus_names == ("L3",)
        assert not score.all_labels_correct

    def test_drop_one(self):
        reference = spine(LEVELS_SEEN)
        score = scores.score_case(relabel(reference, {"T12": None}), reference, AFFINE)
        assert score.missed == ("T12",)
        assert score.vertebrae[2]["distance_mm"] is None
        assert score["dice"] == pytest.approx(4 / 5)
        assert score["identification_rate"] == pytest.approx(4 / 5)
        assert score["localisation_error_mm"] == 0.0
        assert not score.all_labels_correct

    def test_invent_one(self):
        prediction = spine(LEVELS_SEEN)
        reference = relabel(prediction, {"L2": None})
        score = scores.score_case(prediction, reference, AFFINE)
        assert score.surplus_names == ("L2",)
        assert score["dice"] == score["identification_rate"] == 1.0
        assert score["binary_dice"] == pytest.approx(2 * 4 / (4 + 5))
        assert not score.all_labels_correct

    def test_thirteenth_thoracic_vertebra_stands_between_t12_and_l1(self):
        reference = spine(["T12", "T13", "L1"])
        score = scores.score_case(np.zeros_like(reference), reference, AFFINE)
        assert score.missed == ("T12", "T13", "L1")
        assert scores.score_case(reference, np.zeros_like(reference), AFFINE).surplus_names == ("T12", "T13", "L1")

    @pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "ASL", "IRP"])
    def test_axis_order_does_not_matter(self, codes):
        reference = spine(LEVELS_SEEN)
        prediction = np.roll(relabel(reference, {"L2": "L3"}), 1, axis=0)
        expected = scores.score_case(prediction, reference, AFFINE)
        turned, affine = geometry.reorient(reference, AFFINE, codes)
        score = scores.score_case(geometry.reorient(prediction, AFFINE, codes)[0], turned, affine)
        assert score == expected
        fortran = scores.score_case(np.asfortranarray(prediction), np.asfortranarray(reference), AFFINE)
        assert fortran == expected

    def test_oblique_anisotropic_grid_is_measured_in_mm(self):
        angle = 0.3
        rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        affine = np.eye(4)
        affine[:3, :3] = rotation @ np.diag([0.5, 2.0, 3.0])
        reference, prediction = np.zeros((2, 9, 9, 9), np.uint8)
        reference[4, 4, 4] = prediction[6, 5, 4] = 20
        (l1,) = scores.score_case(prediction, reference, affine).vertebrae
        assert l1["distance_mm"] == pytest.approx(np.hypot(1.0, 2.0))
        assert l1.reference_mm3 == pytest.approx(3.0)

    def test_nothing_on_either_side(self):
        empty = np.zeros((3, 3, 3), np.uint8)
        score = scores.score_case(empty, empty, AFFINE)
        assert score.vertebrae == score.surplus == ()
        assert (
            score["binary_dice"]
            is score["dice"]
            is score["identification_rate"]
            is score["localisation_error_mm"]
            is None
        )
        assert score.all_labels_correct

    def test_nothing_predicted(self):
        reference = spine(["L1"])
        score = scores.score_case(np.zeros_like(reference), reference, AFFINE)
        assert score["binary_dice"] == score["dice"] == score["identification_rate"] == 0.0
        assert score["localisation_error_mm"] is None

    @pytest.mark.parametrize(
        ("value", "dtype"), [(28, np.uint8), (-1, np.int16), (1.5, np.float32), (np.nan, np.float64), (300, np.int32)]
    )
    def test_values_that_are_no_nnunet_ids(self, value, dtype):
        bad = np.zeros((3, 3, 3), dtype)
        bad[1, 1, 1] = value
        with pytest.raises(InputError, match="label"):
            scores.score_case(bad, np.zeros((3, 3, 3), np.uint8), AFFINE)

    def test_whole_numbers_of_any_type_are_accepted(self):
        reference = spine(["T13"])
        assert scores.score_case(reference.astype(np.float64), reference.astype(np.int32), AFFINE)["dice"] == 1.0

    def test_other_shape(self):
        with pytest.raises(InputError, match="same grid"):
            scores.score_case(np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 4), np.uint8), AFFINE)


class TestIdentification:
    @staticmethod
    def at(**heights):
        return {BY_NAME[name].nnunet_id: np.array([0.0, 0.0, z]) for name, z in heights.items()}

    def identified(self, reference, prediction, **options):
        found = scores.identified_levels(reference, prediction, **options)
        return sort_cranio_caudal(name for name in NAMES if BY_NAME[name].nnunet_id in found)

    @pytest.mark.parametrize(("distance_mm", "expected"), [(19.999, ["L1"]), (20.0, ["L1"]), (20.001, [])])
    def test_twenty_millimetres_count(self, distance_mm, expected):
        assert self.identified(self.at(L1=0), self.at(L1=distance_mm)) == expected

    def test_twenty_millimetres_count_on_a_rotated_grid(self):
        for angle in np.linspace(0, 3, 50):
            direction = 20 * np.array([np.cos(angle), np.sin(angle), 0])
            assert scores.identified_levels({20: np.zeros(3)}, {20: direction}) == {20}

    def test_nearest_reference_must_be_its_own(self):
        reference = self.at(L1=0, L2=-30)
        assert self.identified(reference, self.at(L1=-16, L2=-30)) == ["L2"]  # 14 mm from L2
        assert self.identified(reference, self.at(L1=-14, L2=-30)) == ["L1", "L2"]

    def test_levels_not_predicted_are_rivals_only_among_the_reference(self):
        reference, prediction = self.at(L1=0, L2=-30), self.at(L1=-16)
        assert self.identified(reference, prediction) == ["L1"]
        assert self.identified(reference, prediction, nearest_among="reference") == []

    def test_surplus_levels_are_no_rivals(self):
        assert self.identified(self.at(L1=0), self.at(L1=10, L2=0)) == ["L1"]

    def test_no_points(self):
        assert self.identified({}, {}) == self.identified(self.at(L1=0), {}) == []

    def test_unknown_rule(self):
        with pytest.raises(InputError, match="nearest_among"):
            scores.identified_levels({}, {}, nearest_among="all")


class TestCohort:
    @pytest.fixture
    def cases(self):
        reference = spine(["C7", "T1", "T2", "T3"])
        return [
            scores.score_case(reference, reference, AFFINE, case="good"),
            scores.score_case(relabel(reference, {"T1": None, "T3": "L1"}), reference, AFFINE, case="bad"),
            scores.score_case(np.zeros_like(reference), np.zeros_like(reference), AFFINE, case="empty"),
        ]

    def test_summary_of_numbers(self):
        assert scores.summarise([1.0, None, 3.0, 8.0]) == scores.Summary(3, 1, 4.0, pytest.approx(np.sqrt(13)), 3.0)
        assert scores.summarise([2.0]) == scores.Summary(1, 0, 2.0, None, 2.0)
        assert scores.summarise([None]) == scores.Summary(0, 1, None, None, None)

    def test_regions(self, cases):
        summary = scores.summarise_cohort(cases)
        assert (summary.cases, summary["all_labels_correct"].count) == (3, 2)
        assert (summary["binary_dice"].count, summary["binary_dice"].missing) == (2, 1)
        assert summary.per_scan["dice"].mean == pytest.approx((1 + 0.5) / 2)
        everything, cervical, thoracic, lumbar = summary.regions
        assert [r.group for r in summary.regions] == ["All", "C", "T", "L"]
        assert (everything.reference, everything.missed, everything.surplus) == (8, 2, 1)
        assert everything["identification_rate"].count == 6
        assert (cervical.reference, cervical["identification_rate"].value) == (2, 1.0)
        assert (thoracic.reference, thoracic.missed, thoracic.surplus) == (6, 2, 0)
        assert thoracic["identification_rate"].value == pytest.approx(4 / 6)
        assert thoracic["dice"].mean == pytest.approx(4 / 6)
        assert (thoracic["localisation_error_mm"].count, thoracic["localisation_error_mm"].missing) == (4, 2)
        assert (lumbar.reference, lumbar.surplus) == (0, 1)
        assert lumbar["identification_rate"].value is lumbar["dice"].mean is None

    def test_levels(self, cases):
        levels = {level.group: level for level in scores.summarise_cohort(cases).levels}
        assert list(levels) == ["C7", "T1", "T2", "T3", "L1"]
        assert (levels["T1"].reference, levels["T1"].missed, levels["T1"]["dice"].mean) == (2, 1, 0.5)
        assert (levels["T3"].misnamed, levels["T3"]["identification_rate_glocker"].count) == (1, 1)
        assert (levels["L1"].reference, levels["L1"].surplus, levels["L1"]["dice"].mean) == (0, 1, None)

    def test_penalty_counts_missed_vertebrae(self, cases):
        everything = scores.summarise_cohort(cases, scores.Settings(miss_penalty_mm=80.0)).regions[0]
        assert everything["localisation_error_mm"].mean == 0.0
        assert everything["localisation_error_penalised_mm"].mean == pytest.approx(2 * 80 / 8)

    def test_missed_vertebrae_count_in_shares_and_are_missing_in_distances(self, cases):
        everything = scores.summarise_cohort(cases).regions[0]
        for overlap in (everything["dice"], everything["iou"], everything["nsd"]):
            assert (overlap.count, overlap.missing, overlap.mean) == (8, 0, pytest.approx(6 / 8))
        for distance in (everything["assd_mm"], everything["hd_mm"], everything["hd95_mm"]):
            assert (distance.count, distance.missing, distance.mean) == (6, 2, 0.0)

    def test_no_cases(self):
        summary = scores.summarise_cohort([])
        assert summary.cases == summary["all_labels_correct"].count == summary.regions[0].reference == 0


class TestIntervals:
    @pytest.fixture
    def cases(self):
        large, small = spine(["T9", *LEVELS_SEEN, "L3"]), spine(["L1"])
        good = scores.score_case(large, large, AFFINE)
        bad = scores.score_case(np.zeros_like(small), small, AFFINE)
        return [good, bad]

    def test_scans_are_drawn_not_vertebrae(self, cases):
        everything = scores.summarise_cohort(cases).regions[0]
        # a quarter of the draws holds the good scan twice, a quarter the bad one twice
        assert (everything["dice"].mean, everything["dice"].low, everything["dice"].high) == (
            pytest.approx(7 / 8),
            0.0,
            1.0,
        )
        rate = everything["identification_rate"]
        assert (rate.count, rate.total, rate.low, rate.high) == (7, 8, 0.0, 1.0)

    def test_agrees_with_drawing_one_sample_after_the_other(self):
        rng = np.random.default_rng(5)
        reference = spine(LEVELS_SEEN)
        cases = []
        for _ in range(12):
            lost = {name: None for name in LEVELS_SEEN if rng.random() < 0.3}
            cases.append(scores.score_case(relabel(reference, lost), reference, AFFINE))
        found = scores.summarise_cohort(cases, scores.Settings(bootstrap_draws=4000)).regions[0]["dice"]
        means = []
        for _ in range(4000):
            drawn = [cases[k] for k in rng.integers(0, 12, 12)]
            means.append(np.mean([v["dice"] for case in drawn for v in case.vertebrae]))
        assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.03)

    def test_equal_scans_leave_no_doubt(self, cases):
        summary = scores.summarise_cohort([cases[0]] * 4)
        assert summary.regions[0]["dice"].low == summary.regions[0]["dice"].high == 1.0

    @pytest.mark.parametrize(("n", "low"), [(8, 0.6306), (49, 0.9275), (1, 0.025)])  # tables of Clopper and Pearson
    def test_a_share_that_is_the_same_in_all_scans_is_not_certain(self, cases, n, low):
        good, bad = (scores.summarise_cohort([case] * n) for case in cases)
        for right, wrong in (
            (good["all_labels_correct"], bad["all_labels_correct"]),
            (good.regions[0]["identification_rate"], bad.regions[0]["identification_rate"]),
        ):
            assert (right.value, right.low, right.high) == (1.0, pytest.approx(low, abs=1e-4), 1.0)
            assert (wrong.value, wrong.low, wrong.high) == (0.0, 0.0, pytest.approx(1 - low, abs=1e-4))
            assert right.interval == wrong.interval == "Clopper-Pearson over scans"

    def test_one_scan_gives_a_mean_but_no_interval(self, cases):
        dice = scores.summarise_cohort(cases[:1]).regions[0]["dice"]
        assert (dice.mean, dice.low, dice.high) == (1.0, None, None)

    def test_where_scans_differ_the_interval_is_the_bootstrap_s(self, cases):
        assert scores.summarise_cohort(cases)["all_labels_correct"].interval == "bootstrap over scans"

    def test_seed_decides(self, cases):
        many = cases * 5  # few draws: their intervals are coarse
        settings = [scores.Settings(bootstrap_seed=seed, bootstrap_draws=5) for seed in (1, 1, 2)]
        first, again, other = (scores.summarise_cohort(many, s) for s in settings)
        assert first == again
        assert first != other

    def test_no_interval_without_values(self, cases):
        cervical = scores.summarise_cohort(cases).regions[1]
        assert cervical["dice"].low is cervical["dice"].high is cervical["identification_rate"].low is None
        assert scores.summarise_cohort([])["all_labels_correct"] == scores.Rate(0, 0, None, None, None)
