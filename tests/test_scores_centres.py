"""References that are centres, with or without masks beside them, and the choice of the point."""

import numpy as np
import pytest

from nnunet_spine import scores
from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.centroids import measure
from nnunet_spine.errors import InputError
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
AFFINE[:3, 3] = -10, 5, 100
HEIGHTS = {"T12": 40, "L1": 28, "L2": 16, "L3": 4}


def column(heights):
    """Cubes of three voxels around (2, 2, z)."""
    labels = np.zeros((5, 5, 50), np.uint8)
    for name, z in heights.items():
        labels[1:4, 1:4, z - 1 : z + 2] = BY_NAME[name].nnunet_id
    return labels


def centres(heights):
    return {BY_NAME[n].nnunet_id: (2 - 10, 2 + 5, 2 * z + 100) for n, z in heights.items()}


def test_centres_alone():
    case = scores.score_centres(column(HEIGHTS), AFFINE, centres(HEIGHTS), case="a", notes=("by hand",))
    assert (case.case, case.notes, case.shift) == ("a", ("by hand",), None)
    assert [v.name for v in case.vertebrae] == list(HEIGHTS)
    for v in case.vertebrae:
        assert (v.reference_mm3, v["dice"], v["iou"], v["assd_mm"], v["hd_mm"], v["hd95_mm"], v["nsd"]) == (None,) * 7
        assert (v.predicted_mm3, v["distance_mm"], v.found_as) == (27 * 2.0, 0.0, v.name)
        assert v["identified"]
        assert v["identified_glocker"]
    assert case["binary_dice"] is case["dice"] is case["nsd"] is None
    assert case.all_labels_correct
    assert case.suspicion == 0.0


def test_shift_seen_from_centres():
    names = ["T11", *HEIGHTS]
    named_one_up = dict(zip(names, HEIGHTS.values(), strict=False))
    case = scores.score_centres(column(named_one_up), AFFINE, centres(HEIGHTS))
    assert case.shift == -1
    assert [v.found_as for v in case.vertebrae] == names[:4]
    assert (case.missed, case.surplus_names, case.surplus[0].lies_on) == (("L3",), ("T11",), "T12")
    assert case.n_identified == 0  # 24 mm off
    assert case["localisation_error_mm"] == pytest.approx(24.0)


def test_far_predictions_are_found_as_nothing():
    case = scores.score_centres(column({"L5": 4}), AFFINE, centres({"T12": 40}))
    assert case.vertebrae[0].found_as is case.surplus[0].lies_on is case.vertebrae[0]["distance_mm"] is None


def test_nothing_predicted_and_nothing_known():
    empty = np.zeros((5, 5, 5), np.uint8)
    assert scores.score_centres(empty, AFFINE, centres({"L1": 3})).missed == ("L1",)
    case = scores.score_centres(empty, AFFINE, {})
    assert (case.vertebrae, case.surplus, case["binary_dice"]) == ((), (), None)
    assert case.all_labels_correct
    assert scores.score_centres(column({"L1": 10}), AFFINE, {}).surplus_names == ("L1",)


def test_given_centres_replace_those_of_the_masks():
    labels = column(HEIGHTS)
    moved = {i: np.add(point, (3, 0, 4)) for i, point in centres({"L1": HEIGHTS["L1"]}).items()}
    case = scores.score_case(labels, labels, AFFINE, reference_centres_mm=moved)
    assert [v["distance_mm"] for v in case.vertebrae] == [0.0, 5.0, 0.0, 0.0]
    assert case["dice"] == 1.0


def test_a_level_with_a_centre_and_no_mask_is_scored_by_its_centre():
    with_l4, given = column(HEIGHTS | {"L4": 48}), centres({"L4": 48})
    case = scores.score_case(with_l4, column(HEIGHTS), AFFINE, reference_centres_mm=given)
    l4 = case.vertebrae[-1]
    assert (l4.name, l4.reference_mm3, l4["dice"], l4["nsd"], l4["distance_mm"], l4.found_as) == (
        "L4",
        None,
        None,
        None,
        0,
        "L4",
    )
    assert (case.surplus, case["dice"], case.n_identified) == ((), 1.0, 5)


def test_body_centres_are_compared_with_body_centres():
    options = PLAIN | {"shape": (64, 64, 60), "spacing_mm": (2.0, 2.0, 2.0)}
    phantom = draw_phantom(5, PhantomOptions(**options))
    body = scores.Settings(centre="body")
    case = scores.score_case(phantom.mask, phantom.mask, phantom.affine, settings=body)
    measured = measure(phantom.mask, phantom.affine)
    for v in case.vertebrae:
        point = measured[BY_NAME[v.name].nnunet_id]
        assert v.reference_centre_mm == v.predicted_centre_mm == pytest.approx(point.body_mm)
    drawn = {BY_NAME[n].nnunet_id: c for n, c in phantom.body_centres_mm.items()}
    by_body = scores.score_centres(phantom.mask, phantom.affine, drawn, settings=body)
    by_mask = scores.score_centres(phantom.mask, phantom.affine, drawn)
    assert by_body["localisation_error_mm"] < 4 < by_mask["localisation_error_mm"]


@pytest.mark.parametrize(
    "wrong",
    [{"centre": "spinous"}, {"nsd_tolerance_mm": 0.0}, {"identification_radius_mm": -1.0}, {"covering_share": 0.0},
     {"covering_share": 1.1}, {"miss_penalty_mm": float("nan")}, {"bootstrap_draws": 0}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        scores.Settings(**wrong)
