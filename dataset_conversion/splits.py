"""Folds for nnU-Net: the official split, or folds that keep the scans of a patient together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from nnunet_spine.errors import InputError

Fold = dict[str, list[str]]


def official_split(split_of_case: Mapping[str, str]) -> list[Fold]:
    """One fold: official training against official validation scans; empty where one of them is missing."""
    train = sorted(case for case, split in split_of_case.items() if split == "training")
    val = sorted(case for case, split in split_of_case.items() if split == "validation")
    return [{"train": train, "val": val}] if train and val else []


def patient_folds(patient_of_case: Mapping[str, str], n_folds: int) -> list[Fold]:
    """Folds of nearly equal numbers of scans, all scans of a patient in the same one; deterministic.

    Raises:
        InputError: fewer than two folds, or fewer patients than folds.
    """
    cases = defaultdict(list)
    for case, patient in patient_of_case.items():
        cases[patient].append(case)
    if not 2 <= n_folds <= len(cases):
        raise InputError(f"{n_folds} folds for {len(cases)} patients", f"choose 2 to {len(cases)} folds")
    held_out: list[list[str]] = [[] for _ in range(n_folds)]
    for patient in sorted(cases, key=lambda p: (-len(cases[p]), p)):  # patients with most scans first: even folds
        min(held_out, key=len).extend(cases[patient])
    everything = set(patient_of_case)
    return [{"train": sorted(everything - set(val)), "val": sorted(val)} for val in held_out]


def folds_of_parts(folds: Sequence[Fold], parts: Mapping[str, Sequence[str]]) -> list[Fold]:
    """Folds in which each case is replaced by the cases made from it; a case without any is left out."""
    return [
        {side: sorted(part for case in cases for part in parts.get(case, ())) for side, cases in fold.items()}
        for fold in folds
    ]


def splits_for(cases: Mapping[str, tuple[str, str]], folds: str) -> tuple[list[Fold], str]:
    """Content of splits_final.json, and a sentence on it.

    Args:
        cases: training and validation cases -> (patient, split).
        folds: "official", or a number of patient-grouped folds.

    Raises:
        InputError: see `patient_folds`.
    """
    patients = {case: patient for case, (patient, _) in cases.items()}
    if folds == "official":
        if split := official_split({case: split for case, (_, split) in cases.items()}):
            return (
                split,
                f"official split as fold 0: {len(split[0]['train'])} training, {len(split[0]['val'])} validation",
            )
        n_folds = min(5, len(set(patients.values())))
        if n_folds < 2:
            return [], "one patient only, no splits_final.json"
        return patient_folds(patients, n_folds), f"no official validation scans; {n_folds} folds grouped by patient"
    if not folds.isdigit():
        raise InputError(f"--folds {folds}", "give `official` or a number")
    return patient_folds(patients, int(folds)), f"{folds} folds grouped by patient"
