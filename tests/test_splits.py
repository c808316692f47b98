"""Official split and patient-grouped folds."""

import pytest

from nnunet_spine.dataset_conversion.splits import official_split, patient_folds, splits_for
from nnunet_spine.errors import InputError


def test_official_split_is_fold_0():
    assert official_split({"b": "training", "a": "training", "c": "validation"}) == [
        {"train": ["a", "b"], "val": ["c"]}
    ]
    assert official_split({"a": "training"}) == []


def test_patients_stay_together_and_folds_are_even():
    patients = {f"s{i}": f"p{i // 2 if i < 8 else i}" for i in range(20)}
    folds = patient_folds(patients, 4)
    assert [len(f["val"]) for f in folds] == [5, 5, 5, 5]
    assert sorted(case for f in folds for case in f["val"]) == sorted(patients)
    for fold in folds:
        assert not {patients[c] for c in fold["train"]} & {patients[c] for c in fold["val"]}
        assert sorted(fold["train"] + fold["val"]) == sorted(patients)
    assert patient_folds(dict(reversed(patients.items())), 4) == folds


def test_choices():
    cases = {"a": ("p", "training"), "b": ("q", "training"), "c": ("r", "validation")}
    assert len(splits_for(cases, "official")[0]) == 1
    assert len(splits_for(cases, "3")[0]) == 3
    del cases["c"]
    splits, sentence = splits_for(cases, "official")
    assert len(splits) == 2
    assert "no official validation scans" in sentence
    assert splits_for({"a": ("p", "training")}, "official")[0] == []


@pytest.mark.parametrize("folds", ["1", "4", "many", "-2"])
def test_impossible_numbers(folds):
    with pytest.raises(InputError, match="folds"):
        splits_for({"a": ("p", "training"), "b": ("q", "training"), "c": ("r", "training")}, folds)
