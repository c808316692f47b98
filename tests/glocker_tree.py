"""The Glocker set as its users describe it: `.lml` text with index x spacing beside NIfTI or MetaImage files."""

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE, SPACING = (24, 28, 60), (1.5, 1.25, 2.5)
IDS = {"T10": 170, "T11": 180, "T12": 190, "L1": 200, "L2": 210, "L3": 220, "L4": 230, "L5": 240, "S1": 250, "S2": 260}
LPS = np.diag([-1.5, -1.25, 2.5, 1.0])
TILTED = np.array([[-1.477, 0.0, 0.4341, 80], [0, -1.25, 0, 40], [0.2605, 0.0, 2.4620, -900], [0, 0, 0, 1.0]])


def points_for(levels=("T12", "L1", "L2", "L3"), top: float = 135.0, step: float = 30.0, x: float = 16.0):
    """mm from the first voxel along the stored axes."""
    return {level: (x, 17.5 + 0.5 * k, top - step * k) for k, level in enumerate(levels)}


def write_lml(path: Path, points: dict, *, newline: str = "\r\n", header: str = "# 0", extra: str = "") -> None:
    """One line per point, tabs between, the ids of the data set and a column more where asked."""
    rows = [
        f"{IDS.get(name, 999)}\t{name}_center\t{x:.2f}\t{y:.2f}\t{z:.2f}{extra}" for name, (x, y, z) in points.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join([header, *rows, ""])).encode())


def hu_of(points: dict) -> np.ndarray:
    """Bone around each point, in soft tissue with air behind it."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) * SPACING
    hu = np.full(SHAPE, 40.0)
    hu[:, -3:] = -1000
    for point in points.values():
        hu[np.linalg.norm(index - point, axis=-1) < 9] = 350
    return (hu + np.random.default_rng(3).integers(-12, 13, SHAPE)).astype(np.int16)


def write_scan(folder: Path, scan: str, points: dict | None = None, *, affine=LPS, kind="nii.gz", **how) -> dict:
    """Image and landmarks; returns world points in RAS mm."""
    points = points or points_for()
    write_lml(folder / f"{scan}.lml", points, **how)
    if kind == "mhd":
        from csi2014_tree import write_metaimage

        header = write_metaimage(folder / f"{scan}.mhd", hu_of(points))
        text = header.read_text(encoding="utf-8")
        spacing = f"ElementSpacing = {SPACING[0]} {SPACING[1]} {SPACING[2]}"
        header.write_text(text.replace("ElementSpacing = 2.0 2.0 2.0", spacing), encoding="utf-8")
    else:
        nib.save(nib.Nifti1Image(hu_of(points), affine), folder / f"{scan}.{kind}")
    return {n: tuple((affine @ [*(np.array(p) / SPACING), 1])[:3].tolist()) for n, p in points.items()}


def example(root: Path) -> None:
    """Two patients for training, one of them with two scans, and a flat folder for the test."""
    for patient, scan in (("patient0001", "2804506"), ("patient0001", "2805012"), ("patient0013", "4511471")):
        write_scan(root / "spine-1" / patient / scan, scan)
    write_scan(root / "spine-test-data", "4517454")
