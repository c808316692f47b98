"""Killed at any moment and run again, the dataset is the same; a finished one is never touched."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from verse_tree import AFFINE_RAS, digests, run_convert, save, spine_ct, spine_mask, subject

from nnunet_spine.dataset_conversion import writer
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import Workplace

# Dies just before the n-th change of the file system, for every n (or every few) until a run gets through.
KILLER = """
import os, sys
sys.path[:0] = [{repo!r}, {tests!r}]
from pathlib import Path
from verse_tree import digests, run_convert
argv, root = {argv!r}, Path({root!r})
CHANGES = {{"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "open"}}

def child(action):
    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def dying(raw, n):
    left = n
    def hook(event, arguments):
        nonlocal left
        if event in CHANGES and arguments and isinstance(arguments[0], (str, os.PathLike)):
            if str(arguments[0]).startswith(str(raw)):
                left -= 1
                if left == 0:
                    os._exit(9)
    sys.addaudithook(hook)
    run_convert(*argv, "-o", raw)

expected, n = None, 0
while True:
    raw = root / f"raw{{n}}"
    code = child(lambda: dying(raw, n)) if n else 0
    half = [p.name for p in raw.glob("Dataset*")] if raw.exists() else []
    after_kill = digests(raw / half[0]) if half else None
    assert child(lambda: run_convert(*argv, "-o", raw)) == 0, n
    assert [p.name for p in raw.iterdir()] == [{dataset!r}], (n, list(raw.iterdir()))
    found = digests(raw)
    expected = expected or found
    assert found == expected, (n, set(found.items()) ^ set(expected.items()))
    if after_kill is not None:  # visible means finished
        assert after_kill == digests(raw / half[0]), n
    if n and code == 0:
        break
    n += {step}
print(n)
"""


def sweep(tmp_path, argv, dataset, step):
    """Number of moments at which the run could be killed."""
    tests = Path(__file__).parent
    text = KILLER.format(
        repo=str(tests.parent),
        tests=str(tests),
        argv=[str(a) for a in argv],
        root=str(tmp_path),
        dataset=dataset,
        step=step,
    )
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, encoding="utf-8", timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    return int(result.stdout.split()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_killed_at_every_moment_and_run_again(tmp_path, step):
    subject(tmp_path / "v" / "training", "a", labels=(28, 20), dtype=np.float64)
    subject(tmp_path / "v" / "validation", "b", codes="PIR")
    moments = sweep(tmp_path, ["verse", tmp_path / "v", "-d", "710"], "Dataset710_VerSe", step)
    assert moments > 40  # two cases of three files and a record, four files of the dataset, each in several steps


def test_second_run_changes_nothing(tmp_path, capsys):
    subject(tmp_path / "v" / "training", "a")
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    run_convert(*argv)
    before = digests(tmp_path, times=True)
    capsys.readouterr()
    run_convert(*argv)
    assert digests(tmp_path, times=True) == before
    assert "complete, nothing to do" in capsys.readouterr().out


def test_second_run_of_a_derived_dataset_changes_nothing(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    argv = ("verse", "-d", "711", "-o", tmp_path / "raw", "--labels", "spine", "--images-from", "710")
    run_convert(*argv)
    before = digests(tmp_path, times=True)
    run_convert(*argv)
    assert digests(tmp_path, times=True) == before


def test_moved_sources_are_the_same_sources(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    (tmp_path / "v").rename(tmp_path / "w")
    run_convert("verse", tmp_path / "w", "-d", "710", "-o", tmp_path / "raw")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--min-volume", "50"], "min_volume_mm3"),
        (["--folds", "2"], "folds"),
        (["--labels", "spine"], "label_set"),
        (["--corrections", "veridah"], "corrections"),
    ],
)
def test_other_choices_do_not_overwrite_a_finished_dataset(tmp_path, change, word):
    for name in "ab":
        subject(tmp_path / "v" / "training", name)
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "--name", "VerSe")
    run_convert(*argv)
    before = digests(tmp_path, times=True)
    with pytest.raises(InputError, match=f"exists and differs in: .*{word}"):
        run_convert(*argv, *change)
    assert digests(tmp_path, times=True) == before


def test_other_sources_do_not_overwrite_a_finished_dataset(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    run_convert(*argv)
    subject(tmp_path / "v" / "training", "b")
    with pytest.raises(InputError, match="source_files"):
        run_convert(*argv)


def test_a_dataset_of_an_earlier_version_is_recognised(tmp_path, capsys):
    """Receipts of format 2 knew fewer choices, and sources by name and size only; they must stay what they are."""
    image, mask = subject(tmp_path / "v" / "training", "a")
    centroids = mask.with_name("sub-a_seg-subreg_ctd.json")
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    regions = ("verse", "-d", "711", "-o", tmp_path / "raw", "--labels", "regions", "--images-from", "710")
    crops = ("vertebra-crops", "-d", "710", "-t", "720", "-o", tmp_path / "raw")
    for command in (argv, regions, crops):
        run_convert(*command)
    sizes = " ".join(f"{path.name}:{path.stat().st_size}" for path in (image, mask, centroids))
    lines = [f"a a training {sizes}"]
    old = {
        "converter": "verse", "format": 2, "label_set": "vertebrae", "min_volume_mm3": 100.0, "remove_islands": False,
        "drop_labels": [], "resample": False, "folds": "official", "corrections": "",
        "source_files": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
    }  # fmt: skip
    shape = [96, 112, 64]
    of_crops = {
        "levels": ["L2", "L3", "L4", "L5"],
        "crop_shape": shape,
        "crops_from": "Dataset710_VerSe",
        "source": old,
    }
    identities = {
        "Dataset710_VerSe": old,
        "Dataset711_VerSeRegions": {
            "label_set": "regions", "format": 2, "images_from": "Dataset710_VerSe", "source": old,
        },
        "Dataset720_VertebraCrops": {"label_set": "vertebra", "format": 2, **of_crops},
    }  # fmt: skip
    for name, identity in identities.items():
        path = tmp_path / "raw" / name / "conversion.json"
        receipt = json.loads(path.read_text(encoding="utf-8"))
        receipt = {key: receipt[key] for key in ("sources", "left_out", "files")}
        path.write_text(
            json.dumps({"program": "nnunet-spine 0.1.0", "identity": identity, **receipt}), encoding="utf-8"
        )
    before = digests(tmp_path, times=True)
    capsys.readouterr()
    for command in (argv, regions, crops):
        run_convert(*command)
        assert "is complete, nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="differs in: folds"):
        run_convert(*argv, "--folds", "2")
    with pytest.raises(InputError, match="differs in: min_unlisted_mm3"):
        run_convert(*argv, "--min-unlisted", "5")
    subject(tmp_path / "v" / "training", "b")
    with pytest.raises(InputError, match="differs in: source_files"):
        run_convert(*argv)
    after = {name: value for name, value in digests(tmp_path, times=True).items() if name.startswith("raw")}
    assert after == {name: value for name, value in before.items() if name.startswith("raw")}


def test_damaged_finished_dataset_is_reported(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    run_convert(*argv)
    (tmp_path / "raw" / "Dataset710_VerSe" / "labelsTr" / "a.nii.gz").unlink()
    with pytest.raises(InputError, match=r"1 files of the finished dataset are missing, e.g. labelsTr/a.nii.gz"):
        run_convert(*argv)


def test_interrupted_work_is_taken_up_unless_the_source_changed(tmp_path, monkeypatch):
    root = tmp_path / "v" / "training"
    for name in "abc":
        subject(root, name)
    prepared = []
    attempt = writer._attempt

    def stops_at_c(folder, job):
        if job.case == "c" and len(prepared) < 3:
            raise KeyboardInterrupt
        prepared.append(job.case)
        return attempt(folder, job)

    monkeypatch.setattr(writer, "_attempt", stops_at_c)
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    with pytest.raises(KeyboardInterrupt):
        run_convert(*argv)
    assert not (tmp_path / "raw" / "Dataset710_VerSe").exists()
    mask = spine_mask((8, 9))
    save(root / "rawdata" / "sub-b" / "sub-b_ct.nii.gz", spine_ct(mask, 7))
    save(root / "derivatives" / "sub-b" / "sub-b_seg-vert_msk.nii.gz", mask)
    prepared[:] = ["", "", ""]
    run_convert(*argv)
    assert prepared[3:] == ["b", "c"]
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "fresh")
    assert digests(tmp_path / "raw") == digests(tmp_path / "fresh")


def test_two_runs_do_not_mix(tmp_path):
    pytest.importorskip("fcntl")
    subject(tmp_path / "v" / "training", "a")
    busy = Workplace(tmp_path / "raw" / ".partial-Dataset710_VerSe", "other choices")
    with busy.entered(), pytest.raises(InputError, match="another run with other options or sources is at work"):
        run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")


def test_receipt_lists_exactly_the_files(tmp_path):
    subject(tmp_path / "v" / "training", "a")
    subject(tmp_path / "v" / "validation", "b", affine=AFFINE_RAS)
    run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    dataset = tmp_path / "raw" / "Dataset710_VerSe"
    listed = json.loads((dataset / "conversion.json").read_text(encoding="utf-8"))["files"]
    assert listed == sorted(p.relative_to(dataset).as_posix() for p in dataset.rglob("*") if p.is_file())


def test_verify_reads_sources_that_no_time_stamp_gives_away(tmp_path, monkeypatch):
    import verse_tree as tree

    from nnunet_spine.jobs import contents

    tree.subject(tmp_path / "v" / "training", "a")
    argv = ("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw")
    tree.run_convert(*argv)
    read = []
    real = contents.contents_of
    monkeypatch.setattr(contents, "contents_of", lambda path: read.append(path) or real(path))
    monkeypatch.setattr(contents, "_CLOCK_NS", -(10**15))  # as long after the conversion
    tree.run_convert(*argv)
    assert not read
    tree.run_convert(*argv, "--verify")
    assert len(read) >= 2
