"""Weight map of gaps between vertebrae: distances around each label, as in the data loader, against shifted patches.

    python -m benchmarks.separation [--size 128] [--rounds 3] [--device cuda]

The second way needs no labels on the CPU and could run on a GPU: along each axis in turn, a voxel keeps the two nearest
distinct labels among those of its neighbours within reach. Both are exact and are compared before they are timed.
"""

import argparse
import statistics

import numpy as np
import torch

from benchmarks.timing import alternate
from nnunet_spine.phantom import PLAIN, PhantomOptions, draw_phantom
from nnunet_spine.training.separation import SIGMA, separation_map

FAR = 2**30


def shifted(labels: torch.Tensor, sigma: float = SIGMA) -> torch.Tensor:
    """`separation_map` of (x, y, z) by comparisons of shifted views; an entry is 256 d² + label."""
    nearest = torch.where(labels > 0, labels.int(), FAR)
    second = torch.full_like(nearest, FAR)
    for axis, n in enumerate(labels.shape):
        from_nearest, from_second = nearest, second
        nearest, second = nearest.clone(), second.clone()
        for step in range(1, min(int(4 * sigma), n - 1) + 1):
            for here, there in ((0, step), (step, 0)):
                a, b = nearest.narrow(axis, here, n - step), second.narrow(axis, here, n - step)
                c, d = (source.narrow(axis, there, n - step) + 256 * step**2 for source in (from_nearest, from_second))
                best = torch.minimum(a, c)
                others = [torch.where((other ^ best) & 255 == 0, FAR, other) for other in (torch.maximum(a, c), b, d)]
                b.copy_(torch.minimum(torch.minimum(others[0], others[1]), others[2]))
                a.copy_(best)
    distance = (nearest >> 8).float().sqrt() + (second >> 8).float().sqrt()
    return torch.exp(-(distance**2) / (2 * sigma**2))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis, of 2 mm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", type=torch.device)
    arguments = parser.parse_args()
    scan = draw_phantom(0, PhantomOptions(**PLAIN, spacing_mm=(2.0,) * 3))
    padding = [(0, max(0, arguments.size - n)) for n in scan.mask.shape]
    labels = np.pad(scan.mask, padding)[tuple([slice(arguments.size)] * 3)].astype(np.uint8)
    on_device = torch.from_numpy(labels).to(arguments.device)
    difference = np.abs(separation_map(labels) - shifted(on_device).cpu().numpy()).max()
    runs = {
        "distances around each label": lambda: separation_map(labels),
        "shifted patches": lambda: shifted(on_device),
    }
    wait = torch.cuda.synchronize if arguments.device.type == "cuda" else None
    print(f"{arguments.size}^3, {len(np.unique(labels)) - 1} labels, largest difference {difference:.1e}")
    for name, seconds in alternate(runs, rounds=arguments.rounds, synchronise=wait).items():
        print(f"{name:30} {1000 * statistics.median(seconds):8.0f} ms")


if __name__ == "__main__":
    main()
