"""Runs of wrong names, and what relabel says of a prediction, in the scores."""

import numpy as np
import pytest

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation import Request, evaluate
from nnunet_spine.io.files import write_json
from nnunet_spine.io.label_tables import write_mask
from nnunet_spine.io.naming_report import read_naming_report
from nnunet_spine.jobs import Run
from nnunet_spine.scores import wrong_name_runs


def test_runs_are_consecutive_names_off_by_the_same():
    spine = ["T11", "T12", "L1", "L2"]
    assert wrong_name_runs(zip(spine, spine, strict=True)) == []
    assert wrong_name_runs(zip(spine, ["T10", "T11", "T12", "L1"], strict=True)) == [(-1, 4)]
    assert wrong_name_runs(zip(spine, ["T12", "T12", "T12", "L1"], strict=True)) == [(1, 1), (-1, 2)]
    assert wrong_name_runs(zip(spine, ["T10", None, "T12", "L2"], strict=True)) == [(-1, 1), (-1, 1)]
    assert wrong_name_runs([("T12", "T12"), ("T13", "T13"), ("L1", "L1")]) == []
    assert wrong_name_runs([]) == []


def test_report_beside_a_prediction_is_scored_and_noticed_when_it_changes(tmp_path):
    labels = np.zeros((30, 30, 60), np.uint8)
    labels[10:20, 10:20, 10:25], labels[10:20, 10:20, 30:45] = 21, 20
    masks = tmp_path / "masks"
    write_mask(masks / "case.nii.gz", labels, np.eye(4), "nnunet")
    request = Request((masks,))

    def score():
        return evaluate(masks, request, tmp_path / "out", Run(say=list)).scores[0]

    assert (score()["names_probability"], score()["names_ambiguous"], score()["wrong_name_runs"]) == (None, None, 0)
    report = {"probability_all_right": 0.75, "ambiguous": "no boundary in view", "reason": ""}
    write_json(masks / "case_relabel.json", report)
    assert (score()["names_probability"], score()["names_ambiguous"]) == (0.75, True)
    write_json(masks / "case_relabel.json", report | {"ambiguous": ""})
    assert score()["names_ambiguous"] is False


def test_other_json_is_no_report(tmp_path):
    write_json(tmp_path / "case_relabel.json", [1, 2])
    with pytest.raises(InputError, match="no report"):
        read_naming_report(tmp_path / "case_relabel.json")
