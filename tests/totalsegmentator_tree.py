"""The CT data set of TotalSegmentator: a folder per subject, a binary mask per structure, meta.csv with semicolons."""

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE, AFFINE = (20, 18, 48), np.array([[1.5, 0, 0, -14], [0, 1.5, 0, -9], [0, 0, 1.5, 300], [0, 0, 0, 1.0]])
LEVELS = [*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]


def write_subject(
    root: Path, subject: str, levels=("T12", "L1", "L2"), *, version: int = 2, dtype=np.uint8, empty: bool = True
):
    """One subject; structures that are not in view are empty files, or none. World points in RAS mm by level."""
    folder, points, bone = root / subject / "segmentations", {}, np.zeros(SHAPE, bool)
    folder.mkdir(parents=True)
    named = [f"vertebrae_{level}" for level in LEVELS] + ["liver"] + (["vertebrae_S1", "sacrum"] * (version == 2))
    for name in named:
        mask = np.zeros(SHAPE, dtype)
        level = name.removeprefix("vertebrae_")
        if level in levels:
            top = SHAPE[2] - 3 - 12 * levels.index(level)
            mask[6:13, 7:14, top - 8 : top] = 1
            mask[8:11, 2:7, top - 6 : top - 3] = 1
            bone |= mask > 0
            points[level] = tuple((AFFINE @ [*np.argwhere(mask).mean(0), 1])[:3].tolist())
        elif not empty and name != "liver":
            continue
        nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{name}.nii.gz")
    hu = np.where(bone, 350, 30) + np.random.default_rng(2).integers(-15, 16, SHAPE)
    hu[:, :2] = -1000
    nib.save(nib.Nifti1Image(hu.astype(np.int16), AFFINE), root / subject / "ct.nii.gz")
    return points


def write_meta(root: Path, splits: dict[str, str]) -> None:
    lines = ["image_id;age;gender;institute;study_type;split"]
    lines += [f"{subject};70;m;A;ct spine;{split}" for subject, split in splits.items()]
    (root / "meta.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")


def example(root: Path) -> None:
    """Three subjects, one for each split."""
    data = root / "Totalsegmentator_dataset_v201"
    for subject in ("s0011", "s0012", "s0013"):
        write_subject(data, subject)
    write_meta(data, {"s0011": "train", "s0012": "val", "s0013": "test"})
