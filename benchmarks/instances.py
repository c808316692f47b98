"""Bones from label maps whose names or outlines are wrong: panoptic quality and Dice per bone, names not asked for.

python -m benchmarks.instances -n 16
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from nnunet_spine.instances import compare_instances, find_bones
from nnunet_spine.io.label_ids import VERSE
from nnunet_spine.phantom.draw import draw_phantom
from nnunet_spine.phantom.options import PhantomOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from corrupted_masks import CORRUPTIONS

SPACINGS_MM = ((2.0, 2.0, 2.0), (1.5, 1.5, 1.5), (1.0, 1.0, 3.0), (3.0, 1.0, 1.0))


def right(mask: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as it was drawn."""
    return mask


def binary(mask: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One label for the whole spine."""
    return (mask > 0).astype(np.uint8)


def phantoms(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks of nnU-Net ids with their affines: whole spines and parts, four spacings, all orientations."""
    out = []
    for seed in range(number):
        options = PhantomOptions(
            shape=None if seed % 2 else (128, 128, 256),
            levels_in_view=(5, 12) if seed % 4 == 3 else None,
            spacing_mm=SPACINGS_MM[seed % 4],
            random_orientation=seed % 3 == 0,
            keep_partial=seed % 4 == 1,
            scoliosis_probability=0.5,
        )
        drawn = draw_phantom(1000 + seed, options)
        mask = drawn.mask.copy()
        VERSE.to_ids(mask)
        out.append((mask, drawn.affine))
    return out


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=16, help="phantoms")
    cases = phantoms(parser.parse_args().n)
    print(
        "| mask | matched / missed / surplus | panoptic quality | Dice per bone | s per mask |\n|---|---|---|---|---|"
    )
    for corruption in (right, binary, *CORRUPTIONS):
        matched = missed = surplus = 0
        panoptic, dice, seconds = [], [], 0.0
        for seed, (mask, affine) in enumerate(cases):
            wrong = corruption(mask, affine, np.random.default_rng(seed))
            start = time.perf_counter()
            found = find_bones(wrong, affine).instances
            seconds += time.perf_counter() - start
            truth = np.where(wrong > 0, mask, 0)
            quality = compare_instances(np.where(truth > 0, found, 0), truth)
            matched, missed, surplus = matched + quality.matched, missed + quality.missed, surplus + quality.surplus
            panoptic.append(quality.panoptic)
            dice += quality.dice
        print(
            f"| {corruption.__doc__.splitlines()[0].rstrip('.').lower()} | {matched} / {missed} / {surplus} | "
            f"{np.mean(panoptic):.3f} | {np.mean(dice):.3f} | {seconds / len(cases):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
