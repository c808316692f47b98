"""A phantom with errors made on purpose, each with the numbers that must come out."""

from itertools import pairwise

import numpy as np
import pytest
from scripted_errors import erode, invent, rename, split, translate

from nnunet_spine import scores
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.geometry import to_world
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom

NAMES = ("T10", "T11", "T12", "L1", "L2", "L3")
SPACING_MM = 1.5
VOXEL_MM3 = SPACING_MM**3


@pytest.fixture(scope="module")
def phantom():
    return draw_phantom(3, PhantomOptions(**PLAIN | {"shape": (80, 80, 150), "spacing_mm": (SPACING_MM,) * 3}))


@pytest.fixture(scope="module")
def truth(phantom):
    return phantom.mask  # without T13 VerSe's ids are nnU-Net's


@pytest.fixture(scope="module")
def points(phantom):
    """Level -> centroid in world mm, measured the plain way."""
    return {
        n: to_world(phantom.affine, np.argwhere(phantom.mask == BY_NAME[n].nnunet_id)).mean(0)  # each voxel, then mean
        for n in NAMES
    }


@pytest.fixture
def score(phantom, truth):
    return lambda prediction: scores.score_case(prediction, truth, phantom.affine)


def size(labels, name):
    return int((labels == BY_NAME[name].nnunet_id).sum())


def of(case, name):
    return next(v for v in case.vertebrae if v.name == name)


def assert_perfect(vertebra):
    assert vertebra["dice"] == vertebra["iou"] == vertebra["nsd"] == 1.0
    assert vertebra["assd_mm"] == vertebra["hd_mm"] == vertebra["hd95_mm"] == vertebra["distance_mm"] == 0.0
    assert vertebra["identified"]
    assert vertebra["identified_glocker"]
    assert vertebra.found_as == vertebra.name


def test_nothing_wrong(score, truth, points):
    case = score(truth)
    assert tuple(v.name for v in case.vertebrae) == NAMES
    for v in case.vertebrae:
        assert_perfect(v)
        assert v.reference_mm3 == v.predicted_mm3 == pytest.approx(size(truth, v.name) * VOXEL_MM3)
        assert v.reference_centre_mm == v.predicted_centre_mm == pytest.approx(tuple(points[v.name]))
    assert case.all_labels_correct
    assert (case.shift, case.suspicion, case.surplus, case.missed, case.misnamed) == (None, 0.0, (), (), ())


def test_shift_by_one(score, truth, points):
    one_down = dict(zip(NAMES, [*NAMES[1:], "L4"], strict=True))
    case = score(rename(truth, one_down))
    assert case.shift == 1
    assert (case.missed, case.surplus_names) == (("T10",), ("L4",))
    assert case.misnamed == NAMES
    assert [v.found_as for v in case.vertebrae] == [*NAMES[1:], "L4"]
    assert case.surplus[0].lies_on == "L3"
    assert case["binary_dice"] == 1.0
    assert case["dice"] == case["iou"] == case["nsd"] == 0.0
    assert (case.n_identified, sum(v["identified_glocker"] for v in case.vertebrae)) == (
        0,
        0,
    )  # neighbours are more than 20 mm apart here
    for above, below in pairwise(NAMES):
        assert of(case, below)["distance_mm"] == pytest.approx(np.linalg.norm(points[below] - points[above]))
        assert of(case, below)["hd_mm"] > 20
    assert case.suspicion == pytest.approx(0.5 + 0.4 * 7 / 7 + 0.1)


def test_shift_upwards(score, truth):
    one_up = dict(zip(NAMES, ["T9", *NAMES[:-1]], strict=True))
    case = score(rename(truth, one_up))
    assert case.shift == -1
    assert (case.missed, case.surplus_names) == (("L3",), ("T9",))


def test_merge_two(score, truth, points):
    case = score(rename(truth, {"L1": "T12"}))
    n_t12, n_l1 = size(truth, "T12"), size(truth, "L1")
    t12, l1 = of(case, "T12"), of(case, "L1")
    assert (case.missed, case.surplus, case.misnamed, case.shift) == (("L1",), (), ("L1",), None)
    assert l1.found_as == "T12"
    assert (l1["dice"], l1["iou"], l1["nsd"], l1["assd_mm"], l1["hd_mm"], l1["hd95_mm"]) == (0, 0, 0, None, None, None)
    assert t12["dice"] == pytest.approx(2 * n_t12 / (2 * n_t12 + n_l1))
    assert t12["iou"] == pytest.approx(n_t12 / (n_t12 + n_l1))
    gap_mm = np.linalg.norm(points["L1"] - points["T12"])
    assert t12["distance_mm"] == pytest.approx(gap_mm * n_l1 / (n_t12 + n_l1))
    assert t12["distance_mm"] > gap_mm / 2  # L1 is larger, so the common centre is nearer to it ...
    assert t12["identified"]  # ... which VerSe's rule does not see, because L1 was not predicted
    assert not t12["identified_glocker"]
    assert (case.n_identified, sum(v["identified_glocker"] for v in case.vertebrae)) == (5, 4)


def test_drop_one(score, truth):
    case = score(rename(truth, {"L1": None}))
    assert (case.missed, case.surplus, case.misnamed, case.shift) == (("L1",), (), (), None)
    assert of(case, "L1").found_as is None
    for name in set(NAMES) - {"L1"}:
        assert_perfect(of(case, name))
    assert case["identification_rate"] == case["identification_rate_glocker"] == pytest.approx(5 / 6)
    assert case["dice"] == case["iou"] == case["nsd"] == pytest.approx(5 / 6)
    assert case["localisation_error_mm"] == case["hd_mm"] == 0.0
    assert case["localisation_error_penalised_mm"] == pytest.approx(1000 / 6)
    n = {name: size(truth, name) for name in NAMES}
    kept = sum(n.values()) - n["L1"]
    assert case["binary_dice"] == pytest.approx(2 * kept / (2 * kept + n["L1"]))
    assert case.suspicion == pytest.approx(0.5 + 0.4 * 1 / 6)


def test_invent_one(score, truth, phantom):
    case = score(invent(truth, "L4", (slice(0, 4), slice(2, 5), slice(10, 15))))
    for v in case.vertebrae:
        assert_perfect(v)
    (extra,) = case.surplus
    assert (extra.name, extra.lies_on) == ("L4", None)
    assert extra.predicted_mm3 == pytest.approx(4 * 3 * 5 * VOXEL_MM3)
    assert extra.predicted_centre_mm == pytest.approx(tuple(to_world(phantom.affine, [1.5, 3, 12])))
    assert case["identification_rate"] == 1.0  # surplus is not penalised there
    assert not case.all_labels_correct
    assert case.suspicion == pytest.approx(0.5 + 0.4 * 1 / 7)


def test_split_one(score, truth):
    prediction = split(truth, "L3", "L4")
    case = score(prediction)
    kept, n = size(prediction, "L3"), size(truth, "L3")
    assert 0.5 * n < kept < n
    assert (case.missed, case.misnamed, case.shift, case["binary_dice"]) == ((), (), None, 1.0)
    assert (case.surplus[0].name, case.surplus[0].lies_on) == ("L4", "L3")
    assert case.surplus[0].predicted_mm3 == pytest.approx((n - kept) * VOXEL_MM3)
    l3 = of(case, "L3")
    assert l3.found_as == "L3"
    assert l3["dice"] == pytest.approx(2 * kept / (n + kept))
    assert l3["iou"] == pytest.approx(kept / n)
    assert l3["identified_glocker"]
    for name in set(NAMES) - {"L3"}:
        assert_perfect(of(case, name))


def test_erode(score, truth):
    prediction = erode(truth, ("T11", "L2"))
    case = score(prediction)
    assert case.all_labels_correct
    for name in ("T11", "L2"):
        v, n, kept = of(case, name), size(truth, name), size(prediction, name)
        n_surface = n - kept
        assert v["dice"] == pytest.approx(2 * kept / (n + kept))
        assert v["iou"] == pytest.approx(kept / n)
        # every voxel of the inner surface has a face neighbour in the outer one
        inner, outer = (m == BY_NAME[name].nnunet_id for m in (prediction, truth))
        to_outer, to_inner = scores.surface_distances(inner, outer, (SPACING_MM,) * 3).directed_mm
        assert np.all(to_outer == SPACING_MM)
        assert len(to_inner) == n_surface
        assert to_inner.min() == SPACING_MM
        assert v["assd_mm"] == pytest.approx((to_outer.sum() + to_inner.sum()) / (len(to_outer) + n_surface))
        assert v["hd_mm"] == pytest.approx(to_inner.max())
        assert v["nsd"] == 0.0  # at 1 mm, with voxels of 1.5 mm
    assert 0 < case.suspicion < 0.5


@pytest.mark.parametrize("voxels", [(2, 0, 0), (0, -2, 0), (0, 0, 2)])
def test_translate_by_three_millimetres(score, truth, voxels):
    prediction = translate(truth, voxels)
    case = score(prediction)
    assert case.all_labels_correct
    for v in case.vertebrae:
        value = BY_NAME[v.name].nnunet_id
        assert v["distance_mm"] == pytest.approx(3.0)
        assert v["hd_mm"] == pytest.approx(3.0)  # the outermost voxels in the direction of the motion
        assert v["hd95_mm"] <= 3.0 + 1e-9
        assert 0 < v["assd_mm"] < 3.0
        both = np.count_nonzero((prediction == value) & (truth == value))
        assert v["dice"] == pytest.approx(both / size(truth, v.name))
        assert v.predicted_mm3 == v.reference_mm3
    assert case["localisation_error_mm"] == pytest.approx(3.0)


def test_a_wrong_name_is_looked_at_before_a_bad_outline(score, truth):
    outlines = [truth, translate(truth, (2, 0, 0)), erode(truth, NAMES)]
    names = [invent(truth, "L4", (slice(0, 1),) * 3), rename(truth, {"L1": None}), rename(truth, {"L3": "L4"})]
    assert max(score(p).suspicion for p in outlines) < min(score(p).suspicion for p in names)
