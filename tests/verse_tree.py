"""Small VerSe trees for the converter tests: a few blocks for vertebrae on a coarse grid."""

import argparse
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine.commands import convert

AFFINE_RAS = np.array([[2.0, 0, 0, -30], [0, 2, 0, -20], [0, 0, 2, 100], [0, 0, 0, 1]])
SHAPE = (24, 20, 40)


def spine_mask(labels=(20, 21, 22), shape=SHAPE) -> np.ndarray:
    """Blocks of 16 x 16 x 12 mm (2 mm voxels), head to foot along falling z, with a process behind each."""
    mask = np.zeros(shape, np.uint8)
    for k, label in enumerate(labels):
        top = shape[2] - 2 - 8 * k
        mask[8:16, 10:18, top - 6 : top] = label
        mask[11:13, 4:10, top - 4 : top - 2] = label
    return mask


def spine_ct(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    """Integer HU: bone in water, with noise."""
    noise = np.random.default_rng(seed).normal(0, 10, mask.shape)
    return (np.where(mask > 0, 400, 0) + noise).astype(np.int16)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE_RAS, *, qform_code: int = 0) -> Path:
    """Write a NIfTI file with the codes of the released VerSe files: sform 2, qform 0."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=2)
    image.set_qform(affine, code=qform_code)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def turned(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same volume stored with other axis codes."""
    steps = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    image = nib.Nifti1Image(array, affine).as_reoriented(steps)
    return np.asarray(image.dataobj), image.affine


def subject(
    root: Path,
    name: str,
    stem: str | None = None,
    labels=(20, 21, 22),
    *,
    affine: np.ndarray = AFFINE_RAS,
    codes: str = "",
    dtype=np.uint8,
    centroids: bool = True,
    mask: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Add a scan in the subject-based layout below a split folder; returns image and mask."""
    stem = stem or f"sub-{name}"
    mask = spine_mask(labels) if mask is None else mask
    ct = spine_ct(mask, seed)
    affines = affine
    if codes:
        (ct, affines), (mask, _) = turned(ct, affine, codes), turned(mask, affine, codes)
    image_path = save(root / "rawdata" / f"sub-{name}" / f"{stem}_ct.nii.gz", ct, affines)
    folder = root / "derivatives" / f"sub-{name}"
    mask_path = save(folder / f"{stem}_seg-vert_msk.nii.gz", mask.astype(dtype), affines)
    if centroids:
        write_voxel_centroids(folder / f"{stem}_seg-subreg_ctd.json", mask, affines)
    return image_path, mask_path


def write_voxel_centroids(path: Path, mask: np.ndarray, affine: np.ndarray) -> None:
    """A subject-based centroid file: 0-based voxel indices after a direction element."""
    content: list[dict] = [{"direction": list(nib.aff2axcodes(affine))}]
    for label in sorted(set(np.unique(mask).tolist()) - {0}):
        x, y, z = np.argwhere(mask == label).mean(0).round(1).tolist()
        content.append({"label": label, "X": x, "Y": y, "Z": z})
    path.write_text(json.dumps(content), encoding="utf-8")


def miccai(
    folder: Path, image: str, mask: str, centroids: str | None = None, labels=(20, 21, 22), *, seed: int = 0
) -> None:
    """Add a scan of the challenge layout under the given file names; centroids in the frame of the name's year."""
    array = spine_mask(labels)
    save(folder / image, spine_ct(array, seed))
    save(folder / mask, array)
    if centroids:
        points = []
        for label in labels:
            x, y, z = np.argwhere(array == label).mean(0) * 2.0  # mm from the first voxel: R, A, S
            right, anterior, superior = 2.0 * (np.array(SHAPE) - 1) - (x, y, z)
            left = x
            xyz = (anterior, superior, left) if "iso" in centroids else (superior, anterior, right)
            points.append({"label": label, **dict(zip("XYZ", np.round(xyz, 2).tolist(), strict=True))})
        (folder / centroids).write_text(json.dumps(points), encoding="utf-8")


def example(root: Path) -> None:
    """A small VerSe: two scans of both layouts for training, one each to validate and test."""
    subject(root / "training", "verse004")
    miccai(root / "training" / "GL003", "GL003.nii.gz", "GL003_seg.nii.gz", "GL003_iso-ctd.json")
    subject(root / "validation", "verse010", codes="PIR")
    subject(root / "test", "verse020", centroids=False)


def run_convert(*argv: str | Path) -> int:
    """The command with its own parser, errors raised."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(command="convert")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--debug", action="store_true")
    convert.add_arguments(parser)
    return convert.run(parser.parse_args([str(a) for a in (*argv, "-np", "1")]))


def digests(folder: Path, *, times: bool = False) -> dict[str, tuple]:
    """Every file and folder below, hidden ones too: content, and times where asked."""
    out = {}
    for path in sorted(folder.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        out[str(path.relative_to(folder))] = (content, path.lstat().st_mtime_ns) if times else (content,)
    return out


def load_case(dataset: Path, case: str, split: str = "Tr") -> tuple[nib.Nifti1Image, nib.Nifti1Image, dict]:
    """Image, label and centroids of a converted case."""
    return (
        nib.load(dataset / f"images{split}" / f"{case}_0000.nii.gz"),
        nib.load(dataset / f"labels{split}" / f"{case}.nii.gz"),
        json.loads((dataset / f"centroids{split}" / f"{case}.json").read_text(encoding="utf-8")),
    )
