"""CTSpine1K in the layout of its mirror: volumes and labels in trees of their own, ids with dots, VerSe's values."""

from pathlib import Path

import nibabel as nib
import numpy as np

VERSE = {"T10": 17, "T11": 18, "T12": 19, "L1": 20, "L2": 21, "L3": 22, "L6": 25}
SHAPE, AFFINE = (18, 22, 40), np.array([[-1.5, 0, 0, 12], [0, -1.5, 0, 30], [0, 0, 2.0, -700], [0, 0, 0, 1.0]])
COLON = "1.3.6.1.4.1.9328.50.4."


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


def write_case(root: Path, source: str, name: str, levels=("T12", "L1", "L2", "L3"), *, image: bool = True):
    """One scan whose uppermost vertebra is cut by the top of the scan; world points in RAS mm by level."""
    mask, points = np.zeros(SHAPE, np.uint8), {}
    for k, level in enumerate(levels):
        top = SHAPE[2] - 8 * k
        mask[6:13, 4:11, top - 6 : top] = VERSE[level]
        mask[8:11, 11:16, top - 4 : top - 2] = VERSE[level]  # the y axis runs to the back
        points[level] = tuple((AFFINE @ [*np.argwhere(mask == VERSE[level]).mean(0), 1])[:3].tolist())
    hu = np.where(mask > 0, 350, 30) + np.random.default_rng(1).integers(-15, 16, SHAPE)
    hu[:, -2:] = -1000
    if image:
        save(root / "volumes" / source / f"{name}.nii.gz", hu.astype(np.int16))
    save(root / "labels" / source / f"{name}_seg.nii.gz", mask)
    return points


def example(root: Path) -> None:
    """A scan of each source; where they belong is in data_split.txt."""
    write_case(root / "raw_data", "COLONOG", f"{COLON}0104")
    write_case(root / "raw_data", "HNSCC-3DCT-RT", "HN_P001")
    write_case(root / "raw_data", "MSD-T10", "liver_104")
    write_case(root / "raw_data", "COVID-19", "volume-covid19-A-0377_ct")
    (root / "data_split.txt").write_bytes(
        f"trainset:\r\n{COLON}0104.nii.gz\r\nHN_P001.nii.gz\r\n\r\ntest_public:\r\nliver_104.nii.gz\r\n"
        "test_private:\r\nvolume-covid19-A-0377_ct.nii.gz\r\n".encode()
    )
