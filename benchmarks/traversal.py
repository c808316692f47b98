"""Walks from vertebra to vertebra on phantoms, led by an oracle in place of the network: what the walk itself can lose.

    python -m benchmarks.traversal -n 200 [--errors]

Phantoms of 3 mm: whole spines and parts, in any of the 48 orientations, with cut vertebrae, T11, T13, L4, L6 and
fractures. The oracle answers with the next vertebra of a patch of 128 mm exactly. "In order" counts scans whose
vertebrae all have the number that they should have. With `--errors` further rows have oracles that err.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nnunet_spine.anatomy import BY_NAME, BY_VERSE_ID
from nnunet_spine.geometry import reorient
from nnunet_spine.phantom.draw import draw_phantom
from nnunet_spine.phantom.options import PhantomOptions
from nnunet_spine.traversal import Rules, Scan, doubts, spine_parts, walk_spine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from walked_spines import Jumping, Oracle, Restless

VOXEL_MM = 3.0
PATCH = (43, 43, 43)
ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*axes)
]
ORACLES = {
    "perfect": Oracle,
    "misses one": lambda upwards: Oracle(upwards, blind=(3,)),
    "returns 60 %": lambda upwards: Oracle(upwards, partial=0.6),
    "merges two": lambda upwards: Oracle(upwards, merged=(3,)),
    "never rests": Restless,
    "jumps": Jumping,
}


def cases(number: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ranks from the head, regions and affine."""
    rng = np.random.default_rng(0)
    order = {level.verse_id: i for i, level in enumerate(BY_NAME.values())}
    for seed in range(number):
        options = PhantomOptions(
            shape=None,
            levels_in_view=None if seed % 3 == 0 else (3, 14),
            spacing_mm=(VOXEL_MM,) * 3,
            variant_probability=0.3,
            scoliosis_probability=0.5,
            keep_partial=seed % 2 == 1,
        )
        phantom = draw_phantom(5000 + seed, options)
        present = sorted(set(np.unique(phantom.mask).tolist()) - {0}, key=order.__getitem__)
        ranks, regions = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
        for rank, value in enumerate(present, start=1):
            ranks[value], regions[value] = rank, BY_VERSE_ID[value].region_id
        codes = ORIENTATIONS[int(rng.integers(48))]
        turned, affine = reorient(phantom.mask, phantom.affine, codes)
        yield ranks[turned], regions[turned], affine


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="phantoms")
    parser.add_argument("--errors", action="store_true", help="also oracles that err")
    arguments = parser.parse_args()
    drawn = list(cases(arguments.n))
    print(
        "| oracle | walk | vertebrae | found once | in order | mean Dice | doubts | stopped | passes per vertebra | "
        "ms per vertebra |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    ways = [(mode, up, line) for mode in ("jump", "reference") for up in (False, True) for line in (True, False)]
    for name, (mode, upwards, line) in itertools.product(ORACLES if arguments.errors else ["perfect"], ways):
        if name != "perfect" and (upwards or not line):
            continue
        print(row(name, mode, upwards, line, drawn), flush=True)


def row(name: str, mode: str, upwards: bool, line: bool, drawn: list) -> str:
    """One line of the table."""
    vertebrae = found = passes = in_order = doubted = stopped = 0
    dice, seconds = [], 0.0
    for ranks, regions, affine in drawn:
        start = time.perf_counter()
        parts = spine_parts(regions, affine) if line else None
        oracle = ORACLES[name](upwards)
        walk = walk_spine(Scan(ranks[None].astype(np.float32), affine, parts), oracle, PATCH, Rules(mode, upwards))
        seconds += time.perf_counter() - start
        both = np.bincount(walk.labels.ravel().astype(int) * 256 + ranks.ravel(), minlength=256 * 256).reshape(256, 256)
        n, m = int(ranks.max()), len(walk.instances)
        scores = 2 * both[1:, 1:] / np.maximum(both.sum(1)[1:, None] + both.sum(0)[None, 1:], 1)
        matched = scores[:, :n] > 2 / 3  # an IoU above one half
        vertebrae, found = vertebrae + n, found + int((matched.sum(0) == 1).sum())
        in_order += m == n and bool(matched[np.arange(n), np.arange(n)].all())
        dice += scores[:, :n].max(0).tolist()
        passes, stopped = passes + walk.passes, stopped + bool(walk.stopped)
        doubted += len([d for d in doubts(walk) if d.kind != "incomplete"])
    way = f"{mode}, {'upwards' if upwards else 'downwards'}, {'line of the first stage' if line else 'no line'}"
    return (
        f"| {name} | {way} | {vertebrae} | {found} | {in_order} of {len(drawn)} | {np.mean(dice):.4f} | {doubted} | "
        f"{stopped} | {passes / vertebrae:.2f} | {1000 * seconds / vertebrae:.0f} |"
    )


if __name__ == "__main__":
    main()
