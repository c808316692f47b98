"""Folds for nnU-Net: the official split, or folds that keep the scans of a patient together."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nnunet_spine.errors import InputError

Fold = dict[str, list[str]]


@dataclass(frozen=True)
class Preset:
    """How a publication divided its scans.

    Attributes:
        train, held_out: numbers of scans.
        levels: what each scan has to show.
        source: where that is said.
    """

    train: int
    held_out: int
    levels: tuple[str, ...]
    source: str


PRESETS = {"mita": Preset(9, 2, ("L2", "L3", "L4", "L5"), "Mita et al.: 11 CTs, 9 for training and 2 for testing")}
"""Which scans they were is not published; ours are drawn by a checksum of their names, the same everywhere."""


def preset_split(
    preset: Preset, patient_of_case: Mapping[str, str], levels_of_case: Mapping[str, Collection[str]]
) -> Fold:
    """One fold as a publication had it: scans of different patients, the held-out ones as `val`; others are in neither.

    Raises:
        InputError: too few scans of different patients show the levels.
    """
    first_of_patient: dict[str, str] = {}
    for case in sorted(patient_of_case):
        if set(preset.levels) <= set(levels_of_case.get(case, ())):
            first_of_patient.setdefault(patient_of_case[case], case)
    drawn = sorted(first_of_patient.values(), key=lambda case: hashlib.sha256(case.encode()).hexdigest())
    wanted = preset.train + preset.held_out
    if len(drawn) < wanted:
        raise InputError(
            f"{len(drawn)} scans of different patients show {', '.join(preset.levels)}; the preset needs {wanted}",
            "choose another --folds",
        )
    return {"train": sorted(drawn[: preset.train]), "val": sorted(drawn[preset.train : wanted])}


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


def splits_for(
    cases: Mapping[str, tuple[str, str]], folds: str, levels_of_case: Mapping[str, Collection[str]] | None = None
) -> tuple[list[Fold], str]:
    """Content of splits_final.json, and a sentence on it.

    Args:
        cases: training and validation cases -> (patient, split).
        folds: "official", a number of patient-grouped folds, or one of `PRESETS`.
        levels_of_case: for presets: the vertebrae that each case shows.

    Raises:
        InputError: see `patient_folds`.
    """
    patients = {case: patient for case, (patient, _) in cases.items()}
    if folds == "official":
        if split := official_split({case: split for case, (_, split) in cases.items()}):
            return (
                split,
                f"official split as fold 0: {len(split[0]['train'])} training, {len(split[0]['val'])} validation; "
                "there is no other fold",
            )
        n_folds = min(5, len(set(patients.values())))
        if n_folds < 2:
            return [], "one patient only, no splits_final.json"
        return patient_folds(patients, n_folds), f"no official validation scans; {n_folds} folds grouped by patient"
    if folds in PRESETS:
        preset = PRESETS[folds]
        fold = preset_split(preset, patients, levels_of_case or {})
        return [fold], f"fold 0 after {preset.source}; {len(cases) - preset.train - preset.held_out} scans in no part"
    if not folds.isdecimal():
        raise InputError(f"--folds {folds}", f"give `official`, a number, or {', '.join(PRESETS)}")
    return patient_folds(patients, int(folds)), f"{folds} folds grouped by patient"
