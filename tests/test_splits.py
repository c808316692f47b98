"""Official split and patient-grouped folds."""

import pytest

from nnunet_spine.dataset_conversion.splits import PRESETS, official_split, patient_folds, preset_split, splits_for
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


LEVELS = {f"s{i:02d}": ["L1", "L2", "L3", "L4", "L5"] for i in range(20)}


class TestMitaPreset:
    def test_nine_and_two_scans_of_different_patients(self):
        patients = {case: f"p{int(case[1:]) // 2 if case < 's12' else case}" for case in LEVELS}  # 14 patients
        fold = preset_split(PRESETS["mita"], patients, LEVELS)
        assert (len(fold["train"]), len(fold["val"])) == (9, 2)
        assert len({patients[case] for side in fold.values() for case in side}) == 11
        backwards = preset_split(PRESETS["mita"], dict(reversed(patients.items())), LEVELS)
        assert backwards == fold

    def test_scans_without_all_levels_are_in_no_part(self):
        levels = {case: names[: 3 if case < "s09" else 5] for case, names in LEVELS.items()}
        fold = preset_split(PRESETS["mita"], {case: case for case in levels}, levels)
        assert sorted(fold["train"] + fold["val"]) == [f"s{i:02d}" for i in range(9, 20)]
        del levels["s19"]
        with pytest.raises(InputError, match="10 scans of different patients show L2, L3, L4, L5; the preset needs 11"):
            preset_split(PRESETS["mita"], {case: case for case in levels}, levels)

    def test_sentence(self):
        splits, sentence = splits_for({case: (case, "training") for case in LEVELS}, "mita", LEVELS)
        assert len(splits) == 1
        assert "9 for training and 2 for testing; 9 scans in no part" in sentence
