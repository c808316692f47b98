"""Which of the declared labels occur, in the whole dataset and in the validation part of each fold."""

from collections.abc import Mapping, Sequence

from nnunet_spine.dataset_conversion.label_sets import (
    IGNORE,
    ignore_value,
    label_values,
    missing_in,
    names_of_set,
    spans,
)
from nnunet_spine.dataset_conversion.prepare import Record


def names_in(record: Record) -> list[str]:
    """Names of the labels of a case."""
    return str(record.row.get("labels_after", "")).split()


def occurring(label_set: str, records: Sequence[Record]) -> tuple[str, ...]:
    """Names of a label set that occur in any case, cranio-caudal."""
    there = {name for record in records for name in names_in(record)}
    return tuple(name for name in names_of_set(label_set) if name in there)


def labels_of(label_set: str, declared: Sequence[str], records: Sequence[Record]) -> dict[str, int]:
    """The `labels` of dataset.json; with the ignore label where a case has it."""
    values = label_values(label_set, declared)
    if any(IGNORE in names_in(record) for record in records):
        values[IGNORE] = ignore_value(values)
    return values


def coverage_lines(
    labels: Mapping[str, int], records: Sequence[Record], folds: Sequence[Mapping[str, Sequence[str]]]
) -> list[str]:
    """What to tell about declared labels that do not occur.

    nnU-Net averages Dice over all declared labels; one that neither the references nor the predictions of a validation
    part hold is not a number, and so is the mean (nnunetv2 2.8, `compute_metrics_on_folder`).

    Args:
        labels: of dataset.json.
        records: all cases.
        folds: of splits_final.json.
    """
    of_case = {r.case: names_in(r) for r in records if r.split != "test" and "labels_after" in r.row}
    declared = {name: value for name, value in labels.items() if name != IGNORE}
    if not of_case:
        return []
    nowhere = missing_in(declared, of_case.values())
    lines = []
    if nowhere:
        lines.append(
            f"{len(nowhere)} of {len(declared) - 1} declared labels occur in no training or validation scan: "
            f"{spans(nowhere)}. nnU-Net's mean Dice is nan then and nnUNetv2_find_best_configuration stops; --declare "
            "occurring leaves them out"
        )
    elsewhere = {name: value for name, value in declared.items() if name not in nowhere}
    lacking = [(k, missing_in(elsewhere, (of_case.get(c, ()) for c in fold["val"]))) for k, fold in enumerate(folds)]
    if shown := "; ".join(f"fold {number} {spans(names)}" for number, names in lacking if names):
        lines.append(
            f"labels that no validation scan of a fold has: {shown}. nnU-Net's mean Dice of that fold is nan unless it "
            "predicts them; nnunet-spine evaluate averages over what occurs"
        )
    return lines
