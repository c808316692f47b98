"""Seconds per scan of `nnunet-spine convert verse` against the usual way: load, reorient, recompress image and mask.

    python -m benchmarks.conversion [--shape 400 400 320] [--scans 3] [--rounds 5] [--source VERSE_FOLDER]

Same scans, one process and one worker each, in turn within one run. Without `--source` the scans are phantoms whose CT
compresses about as well as a real one, stored three ways: as most VerSe masks are (uint8), with label 28, which makes
the mask be rewritten, and as float64. Ours also checks labels, islands and completeness and measures centroids.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.timing import alternate, median_ratio
from nnunet_spine.anatomy import lookup_table
from nnunet_spine.dataset_conversion.convert import build, plan_conversion
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.dataset_conversion.verse import CONVERTER, find_scans
from nnunet_spine.jobs import Run
from nnunet_spine.phantom import PhantomOptions, draw_phantom

SPACING_MM = (0.8, 0.8, 1.0)
PIR_FROM_RAS = nib.orientations.ornt_transform(
    nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("PIR")
)


def convert_usual(source: Path, folder: Path) -> None:
    """Load, reorient to RAS, map the labels, compress: the script that each project writes anew.

    nibabel compresses at gzip level 1, the fastest; others use 6 or 9 and are slower.
    """
    table = lookup_table("verse", "nnunet").astype(np.uint8)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for scan in find_scans([source]).scans:
        image = nib.as_closest_canonical(nib.load(scan.image.path))
        nib.save(image, folder / "imagesTr" / f"{scan.case}_0000.nii.gz")
        mask = nib.as_closest_canonical(nib.load(scan.mask.path))
        labels = table[np.rint(np.asarray(mask.dataobj)).astype(np.uint8)]
        nib.save(nib.Nifti1Image(labels, mask.affine), folder / "labelsTr" / f"{scan.case}.nii.gz")


def convert_ours(source: Path, raw: Path) -> None:
    """The whole command but its start, with one worker."""
    plan = plan_conversion(CONVERTER, [source], Target(raw, 710, "VerSe"))
    build(plan, Run(say=lambda line: None))


def write_phantoms(root: Path, shape: tuple[int, int, int], n: int) -> dict[str, Path]:
    """Phantoms, stored as three VerSe trees."""
    trees = {"uint8 mask": np.uint8, "uint8 mask with T13": np.uint8, "float64 mask": np.float64}
    for seed in range(n):
        phantom = draw_phantom(seed, PhantomOptions(shape=shape, spacing_mm=SPACING_MM))
        image, mask = (
            nib.Nifti1Image(array, phantom.affine).as_reoriented(PIR_FROM_RAS)
            for array in (phantom.image, np.where(phantom.mask == 28, 0, phantom.mask))
        )
        for name, dtype in trees.items():
            labels = np.asarray(mask.dataobj).astype(dtype)
            if "T13" in name:
                labels[labels == 21] = 28
            stem = f"{root}/{name}/training/{{}}/sub-{seed}/sub-{seed}_{{}}.nii.gz"
            paths = [Path(stem.format(*names)) for names in (("rawdata", "ct"), ("derivatives", "seg-vert_msk"))]
            for path in paths:
                path.parent.mkdir(parents=True)
            nib.save(image, paths[0])
            nib.save(nib.Nifti1Image(labels, image.affine), paths[1])
    return {name: root / name for name in trees}


def compare(name: str, source: Path, work: Path, rounds: int) -> None:
    """Print medians and ratios for one source."""
    n = len(find_scans([source]).scans)

    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=work))

    ways = {
        "usual": lambda: convert_usual(source, fresh()),
        "ours": lambda: convert_ours(source, fresh()),
    }
    seconds = alternate(ways, rounds=rounds)
    medians = ", ".join(f"{way} {statistics.median(values) / n:.2f} s" for way, values in seconds.items())
    ratios = ", ".join(f"{way} {median_ratio(seconds['usual'], seconds[way]):.1f}x" for way in list(ways)[1:])
    print(f"{name}: per scan {medians}; usual to {ratios} ({n} scans, {rounds} rounds)", flush=True)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 400, 320))
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source", type=Path, help="a VerSe folder instead of the phantom")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = {str(args.source): args.source}
        if args.source is None:
            sources = write_phantoms(work / "src", tuple(args.shape), args.scans)
        for name, source in sources.items():
            compare(name, source, work, args.rounds)


if __name__ == "__main__":
    main()
