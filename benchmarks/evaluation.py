"""Seconds and memory to score one large scan with all its vertebrae, against the field's tools.

    python -m benchmarks.evaluation [--shape 512 512 600] [--labels 26] [--rounds 5] [--peer-python PYTHON]

One pair of label maps at 0.8 mm, phantom vertebrae at true size; the prediction is bent, one voxel too low, and every
third vertebra eroded. In turn within one run, each way in a fresh process, timed after a run to warm up, without start
and reading. CPU seconds are less disturbed by a busy machine:

- ours: `score_case`, that is boxes, volumes, Dice, IoU, ASSD, HD, HD95, NSD, centres, both identification rules
- panoptica: Dice, IoU, ASSD, HD, HD95, NSD, distance of centres, labels matched by name
- surface-distance: Dice, ASD, HD, HD95, NSD on crops that were cut beforehand
- VerSe: Dice alone, with masks of the whole volume

panoptica pins other versions of numpy and cc3d: give it an environment of its own and name its Python.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.evaluation_data import predicted_map, reference_map
from benchmarks.timing import median_ratio

WORKER = Path(__file__).with_name("evaluation_worker.py")
MODULES = {"panoptica": "panoptica", "surface-distance": "surface_distance"}


def run_way(python: str, way: str, folder: Path) -> dict:
    """One run in a fresh process: seconds, cpu_seconds, peak_gb, values."""
    process = subprocess.run([python, WORKER, way, folder], capture_output=True, encoding="utf-8")
    if process.returncode:
        raise SystemExit(f"{way} failed:\n{process.stderr}")
    return json.loads(process.stdout)


def interpreters(peer_python: str | None) -> dict[str, str]:
    """Way -> Python that can run it; says which peers are left out."""
    found = {"ours": sys.executable, "VerSe": sys.executable}
    for way, module in MODULES.items():
        for python in filter(None, (peer_python, sys.executable)):
            if not subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
                found[way] = python
                break
        else:
            print(f"{way} left out: {module} cannot be imported (pip install {way}; --peer-python)", flush=True)
    return found


def agreement(ours: dict[str, list[float]], other: dict[str, list[float]]) -> str:
    """Largest difference over the labels, per value that both have."""
    shared = [name for name in ours if name in other]
    return ", ".join(f"{name} {np.abs(np.subtract(ours[name], other[name])).max():.2g}" for name in shared)


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 600))
    parser.add_argument("--labels", type=int, default=26)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="interpreter in which panoptica is installed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, ways = Path(name), interpreters(args.peer_python)
        reference = reference_map(tuple(args.shape), args.labels)
        np.save(folder / "reference.npy", reference)
        np.save(folder / "prediction.npy", predicted_map(reference))
        n_labels, gb = len(np.unique(reference)) - 1, 2 * reference.nbytes / 1e9
        print(f"{n_labels} labels, shape {reference.shape}, both maps together {gb:.2f} GB, {args.rounds} rounds")
        runs: dict[str, list[dict]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way, python in ways.items():
                runs[way].append(run_way(python, way, folder))
    print("| way | median s | times ours | median CPU s | times ours | peak GB | largest difference from ours |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for way, results in runs.items():
        cells = []
        for clock in ("seconds", "cpu_seconds"):
            theirs, ours = ([r[clock] for r in runs[w]] for w in (way, "ours"))
            cells += [f"{statistics.median(theirs):.2f}", f"{median_ratio(theirs, ours):.1f}"]
        differs = "" if way == "ours" else agreement(runs["ours"][0]["values"], results[0]["values"])
        print("|", " | ".join([way, *cells, f"{max(r['peak_gb'] for r in results):.2f}", differs]), "|")


if __name__ == "__main__":
    main()
