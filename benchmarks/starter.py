"""A model that was trained on phantoms alone, judged on scans that it never saw: real ones, and held-out phantoms.

export NNUNET_SPINE_TEST_DATA=DIR        # holds ct/, see tests
python -m benchmarks.starter -m MODEL -o OUT [--phantoms 8] [--checkpoint checkpoint_latest.pth]

Real scans judge, they choose nothing: choose checkpoints and settings by the phantoms (`--only phantoms`).
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from nnunet_spine import cli, geometry
from nnunet_spine.instances import compare_instances
from nnunet_spine.io.label_ids import TOTALSEGMENTATOR, VERSE, LabelTable
from nnunet_spine.io.masks import read_mask
from nnunet_spine.phantom import TreeOptions, write_tree
from nnunet_spine.scores.compare import score_case

AWAY_MM = 15.0
"""Predicted voxels farther than this from every voxel of the reference lie away from the spine."""

_VIEWS = {"usual": 778, "wide": 777}
"""Looks of held-out phantoms with their seeds; their spacings and seeds occur in no training."""


@dataclass(frozen=True)
class Scan:
    """A scan to judge with.

    Attributes:
        name: for the table.
        image: file.
        reference: mask, or None.
        table: what the reference's values mean.
    """

    name: str
    image: Path
    reference: Path | None
    table: LabelTable = VERSE


def real_scans() -> list[Scan]:
    """Those of the test data; none, with a word about it, where the folder is not known."""
    folder = os.environ.get("NNUNET_SPINE_TEST_DATA")
    if not folder:
        print("NNUNET_SPINE_TEST_DATA is not set: no real scans", file=sys.stderr)
        return []
    ct = Path(folder) / "ct"
    return [
        Scan("sub-tptbox", ct / "sub-tptbox_ct.nii.gz", ct / "sub-tptbox_seg-vert_msk.nii.gz"),
        Scan("torso_sm", ct / "torso_sm_ct.nii.gz", ct / "torso_sm_seg.nii.gz", TOTALSEGMENTATOR),
        Scan("torso", ct / "torso_ct.nii.gz", None),
    ]


def phantoms(folder: Path, number: int) -> list[Scan]:
    """So many held-out phantoms of each look."""
    scans = []
    for domain, seed in _VIEWS.items():
        options = TreeOptions(seed=seed, spacing_mm=(1.2, 3.0), split=(0, 0, 1), domain=domain)
        for case in write_tree(folder / domain, number, options).cases:
            image, mask, _ = case.files(folder / domain)
            scans.append(Scan(f"{domain} {case.case.removeprefix('sub-')}", image, mask))
    return scans


def row(scan: Scan, predicted: Path) -> str:
    """Line of the table for one scan and its label map in VerSe ids."""
    prediction = read_mask(predicted)
    VERSE.to_ids(prediction.labels)
    if scan.reference is None:
        return f"| {scan.name} | - | - | {len(np.unique(prediction.labels)) - 1} bones | - | - |"
    reference = read_mask(scan.reference)
    scan.table.to_ids(reference.labels)
    truth, found = reference.labels > 0, prediction.labels > 0
    dice = 2 * (truth & found).sum() / max(truth.sum() + found.sum(), 1)
    distance = distance_transform_edt(~truth, geometry.spacing_mm(reference.affine))
    away = (distance[found] > AWAY_MM).mean() if found.any() else 0.0
    bones = compare_instances(prediction.labels, reference.labels)
    score = score_case(prediction.labels, reference.labels, reference.affine, case=scan.name)
    shift = "" if score.shift is None or score.all_labels_correct else f", shifted by {score.shift:+d}"
    return (
        f"| {scan.name} | {dice:.3f} | {away:.1%} | {bones.matched} of {bones.matched + bones.missed}, "
        f"{bones.surplus} surplus | {score.n_identified} of {score.n_reference}{shift} | {np.mean(bones.dice):.3f} |"
    )


def main() -> None:
    """Predict with the package's own command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="folder or packaged model; unset: the one of the package")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=8, metavar="N", help="of each look")
    parser.add_argument("--checkpoint", help="of a model folder")
    parser.add_argument("--only", choices=("real", "phantoms"))
    args = parser.parse_args()
    scans = [] if args.only == "phantoms" else real_scans()
    scans += [] if args.only == "real" else phantoms(args.output / "phantoms", args.phantoms)
    model = [*(["-m", args.model] if args.model else []), *(["-chk", args.checkpoint] if args.checkpoint else [])]
    print("| scan | binary Dice | away | bones | named | Dice per bone |\n|---|---|---|---|---|---|", flush=True)
    for scan in scans:
        out = args.output / scan.name.replace(" ", "_")
        code = cli.main(["predict", "-i", str(scan.image), "-o", str(out), *model, "--quiet", "--continue"])
        maps = sorted(out.glob("*.nii.gz"))
        print(row(scan, maps[0]) if code == 0 and maps else f"| {scan.name} | failed | | | | |", flush=True)


if __name__ == "__main__":
    main()
