"""A hospital's own folder: images and masks in folders of their own under the same names, values in a dataset.json."""

import json
from pathlib import Path

from verse_tree import save, spine_ct, spine_mask


def example(root: Path) -> None:
    """Two scans for training and one for the test."""
    for split, case, labels in (
        ("training", "p1", (1, 2, 3)),
        ("training", "p2", (2, 3, 4)),
        ("test", "p3", (1, 2, 3)),
    ):
        save(root / split / "ct" / f"{case}.nii.gz", spine_ct(spine_mask(labels), len(case)))
        save(root / split / "masks" / f"{case}.nii.gz", spine_mask(labels))
        names = {"background": 0, "T12": 1, "L1": 2, "L2": 3, "L3": 4}
        (root / split / "masks" / "dataset.json").write_text(json.dumps({"labels": names}), encoding="utf-8")
