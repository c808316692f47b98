"""`nnunet-spine predict` under stress: killed again and again, and for hundreds of scans in a row.

    python -m benchmarks.endurance kills -m MODEL [--cases 30] [--kills 50]
    python -m benchmarks.endurance soak  -m MODEL [--cases 500]

`kills` sends SIGKILL at random moments and goes on with `--continue`. After every kill each file that is visible has to
be that of an undisturbed run, and in the end all of them; times in reports aside. `soak` watches memory, open files,
threads and processes of one run. Both draw small phantoms unless `-i` names scans. Exit code 1 when something differs
or grows.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.cli import main as command

GROWTH = 1.03
"""Largest memory of the last quarter of a run, as a share of that of the second one."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "soak"))
    parser.add_argument("-m", "--model", help="unset: the model that comes with the package")
    parser.add_argument("-i", "--input", type=Path, help="scans, each used under several names; unset: phantoms")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        root = Path(folder)
        scans = args.input or draw(root / "phantoms", args.seed)
        named = many(scans, root / "scans", args.cases)
        arguments = ["predict", "-i", str(named), "-device", "cpu", "--quiet"]
        arguments += ["-m", args.model] if args.model else []
        if args.what == "kills":
            return kills(arguments, root, args.kills, random.Random(args.seed))
        return soak(arguments, root, args.cases)


def draw(folder: Path, seed: int) -> Path:
    """A few phantoms as plain scans."""
    if command(["phantom", "-o", str(folder), "-n", "5", "--spacing", "3", "--seed", str(seed), "--quiet"]):
        raise SystemExit("no phantoms")
    return folder


def many(place: Path, folder: Path, cases: int) -> Path:
    """Links to the scans of a place under as many names as wanted."""
    scans = sorted(p for p in place.rglob("*.nii.gz") if "_seg" not in p.name and "_msk" not in p.name)
    folder.mkdir()
    for number in range(cases):
        (folder / f"case{number:04d}_0000.nii.gz").symlink_to(scans[number % len(scans)].resolve())
    return folder


def results(out: Path) -> dict[str, str]:
    """File -> digest of what it holds, times and what only serves to go on aside."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name.startswith("cases/") or path.name.startswith(".partial-"):
            continue
        content = path.read_bytes()
        if name.startswith("reports/"):
            report = json.loads(content)
            del report["seconds"]
            content = json.dumps(report).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def forked(arguments: Sequence[str]) -> int:
    """Start the command in a process that has imported everything already; returns its number."""
    pid = os.fork()
    if pid == 0:
        os._exit(command(list(arguments)))
    return pid


def ended(pid: int, after_s: float | None = None) -> int | None:
    """Exit code of a process; None if it had to be killed after some time."""
    until = None if after_s is None else time.monotonic() + after_s
    while until is None or time.monotonic() < until:
        gone, status = os.waitpid(pid, 0 if until is None else os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def kills(arguments: list[str], root: Path, number: int, rng: random.Random) -> int:
    """Kill until it has happened often enough; each round ends with a run that gets through."""
    for name in ("evaluation", "inference.predict_case", "inference.single_stage", "pictures"):
        importlib.import_module(f"nnunet_spine.{name}")  # what the command imports, before the first fork
    start = time.monotonic()
    if code := ended(forked([*arguments, "-o", str(root / "undisturbed")])):
        raise SystemExit(f"the undisturbed run failed with exit code {code}")
    whole_s, wanted = time.monotonic() - start, results(root / "undisturbed")
    killed = rounds = between = 0
    while killed < number:
        out, rounds = root / f"round{rounds}", rounds + 1
        while killed < number:
            done = ended(forked([*arguments, "-o", str(out), "--continue"]), rng.uniform(0, whole_s / 4))
            if done is not None:
                break
            killed += 1
            seen = results(out)
            between += any(name.startswith("reports/") for name in seen)
            seen.pop("predict.csv", None)  # lists what is done so far
            if wrong := [name for name, digest in seen.items() if wanted.get(name) != digest]:
                print(f"after kill {killed}: {wrong[:5]} differ")
                return 1
        code = ended(forked([*arguments, "-o", str(out), "--continue"]))
        seen = results(out)
        if code or seen != wanted:
            wrong = sorted(name for name in seen.keys() | wanted.keys() if seen.get(name) != wanted.get(name))
            print(f"round {rounds}: exit code {code}, {wrong[:5]} differ")
            return 1
        if left := list(out.rglob(".partial-*")):
            print(f"round {rounds}: {left[0]} is left over")
            return 1
        print(f"round {rounds}: {killed} kills so far, {len(seen)} files as undisturbed")
        shutil.rmtree(out)
    print(f"{killed} kills, {between} of them with finished cases there, {rounds} rounds: all files as undisturbed")
    return 0


def soak(arguments: list[str], root: Path, cases: int) -> int:
    """One long run, watched from outside."""
    out = root / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "nnunet_spine.cli", *arguments, "-o", str(out)], start_new_session=True
    )
    rows, place, start = [], Path(f"/proc/{process.pid}"), time.monotonic()
    while process.poll() is None:
        time.sleep(0.5)
        done = len(list((out / "cases").glob("*.json")))
        try:
            status = dict(line.split(":", 1) for line in (place / "status").read_text(encoding="utf-8").splitlines())
            files = len(list((place / "fd").iterdir()))
            row = (done, int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]))
        except (OSError, KeyError):
            continue
        if not rows or done > rows[-1][0]:
            rows.append(row)
    alive = [p for p in Path("/proc").glob("[0-9]*/stat") if _session(p) == process.pid]
    print("| cases done | memory MB | open files | threads |\n| --: | --: | --: | --: |")
    for row in rows[:: max(1, len(rows) // 20)]:
        print(f"| {row[0]} | {row[1]:.0f} | {row[2]} | {row[3]} |")
    quarters = [[r for r in rows if k * cases / 4 < r[0] <= (k + 1) * cases / 4] for k in range(4)]
    second, last = (
        [statistics.median(column) for column in zip(*quarters[k], strict=True)] for k in (1, 3)
    )  # fmt: skip
    seconds = time.monotonic() - start
    print(
        f"{len(list((out / 'reports').glob('*.json')))} of {cases} cases in {seconds:.0f} s, exit code "
        f"{process.returncode}, {len(alive)} processes left; second to last quarter: memory {second[1]:.0f} to "
        f"{last[1]:.0f} MB, open files {second[2]:g} to {last[2]:g}, threads {second[3]:g} to {last[3]:g}"
    )
    grew = last[1] > GROWTH * second[1] or last[2] > second[2] or last[3] > second[3]
    return int(bool(process.returncode or alive or grew))


def _session(stat: Path) -> int | None:
    try:
        state, _, _, session = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[:4]
    except OSError:
        return None
    return int(session) if state != "Z" else None


if __name__ == "__main__":
    sys.exit(main())
