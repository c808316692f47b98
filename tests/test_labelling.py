"""Detections to names: whole spines and parts, variants, missing and false detections, honest doubt."""

import doctest
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from labelled_spine import moved, spine

from nnunet_spine.errors import InputError
from nnunet_spine.labelling import Detection, label, label_vertebrae
from nnunet_spine.labelling.anatomies import Rarity
from nnunet_spine.labelling.detections import as_arrays
from nnunet_spine.labelling.label import read_chain
from nnunet_spine.labelling.rules import rules_chain


def names(labelling) -> list[str | None]:
    return [n.name for n in labelling.names]


def anomalies(labelling) -> set[str]:
    return {a.name for a in labelling.anomalies}


BOTH = pytest.mark.parametrize("method", ["learned", "rules"])


def test_the_example_of_the_docstring_runs():
    tested = doctest.testmod(label)
    assert tested.attempted >= 2 and not tested.failed


@BOTH
@pytest.mark.parametrize(("first", "last"), [("C1", "L5"), ("T5", "L5"), ("T9", "L3"), ("C5", "T6")])
def test_parts_of_a_spine_with_a_boundary_in_view(method, first, last):
    detections, truth = spine(first, last)
    found = label_vertebrae(detections, method=method)
    assert names(found) == truth
    assert not found.ambiguous
    assert min(n.probability for n in found.names[-5:]) > 0.5


@BOTH
def test_names_come_in_the_order_given(method):
    detections, truth = spine("T8")
    order = np.random.default_rng(0).permutation(len(detections))
    found = label_vertebrae([detections[i] for i in order], method=method)
    assert names(found) == [truth[i] for i in order]
    assert names(label_vertebrae(detections, method=method, in_order=True)) == truth


@BOTH
@pytest.mark.parametrize(("scale", "mirror"), [(0.85, False), (1.15, True)])
def test_neither_size_nor_mirroring_changes_a_name(method, scale, mirror):
    for first, last in (("T4", "L5"), ("T10", "L4"), ("C4", "T4"), ("T3", "T9"), ("L1", "L5")):
        detections, _ = spine(first, last)
        detections = [
            replace(
                d,
                left_pedicle_mm=(d.position_mm[0] - 13, d.position_mm[1] - 22, d.position_mm[2] + 6),
                right_pedicle_mm=(d.position_mm[0] + 12, d.position_mm[1] - 21, d.position_mm[2] + 5),
            )
            for d in detections
        ]
        before = label_vertebrae(detections, method=method)
        after = label_vertebrae(moved(detections, scale, mirror), method=method)
        assert names(after) == names(before)
        if method == "learned":
            stated = [[n.probability for n in found.names] for found in (before, after)]
            np.testing.assert_allclose(*stated, atol=1e-3)


@pytest.mark.parametrize("deleted", [(4,), (6,), (5, 6)])
def test_undetected_levels_are_inferred_where_they_lie(deleted):
    detections, truth = spine("T2")
    seen = [i for i in range(len(detections)) if i not in deleted]
    found = label_vertebrae([detections[i] for i in seen], method="rules")
    assert names(found) == [truth[i] for i in seen]
    assert [m.name for m in found.missing] == [truth[i] for i in deleted]
    for missing, i in zip(found.missing, deleted, strict=True):
        assert np.linalg.norm(np.subtract(missing.position_mm, detections[i].position_mm)) < 6


def test_a_false_detection_beside_the_spine_is_no_vertebra():
    detections, truth = spine("T4")
    x, y, z = detections[5].position_mm
    false = Detection((x + 60, y + 10, z - 10), regions=(0.1, 0.8, 0.1))
    found = label_vertebrae([*detections, false])
    assert names(found) == [*truth, None]
    assert found.names[-1].probability > 0.5


def test_eleven_thoracic_levels():
    detections, truth = spine(last_thoracic=11)
    found = label_vertebrae(detections, method="rules")
    assert names(found) == truth
    assert anomalies(found) == {"T11"}
    assert "fits better than" in found.anomalies[0].evidence
    usual = label_vertebrae(detections, method="rules", normal=True)
    assert not usual.anomalies
    assert len(set(filter(None, names(usual)))) == len(list(filter(None, names(usual))))


def test_thirteen_thoracic_levels():
    detections, truth = spine("C5", last_thoracic=13)
    found = label_vertebrae(detections, method="rules")
    assert names(found) == truth
    assert anomalies(found) == {"T13"}
    assert "T13" not in names(label_vertebrae(detections, method="rules", normal=True))


def test_six_lumbar_levels():
    detections, truth = spine("T8", last_lumbar=6, sacrum=True)
    found = label_vertebrae(detections, method="rules")
    assert names(found) == truth
    assert anomalies(found) == {"L6"}
    assert found.boundaries == ("T/L", "L/S")


def test_four_lumbar_levels_where_they_are_not_rare():
    detections, truth = spine("T8", last_lumbar=4, sacrum=True, regions=False, levels=True)
    scan = as_arrays(detections)
    found = read_chain(scan, *rules_chain(scan, Rarity(l4=1.0)))
    assert names(found) == truth
    assert anomalies(found) == {"L4"}
    assert names(label_vertebrae(detections, method="rules"))[-2:] == ["L4", "L5"]  # one odd bone is no proof


@BOTH
def test_level_evidence_alone_names_a_view_without_boundary(method):
    detections, truth = spine("T3", "T9", regions=False, levels=True)
    assert names(label_vertebrae(detections, method=method)) == truth


@BOTH
@pytest.mark.parametrize("wrong", [1, 3])
def test_one_wrong_level_does_not_outvote_the_others(method, wrong):
    detections, truth = spine("T6", regions=False, levels=True)
    detections[wrong] = replace(detections[wrong], levels={truth[wrong + 1]: 0.9})
    assert names(label_vertebrae(detections, method=method)) == truth


@BOTH
def test_a_view_without_boundary_is_called_ambiguous(method):
    detections, _ = spine("T3", "T9")
    found = label_vertebrae(detections, method=method)
    assert found.ambiguous == "no boundary in view"
    assert not found.boundaries
    assert found.names[0].margin < 0.9


@pytest.mark.parametrize("method", ["learned", "rules", "paper"])
def test_no_detections(method):
    found = label_vertebrae([], method=method)
    assert found.names == () and found.missing == () and found.anomalies == ()


@BOTH
@pytest.mark.parametrize("regions", [True, False])
def test_one_detection_is_not_given_a_sure_name(method, regions):
    detections, _ = spine("T6", "T6", regions=regions)
    found = label_vertebrae(detections, method=method)
    assert len(found.names) == 1 and found.names[0].probability < 0.9
    assert found.ambiguous


@BOTH
def test_probabilities_are_probabilities(method):
    rng = np.random.default_rng(0)
    noise = [Detection(tuple(rng.uniform(-150, 150, 3).tolist())) for _ in range(30)]
    found = label_vertebrae(noise, method=method)
    assert all(0 <= n.probability <= 1 and -1 <= n.margin <= 1 for n in found.names)
    assert 0 <= found.probability <= 1
    assert found.ambiguous


def test_counting_from_a_boundary():
    detections, truth = spine("T8")
    found = label_vertebrae(detections, method="paper")
    assert names(found) == truth
    assert found.boundaries == ("T/L",) and found.probability is None and found.names[0].probability is None
    detections, truth = spine("C3", "T5")
    assert names(label_vertebrae(detections, method="paper")) == truth


def test_counting_takes_the_boundary_of_larger_margin_where_two_disagree():
    detections, truth = spine(last_thoracic=11)
    first, last = truth.index("T1"), truth.index("T11")
    for unsure, expected in ((last, [*truth[:18], "T12", "L1", "L2", "L3", "L4"]), (first, None)):
        changed = detections.copy()
        scores = (0.02, 0.6, 0.5) if unsure == last else (0.5, 0.6, 0.02)
        changed[unsure] = replace(changed[unsure], regions=scores)
        found = names(label_vertebrae(changed, method="paper"))
        assert found == (
            expected or ["C2", "C3", "C4", "C5", "C6", "C7", *[f"T{i}" for i in range(1, 13)], *truth[18:]]
        )


def test_counting_goes_on_to_a_sixth_lumbar_level():
    detections, _ = spine("T8", sacrum=True)
    assert names(label_vertebrae(detections, method="paper"))[-2:] == ["L5", "L6"]


@pytest.mark.parametrize("unknown", range(10))
def test_counting_ignores_the_region_of_a_detection_without_one(unknown):
    detections, truth = spine("T8")
    detections[unknown] = replace(detections[unknown], regions=None)
    found = label_vertebrae(detections, method="paper")
    if truth[unknown] in ("T12", "L1"):  # the boundary lies on either side of it
        assert found.boundaries == ("T/L",)
    else:
        assert names(found) == truth


def test_counting_without_a_boundary_names_nothing():
    detections, _ = spine("T3", "T9")
    found = label_vertebrae(detections, method="paper")
    assert set(names(found)) == {None} and found.ambiguous == "no boundary in view"


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (Detection((0, np.nan, 0)), "finite position"),
        (Detection((0, 0, 0), regions=(0.1, 1.4, 0)), r"regions from 0 to 1.4; expected scores in \[0, 1\]"),
        (Detection((0, 0, 0), levels={"T14": 1.0}), "level evidence for 'T14'"),
        (Detection((0, 0, 0), completeness=-0.5), "completeness from -0.5"),
        (Detection((0, 0, 0), completeness=np.nan), "completeness"),
    ],
)
def test_bad_input(detection, message):
    with pytest.raises(InputError, match=message):
        label_vertebrae([detection])


def test_unknown_method():
    with pytest.raises(InputError, match="expected one of learned, rules, paper"):
        label_vertebrae([], method="guess")


def test_naming_needs_no_torch():
    code = (
        "import sys; from nnunet_spine.labelling import Detection, label_vertebrae; "
        "label_vertebrae([Detection((0, 0, 0))]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
