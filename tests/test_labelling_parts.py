"""Keypoints put together, features, the network in numpy against torch, fitting, and the parameters that ship."""

from importlib.resources import files

import numpy as np
import pytest
from labelled_spine import spine

from nnunet_spine.errors import InputError
from nnunet_spine.labelling.admissible import admissible_states
from nnunet_spine.labelling.detections import INDEX, N_STATES, as_arrays
from nnunet_spine.labelling.features import N_FEATURES, features
from nnunet_spine.labelling.keypoints import group_keypoints
from nnunet_spine.labelling.made_up import made_up_scan
from nnunet_spine.labelling.network import Model, Prices, apply_network, load_model, save_model


def column(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bodies 30 mm apart, and their left and right pedicles."""
    bodies = np.stack([np.zeros(n), np.zeros(n), -30.0 * np.arange(n)], axis=1)
    return bodies, bodies + np.array([-15, -22, 6]), bodies + np.array([15, -22, 6])


def test_pedicles_go_to_their_bodies():
    bodies, left, right = column(5)
    order = np.array([3, 0, 4, 1, 2])
    found = group_keypoints(bodies, left[order], right[order[::-1]])
    np.testing.assert_allclose(found.left_mm, left)
    np.testing.assert_allclose(found.right_mm, right)
    assert not found.estimated.any()


def test_a_pair_of_pedicles_without_a_body_is_a_vertebra():
    bodies, left, right = column(6)
    found = group_keypoints(np.delete(bodies, 2, axis=0), left, right)
    assert found.estimated.tolist() == [False] * 5 + [True]
    np.testing.assert_allclose(found.body_mm[5], bodies[2], atol=3)
    np.testing.assert_allclose(found.left_mm[5], left[2])


def test_a_pair_of_pedicles_between_neighbouring_bodies_is_no_vertebra():
    bodies, left, right = column(6)
    between = np.array([0.0, 0.0, 15.0])
    found = group_keypoints(
        bodies, np.concatenate([left, left[3:4] + between]), np.concatenate([right, right[3:4] + between])
    )
    assert len(found.body_mm) == 6


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_pedicle_above_the_topmost_body_is_a_vertebra_but_none_below_the_lowest_one(side):
    bodies, left, right = column(6)
    seen = {"left": left[1:5], "right": right[1:5]}
    seen[side] = {"left": left, "right": right}[side]
    found = group_keypoints(bodies[1:5], seen["left"], seen["right"])
    assert found.estimated.tolist() == [False] * 4 + [True]
    np.testing.assert_allclose(found.body_mm[4], bodies[0], atol=3)
    known, other = (found.left_mm, found.right_mm) if side == "left" else (found.right_mm, found.left_mm)
    np.testing.assert_allclose(known[4], {"left": left, "right": right}[side][0])
    assert np.isnan(other[4]).all()


def test_pedicles_far_from_everything_or_on_the_wrong_side_are_left_out():
    bodies, left, right = column(4)
    found = group_keypoints(bodies, right, left)
    assert np.isnan(found.left_mm).all() and len(found.body_mm) == 4
    found = group_keypoints(bodies, left[:1] + np.array([0, 0, 300]), right[:0])
    assert np.isnan(found.left_mm).all() and len(found.body_mm) == 4


def test_no_keypoints():
    found = group_keypoints(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)))
    assert found.body_mm.shape == (0, 3) and found.estimated.shape == (0,)


def test_features_do_not_know_size_or_side():
    scan = as_arrays(spine("T5")[0])
    larger = as_arrays(spine("T5", scale=1.2)[0])
    np.testing.assert_allclose(features(larger), features(scan), atol=1e-5)
    assert features(as_arrays([])).shape == (0, N_FEATURES)
    hidden = features(scan, frozenset({"regions"}))
    np.testing.assert_allclose(hidden, features(as_arrays(spine("T5", regions=False)[0])), atol=1e-5)


def test_made_up_spines_descend_and_have_every_count():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        scan, states = made_up_scan(rng)
        assert (np.diff(states) > 0).all() and (np.diff(scan.position_mm[:, 2]) < 0).all()
        assert ((np.nan_to_num(scan.regions) >= 0) & (np.nan_to_num(scan.regions) <= 1)).all()
        seen |= set(states.tolist())
    assert seen == set(range(N_STATES))


def test_the_fitted_parameters_ship_with_source_and_licence():
    folder = files("nnunet_spine.labelling")
    assert len((folder / "vid.npz").read_bytes()) < 3e6
    text = (folder / "vid.txt").read_text(encoding="utf-8")
    assert "CC BY-SA 4.0" in text and "MICCAI 2023" in text


def test_parameters_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match="other features"):
        load_model(path)
    path.write_text("no archive", encoding="utf-8")
    with pytest.raises(InputError, match="no fitted parameters"):
        load_model(path)


def test_numpy_and_torch_agree_and_parameters_survive_the_file(tmp_path):
    torch = pytest.importorskip("torch")
    from nnunet_spine.labelling.fit import Transformer

    torch.manual_seed(0)
    network = Transformer(width=16, blocks=2, heads=4, dropout=0.0).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    scan = as_arrays(spine()[0])
    x = features(scan)
    padded = torch.zeros(1, 30, N_FEATURES)
    padded[0, : len(x)] = torch.from_numpy(x)
    with torch.no_grad():
        expected = network(padded, torch.arange(30)[None] < len(x))[0, : len(x)].numpy()
    np.testing.assert_allclose(apply_network(weights, x), expected, atol=1e-4)
    model = Model((weights,), Prices(missed=-2.5))
    save_model(model, tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    assert again.prices == model.prices
    np.testing.assert_allclose(again.log_scores(scan), model.log_scores(scan), atol=0.1)


def test_what_detections_beyond_the_reference_may_be():
    detections, truth = spine("T10", sacrum=True)
    scan = as_arrays(detections)
    reference = [(name, scan.position_mm[i]) for i, name in enumerate(truth) if name not in ("T10", "S1")]
    admissible = admissible_states(scan, reference)
    assert [np.flatnonzero(row).tolist() for row in admissible[1:3]] == [[INDEX["T11"]], [INDEX["T12"]]]
    assert np.flatnonzero(admissible[0]).tolist() == [INDEX["T10"], N_STATES]
    assert np.flatnonzero(admissible[-1]).tolist() == [INDEX["S1"], N_STATES]


def test_a_short_fit_learns():
    pytest.importorskip("torch")
    from nnunet_spine.labelling.fit import Schedule, draw_variants, fit_network, made_up_examples

    lines = []
    variants = draw_variants(made_up_examples(64, seed=0), rounds=2, seed=0)
    schedule = Schedule(width=16, blocks=1, heads=2, epochs=20, batch=32)
    weights = fit_network(variants, 0, schedule, lines.append)
    assert len(lines) == 2 and float(lines[1].split()[-1]) < float(lines[0].split()[-1])
    assert np.isfinite(apply_network(weights, variants[0][0].features)).all()
