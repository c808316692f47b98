"""Surface distances against scipy, medpy, SimpleITK and geometry; identification against the rules restated."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree
from scripted_errors import translate

from nnunet_spine import scores
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.errors import InputError
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom

SPACINGS = [(1.0, 1.0, 1.0), (0.35, 0.35, 3.0), (2.0, 0.5, 0.9)]
TOLERANCE_MM = 1.0


def blob(seed, shape=(28, 31, 24), share=0.25):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5)
    return noise > np.quantile(noise, 1 - share)


def box(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def phantom_pair():
    options = PLAIN | {"shape": (64, 64, 48), "spacing_mm": (2.0, 2.0, 2.0)}
    labels = draw_phantom(5, PhantomOptions(**options, keep_partial=True)).mask
    value = np.bincount(labels[labels > 0]).argmax()
    vertebra = labels == value
    return vertebra, ndimage.binary_erosion(translate(vertebra, (2, -1, 1))) | translate(vertebra, (0, 0, 2))


SHAPES = {
    "blobs": lambda: (blob(0), blob(1)),
    "a blob and a smoothed copy": lambda: (blob(2), ndimage.binary_opening(blob(2), iterations=1)),
    "equal": lambda: (blob(3), blob(3)),
    "border to border": lambda: (np.ones((6, 7, 8), bool), box((6, 7, 8), (0, 6), (0, 3), (0, 8))),
    "plate and line": lambda: (box((20, 20, 20), (3, 4), (0, 20), (2, 18)), box((20, 20, 20), (5, 6), (9, 10))),
    "two single voxels": lambda: (box((9, 9, 9), (1, 2), (2, 3), (3, 4)), box((9, 9, 9), (7, 8), (8, 9), (0, 1))),
    "core of a cube": lambda: (box((30,) * 3, *[(1, 29)] * 3), box((30,) * 3, *[(14, 16)] * 3)),
    "far apart": lambda: (box((60, 8, 8), (0, 5), (1, 6), (1, 6)), box((60, 8, 8), (54, 60), (0, 4), (2, 8))),
    "phantom vertebra": phantom_pair,
}  # fmt: skip


@pytest.fixture(params=SHAPES, scope="module")
def masks(request):
    return SHAPES[request.param]()


@pytest.fixture(params=SPACINGS, ids=str, scope="module")
def spacing(request):
    return request.param


def scored(a, b, axes_mm, **settings):
    """The metrics of surfaces, by key."""
    distances = scores.surface_distances(a, b, axes_mm)
    settings = scores.Settings(**{"nsd_tolerance_mm": TOLERANCE_MM} | settings)
    pair = SimpleNamespace(distances=distances, settings=settings)
    return {key: scores.find_metric(key).compute(pair) for key in ("assd_mm", "hd_mm", "hd95_mm", "nsd")}


class TestSurfaces:
    def test_surface_is_the_mask_minus_its_erosion(self, masks):
        for mask in masks:
            assert np.array_equal(scores.surface(mask), mask & ~ndimage.binary_erosion(mask))
            assert np.array_equal(scores.surface(np.asfortranarray(mask)), scores.surface(mask))

    def test_agrees_with_distance_transforms_of_scipy(self, masks, spacing):
        outer = [m & ~ndimage.binary_erosion(m) for m in masks]
        to = [ndimage.distance_transform_edt(~s, sampling=spacing) for s in outer]
        expected = to[1][outer[0]], to[0][outer[1]]
        found = scores.surface_distances(*masks, spacing)
        for f, e in zip(found.directed_mm, expected, strict=True):
            np.testing.assert_allclose(f, e, atol=1e-9)
        pooled = np.concatenate(expected)
        score = scored(*masks, spacing)
        assert score["assd_mm"] == pytest.approx(pooled.mean())
        assert score["hd_mm"] == pytest.approx(pooled.max())
        assert score["hd95_mm"] == pytest.approx(np.percentile(pooled, 95))
        assert score["nsd"] == pytest.approx(np.mean(pooled <= TOLERANCE_MM + 1e-6))

    def test_agrees_with_medpy(self, masks, spacing):
        binary = pytest.importorskip("medpy.metric.binary", reason="medpy is not installed")
        score = scored(*masks, spacing)
        assert score["assd_mm"] == pytest.approx(binary.assd(*masks, voxelspacing=spacing), abs=1e-6)
        assert score["hd_mm"] == pytest.approx(binary.hd(*masks, voxelspacing=spacing), abs=1e-6)
        assert score["hd95_mm"] == pytest.approx(binary.hd95(*masks, voxelspacing=spacing), abs=1e-6)

    def test_agrees_with_simpleitk(self, masks, spacing):
        images = [sitk.GetImageFromArray(scores.surface(m).astype(np.uint8)) for m in masks]
        for image in images:
            image.SetSpacing(spacing[::-1])
        measure = sitk.HausdorffDistanceImageFilter()
        measure.Execute(*images)
        assert scored(*masks, spacing)["hd_mm"] == pytest.approx(measure.GetHausdorffDistance(), abs=1e-6)

    @pytest.mark.parametrize(("inner_mm", "outer_mm"), [(10.0, 12.0), (6.0, 15.0)])
    @pytest.mark.parametrize("spacing", [(0.6, 0.6, 0.6), (0.5, 0.8, 1.1)])
    def test_concentric_balls_are_as_far_apart_as_their_radii(self, inner_mm, outer_mm, spacing):
        shape = [int(2 * outer_mm / s) + 5 for s in spacing]
        axes = [(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)]
        radius = np.sqrt(sum(g**2 for g in np.meshgrid(*axes, indexing="ij")))
        score = scored(radius <= inner_mm, radius <= outer_mm, spacing)
        assert score["assd_mm"] == pytest.approx(outer_mm - inner_mm, abs=max(spacing))
        assert score["hd_mm"] == pytest.approx(outer_mm - inner_mm, abs=2 * max(spacing))
        assert score["nsd"] == 0.0

    def test_numbers_by_hand(self):
        # Two rows of five voxels, one voxel apart, the second row two voxels longer: all voxels are surface.
        a, b = box((9, 4, 1), (0, 5), (0, 1), (0, 1)), box((9, 4, 1), (0, 7), (1, 2), (0, 1))
        to_b, to_a = scores.surface_distances(a, b, (3.0, 4.0, 1.0)).directed_mm
        assert to_b.tolist() == [4.0] * 5
        assert to_a.tolist() == [4.0] * 5 + [5.0, pytest.approx(np.hypot(4, 6))]
        score = scored(a, b, (3.0, 4.0, 1.0), nsd_tolerance_mm=4.0)
        assert score["assd_mm"] == pytest.approx((40 + 5 + np.hypot(4, 6)) / 12)
        assert score["hd_mm"] == pytest.approx(np.hypot(4, 6))
        assert score["hd95_mm"] == pytest.approx(5 + 0.45 * (np.hypot(4, 6) - 5))  # rank 0.95 * 11 = 10.45
        assert score["nsd"] == pytest.approx(10 / 12)
        # from a to b 4 mm throughout; from b to a rank 0.95 * 6 = 5.7
        directed = scored(a, b, (3.0, 4.0, 1.0), hd95="max-directed")["hd95_mm"]
        assert directed == pytest.approx(5 + 0.7 * (np.hypot(4, 6) - 5))

    def test_a_sheared_grid_is_measured_in_the_world(self):
        axes_mm = np.array([[1.0, 0, 0], [0, 1, -np.tan(np.deg2rad(25))], [0, 0, 1.5]])
        a, b = blob(4), np.roll(blob(4), (0, 2, 5), (0, 1, 2))
        points = [np.argwhere(scores.surface(m)) @ axes_mm.T for m in (a, b)]
        expected = cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]
        found = scores.surface_distances(a, b, axes_mm).directed_mm
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f, e, atol=1e-9)

    def test_an_empty_mask_has_no_distances(self):
        with pytest.raises(InputError, match="empty"):
            scores.surface_distances(np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool), (1, 1, 1))
        with pytest.raises(InputError, match="same grid"):
            scores.surface_distances(np.ones((3, 3, 3), bool), np.ones((3, 3, 4), bool), (1, 1, 1))

    def test_one_case_gives_what_its_crops_give(self):
        a, b = phantom_pair()
        angle, spacing = 0.4, np.array([0.7, 1.3, 2.0])
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = turn * spacing, (40, -7, 300)
        expected = scored(a, b, spacing)
        labels = [np.uint8(20) * m for m in (b, a)]
        for prediction, reference in (labels, map(np.asfortranarray, labels), (m.astype(np.int16) for m in labels)):
            (v,) = scores.score_case(prediction, reference, affine).vertebrae
            assert (v["assd_mm"], v["hd_mm"], v["hd95_mm"], v["nsd"]) == pytest.approx(
                (expected["assd_mm"], expected["hd_mm"], expected["hd95_mm"], expected["nsd"])
            )
            assert v["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
            assert v["iou"] == pytest.approx((a & b).sum() / (a | b).sum())


def verse_hits(reference, predicted):
    """VerSe's rule on rows of a (28, 3) array per side, NaN where absent: labels on both sides only."""
    common = [k for k in range(28) if not np.isnan(reference[k, 0] + predicted[k, 0])]
    hits = set()
    for k in common:
        distances = [np.linalg.norm(predicted[k] - reference[other]) for other in common]
        if common[int(np.argmin(distances))] == k and min(distances) <= 20.0:
            hits.add(k + 1)
    return hits


def glocker_hits(reference, predicted):
    """The same, with all reference rows as rivals."""
    rows = [k for k in range(28) if not np.isnan(reference[k, 0])]
    hits = set()
    for k in rows:
        distances = np.linalg.norm(reference[rows] - predicted[k], axis=1)
        if not np.isnan(predicted[k, 0]) and rows[int(np.argmin(distances))] == k and min(distances) <= 20.0:
            hits.add(k + 1)
    return hits


class TestIdentificationRules:
    @pytest.mark.parametrize("seed", range(60))
    def test_agrees_with_the_rules_restated(self, seed):
        rng = np.random.default_rng(seed)
        column = np.stack([np.zeros(28), np.zeros(28), -25.0 * np.arange(28)], 1)
        reference = column + rng.normal(0, 3, (28, 3))
        predicted = np.roll(column, rng.integers(-1, 2), 0) + rng.normal(0, 9, (28, 3))
        reference[rng.random(28) < 0.3] = np.nan
        predicted[rng.random(28) < 0.3] = np.nan
        points = [{k + 1: p for k, p in enumerate(rows) if not np.isnan(p[0])} for rows in (reference, predicted)]
        assert scores.identified_levels(*points) == verse_hits(reference, predicted)
        assert scores.identified_levels(*points, nearest_among="reference") == glocker_hits(reference, predicted)

    def score(self, reference, predicted, **settings):
        """Levels as single voxels on a 1 mm column: name -> height."""
        maps = np.zeros((2, 3, 3, 200), np.uint8)
        for labels, heights in zip(maps, (reference, predicted), strict=True):
            for name, z in heights.items():
                labels[1, 1, z] = BY_NAME[name].nnunet_id
        return scores.score_case(maps[1], maps[0], np.eye(4), settings=scores.Settings(**settings))

    def test_twenty_millimetres_pass_and_a_little_more_does_not(self):
        assert self.score({"L1": 100}, {"L1": 120}).n_identified == 1
        assert self.score({"L1": 100}, {"L1": 121}).n_identified == 0
        assert self.score({"L1": 100}, {"L1": 121}, identification_radius_mm=21).n_identified == 1

    def test_missing_predictions_lower_the_rate_and_surplus_ones_do_not(self):
        reference = {"T12": 100, "L1": 70, "L2": 40, "L3": 10}
        assert self.score(reference, {n: z for n, z in reference.items() if n != "L2"})["identification_rate"] == 0.75
        case = self.score(reference, reference | {"L4": 0, "T11": 150})
        assert case["identification_rate"] == case["identification_rate_glocker"] == 1.0
        assert case.surplus_names == ("T11", "L4")

    def test_the_rules_differ_where_the_nearer_level_was_not_predicted(self):
        case = self.score({"L1": 100, "L2": 80}, {"L1": 88})
        assert (case.n_identified, sum(v["identified_glocker"] for v in case.vertebrae)) == (1, 0)

    def test_a_tie_passes(self):
        case = self.score({"L1": 100, "L2": 80}, {"L1": 90, "L2": 81})
        assert (case.n_identified, sum(v["identified_glocker"] for v in case.vertebrae)) == (2, 2)
        upside_down = self.score({"L2": 100, "L1": 80}, {"L2": 90, "L1": 81})
        assert (upside_down.n_identified, sum(v["identified_glocker"] for v in upside_down.vertebrae)) == (2, 2)
