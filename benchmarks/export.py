"""From logits to label maps: nnU-Net's own way beside ours, time and memory, each in a process of its own, in turn.

    python -m benchmarks.export [--rounds 3] [--slices 280] [--classes 26] [--threads 2]

The logits are those that a network at 1.5 mm would give for a CT of 512 x 512 pixels of 0.8 mm with slices of 1.25 mm:
noisy vertebrae that blur into each other. They lie in a file; both ways get them as the predictor hands them over, in
memory (`--mapped`: ours as a memory map). The peak is that of the whole process, Python, torch and logits included. The
label maps are compared voxel for voxel. `--noise` gives logits without any structure, the worst case for ours.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OUT_SPACING_MM, NETWORK_SPACING_MM = (1.25, 0.8, 0.8), (1.5, 1.5, 1.5)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=280)
    parser.add_argument("--size", type=int, default=512, help="pixels of a slice along both axes")
    parser.add_argument("--classes", type=int, default=26, help="with background; or regions with --regions")
    parser.add_argument("--regions", action="store_true", help="sigmoid heads, one less than classes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mapped", action="store_true", help="ours reads the logits from a memory map")
    parser.add_argument("--noise", action="store_true", help="logits without structure")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        shape = make_logits(Path(folder), arguments)
        ways = ["ours"] if arguments.ours_only else ["nnU-Net", "ours"]
        found: dict[str, list[dict]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way in ways:
                command = [sys.executable, "-m", "benchmarks.export", *sys.argv[1:], "--worker", way, folder]
                done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
        same = len({run["sha256"] for runs in found.values() for run in runs}) == 1
    out = f"{arguments.size} x {arguments.size} x {arguments.slices}"
    print(f"{arguments.classes} classes, {' x '.join(map(str, shape))} to {out}, {arguments.threads} threads\n")
    print("| way | seconds (range) | x nnU-Net | peak GB | labels |\n|---|---:|---:|---:|---|")
    base = statistics.median(run["seconds"] for run in found[ways[0]])
    for way, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        peak = statistics.median(run["peak_gb"] for run in runs)
        median = statistics.median(seconds)
        print(
            f"| {way} | {median:.1f} ({min(seconds):.1f}-{max(seconds):.1f}) | {median / base:.3f} | {peak:.2f} | "
            f"{'identical' if same else 'DIFFERENT'} |"
        )
    if not same:
        sys.exit(1)


def grids(arguments: argparse.Namespace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the logits and of the CT, cranio-caudal first."""
    out = (arguments.slices, arguments.size, arguments.size)
    ratio = zip(out, OUT_SPACING_MM, NETWORK_SPACING_MM, strict=True)
    return tuple(round(n * a / b) for n, a, b in ratio), out


def make_logits(folder: Path, arguments: argparse.Namespace) -> tuple[int, ...]:
    """Write logits.npy, float16; returns its shape without channels."""
    shape, _ = grids(arguments)
    rng = np.random.default_rng(0)
    channels = arguments.classes - arguments.regions
    logits = np.lib.format.open_memmap(folder / "logits.npy", "w+", np.float16, (channels, *shape))
    if arguments.noise:
        for channel in logits:
            channel[...] = rng.normal(0, 3, shape)
        return shape
    z, y, x = (np.arange(n, dtype=np.float32) for n in shape)
    first = 0 if arguments.regions else 1
    height = shape[0] / (channels - first)
    for number in range(channels):
        noise = rng.normal(0, 0.5, shape).astype(np.float32)
        if number < first:
            logits[number] = 4 + noise  # background
            continue
        middle = (number - first + 0.5) * height
        away = np.abs(z - middle)[:, None, None] / (0.6 * height)
        away = np.maximum(away, np.hypot((y - 0.6 * shape[1])[:, None], (x - 0.5 * shape[2])[None])[None] / 20)
        logits[number] = np.maximum(10 - 8 * away**2, -12) + noise
    logits.flush()
    return shape


def work(way: str, folder: str, arguments: argparse.Namespace) -> None:
    """One export; prints one line of JSON."""
    import hashlib

    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.inference.export import segmentation_of

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from tiny_models import tiny_plans

    torch.set_num_threads(arguments.threads)
    plans = PlansManager(tiny_plans(spacing=list(NETWORK_SPACING_MM)))
    names = range(1, arguments.classes)
    labels = {"background": 0, **{f"class {i}": [i, arguments.classes] if arguments.regions else i for i in names}}
    content = {"labels": labels, "regions_class_order": list(names) if arguments.regions else None}
    _, out = grids(arguments)
    properties = {
        "spacing": list(OUT_SPACING_MM),
        "shape_before_cropping": out,
        "shape_after_cropping_and_before_resampling": out,
        "bbox_used_for_cropping": [[0, n] for n in out],
    }
    mapped = way == "ours" and arguments.mapped
    logits = np.load(Path(folder) / "logits.npy", mmap_mode="r" if mapped else None)
    known = plans, plans.get_configuration("3d_fullres"), plans.get_label_manager(content), properties
    start = time.perf_counter()
    if way == "ours":
        found = segmentation_of(logits, *known, threads=arguments.threads)
    else:
        found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, *known, num_threads_torch=arguments.threads
        )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    digest = hashlib.sha256(np.ascontiguousarray(found)).hexdigest()
    print(json.dumps({"seconds": seconds, "peak_gb": peak, "sha256": digest}))


if __name__ == "__main__":
    main()
