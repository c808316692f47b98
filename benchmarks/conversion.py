"""Seconds per scan of `nnunet-spine convert verse` against the usual way: load, reorient, recompress image and mask.

    python -m benchmarks.conversion [--shape 400 400 320] [--rounds 5] [--source VERSE_FOLDER]

Same scans, one process and one worker each, in turn within one run. Without `--source` the scan is a phantom whose CT
compresses about as well as a real one, stored three ways: as most VerSe masks are (uint8), with label 28, which makes
the mask be rewritten, and as float64. Ours also checks labels, islands and completeness and measures centroids.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nnunet_spine.dataset_conversion.convert import Run, build, plan_conversion
from nnunet_spine.dataset_conversion.prepare import Choices
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.dataset_conversion.verse import find_scans

from benchmarks.timing import alternate, median_ratio
from nnunet_spine.anatomy import lookup_table
from nnunet_spine.phantom import PhantomOptions, draw_phantom

SPACING_MM = (0.8, 0.8, 1.0)


def convert_usual(source: Path, folder: Path) -> None:
    """Load, reorient to RAS, map the labels, compress: the script that each project writes anew.

    nibabel compresses at gzip level 1, the fastest; others use 6 or 9 and are slower.
    """
    table = lookup_table("verse", "nnunet").astype(np.uint8)
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for scan in find_scans([source]).scans:
        image = nib.as_closest_canonical(nib.load(scan.image))
        nib.save(image, folder / "imagesTr" / f"{scan.case}_0000.nii.gz")
        mask = nib.as_closest_canonical(nib.load(scan.mask))
        labels = table[np.rint(np.asarray(mask.dataobj)).astype(np.uint8)]
        nib.save(nib.Nifti1Image(labels, mask.affine), folder / "labelsTr" / f"{scan.case}.nii.gz")


def convert_ours(source: Path, raw: Path, *, verify: bool = False) -> None:
    """The whole command but its start, with one worker."""
    shutil.rmtree(raw, ignore_errors=True)
    plan = plan_conversion("verse", [source], Target(raw, 710, "VerSe"), Choices(verify=verify))
    build(plan, Run(say=lambda line: None))


def write_phantom(root: Path, shape: tuple[int, int, int]) -> dict[str, Path]:
    """One phantom, stored as three VerSe trees."""
    phantom = draw_phantom(1, PhantomOptions(shape=shape, spacing_mm=SPACING_MM, last_thoracic=13))
    steps = nib.orientations.ornt_transform(
        nib.io_orientation(phantom.affine), nib.orientations.axcodes2ornt(("P", "I", "R"))
    )
    image = nib.Nifti1Image(phantom.image, phantom.affine).as_reoriented(steps)
    mask = np.asarray(nib.Nifti1Image(phantom.mask, phantom.affine).as_reoriented(steps).dataobj)
    plain = np.where(mask == 28, 0, mask)
    trees = {"uint8 mask": plain, "uint8 mask with T13": mask, "float64 mask": plain.astype(np.float64)}
    for name, labels in trees.items():
        split = root / name / "training"
        for kind in ("rawdata", "derivatives"):
            (split / kind / "sub-a").mkdir(parents=True)
        nib.save(image, split / "rawdata" / "sub-a" / "sub-a_ct.nii.gz")
        nib.save(nib.Nifti1Image(labels, image.affine), split / "derivatives" / "sub-a" / "sub-a_seg-vert_msk.nii.gz")
    return {name: root / name for name in trees}


def compare(name: str, source: Path, work: Path, rounds: int) -> None:
    """Print medians and ratios for one source."""
    n = len(find_scans([source]).scans)
    ways = {
        "usual": lambda: convert_usual(source, work / "usual"),
        "ours": lambda: convert_ours(source, work / "ours"),
        "ours --verify": lambda: convert_ours(source, work / "ours", verify=True),
    }
    seconds = alternate(ways, rounds=rounds)
    medians = ", ".join(f"{way} {statistics.median(values) / n:.2f} s" for way, values in seconds.items())
    ratios = ", ".join(f"{way} {median_ratio(seconds['usual'], seconds[way]):.1f}x" for way in list(ways)[1:])
    print(f"{name}: per scan {medians}; usual to {ratios} ({n} scans, {rounds} rounds)", flush=True)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 400, 320))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source", type=Path, help="a VerSe folder instead of the phantom")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = {str(args.source): args.source} if args.source else write_phantom(work / "src", tuple(args.shape))
        for name, source in sources.items():
            compare(name, source, work, args.rounds)


if __name__ == "__main__":
    main()
