"""A dataset is of its sources as they are now; several runs make it together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from verse_tree import digests, run_convert, save, subject

from nnunet_spine.dataset_conversion.convert import Manner, build, plan_conversion
from nnunet_spine.dataset_conversion.prepare import Job
from nnunet_spine.dataset_conversion.target import Target
from nnunet_spine.dataset_conversion.verse import CONVERTER
from nnunet_spine.errors import InputError, Unfinished
from nnunet_spine.io.nifti import read_nifti
from nnunet_spine.jobs import Processes, Run, Shard, Workplace


@pytest.fixture
def tree(tmp_path):
    """Three scans with uncompressed masks, whose size says nothing of what they hold."""
    root = tmp_path / "v" / "training"
    for name in "abc":
        subject(root, name)
        path = root / "derivatives" / f"sub-{name}" / f"sub-{name}_seg-vert_msk.nii.gz"
        labels, affine = read_nifti(path)
        path.unlink()
        save(path.with_name(f"sub-{name}_seg-vert_msk.nii"), labels, affine)
    return root


def convert(tmp_path, *options, raw="raw"):
    return run_convert("verse", tmp_path / "v", "-d", "710", "-o", tmp_path / raw, *options)


def mask_of(tree, name):
    return tree / "derivatives" / f"sub-{name}" / f"sub-{name}_seg-vert_msk.nii"


def correct(path, wrong, right, *, keep_time=False):
    times = path.stat()
    labels, affine = read_nifti(path)
    labels = np.array(labels)
    labels[labels == wrong] = right
    save(path, labels, affine)
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


# --- up to date


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_source_corrected_after_conversion_is_noticed(tmp_path, tree, keep_time):
    convert(tmp_path)
    before = digests(tmp_path / "raw", times=True)
    correct(mask_of(tree, "b"), 20, 19, keep_time=keep_time)
    with pytest.raises(InputError, match=r"made before these changed: mask of b \(.*sub-b_seg-vert_msk.nii\)"):
        convert(tmp_path)
    assert digests(tmp_path / "raw", times=True) == before


def test_sources_copied_or_touched_are_the_same_sources(tmp_path, tree, capsys):
    convert(tmp_path)
    for path in tree.rglob("*.nii*"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    capsys.readouterr()
    convert(tmp_path)
    assert "is complete, nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ("verse", "-d", "711", "--labels", "spine", "--images-from", "710"),
        ("vertebra-crops", "-d", "710", "-t", "720", "--levels", "L1", "L2", "L3"),
    ],
)
def test_labels_corrected_under_a_derived_dataset_are_noticed(tmp_path, tree, argv):
    convert(tmp_path)
    run_convert(*argv, "-o", tmp_path / "raw")
    run_convert(*argv, "-o", tmp_path / "raw")
    path = tmp_path / "raw" / "Dataset710_VerSe" / "labelsTr" / "a.nii.gz"
    labels, affine = read_nifti(path)
    save(path, np.where(labels == 20, 0, labels).astype(np.uint8), affine)
    with pytest.raises(InputError, match="made before these changed: label of a"):
        run_convert(*argv, "-o", tmp_path / "raw")


def test_a_bad_case_that_was_left_out_and_changed_is_noticed(tmp_path, tree):
    good = mask_of(tree, "b").read_bytes()
    mask_of(tree, "b").write_bytes(bytes(len(good)))
    convert(tmp_path, "--skip-bad")
    convert(tmp_path, "--skip-bad")
    mask_of(tree, "b").write_bytes(good)
    with pytest.raises(InputError, match="made before these changed: mask of b"):
        convert(tmp_path, "--skip-bad")


def test_a_dataset_whose_receipt_knows_no_contents_is_still_recognised(tmp_path, tree, capsys):
    convert(tmp_path)
    receipt = tmp_path / "raw" / "Dataset710_VerSe" / "conversion.json"
    content = json.loads(receipt.read_text(encoding="utf-8"))
    del content["contents"]
    receipt.write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    convert(tmp_path)
    assert "is complete, nothing to do" in capsys.readouterr().out


# --- several runs


def test_parts_make_the_same_dataset_and_the_last_one_publishes_it(tmp_path, tree, capsys):
    convert(tmp_path, raw="whole")
    capsys.readouterr()
    for part in (1, 0, 0):
        convert(tmp_path, "-num_parts", "3", "-part_id", str(part))
    assert "part 0 of 3: " in (out := capsys.readouterr().out)
    assert "waits for 1 case of other parts" in out
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [".partial-Dataset710_VerSe"]
    convert(tmp_path, "-num_parts", "3", "-part_id", "2")
    assert digests(tmp_path / "raw") == digests(tmp_path / "whole")
    convert(tmp_path, "-num_parts", "3", "-part_id", "1")
    assert "is complete, nothing to do" in capsys.readouterr().out


def test_a_bad_case_of_one_part_stops_the_dataset_unless_it_is_left_out(tmp_path, tree, capsys):
    mask_of(tree, "b").write_bytes(b"no NIfTI")
    with pytest.raises(InputError, match="1 case cannot be used"):
        convert(tmp_path, "-num_parts", "2", "-part_id", "1")
    with pytest.raises(InputError, match="1 of 3 cases cannot be used"):
        convert(tmp_path, "-num_parts", "2", "-part_id", "0")
    convert(tmp_path, "-num_parts", "2", "-part_id", "0", "--skip-bad")
    assert "1 bad case left out" in capsys.readouterr().err
    convert(tmp_path, "--skip-bad", raw="whole")
    assert digests(tmp_path / "raw") == digests(tmp_path / "whole")


def test_a_run_beside_another_leaves_publishing_to_the_last(tmp_path, tree, capsys):
    pytest.importorskip("fcntl")
    plan = plan_conversion(CONVERTER, [tmp_path / "v"], Target(tmp_path / "raw", 710, "VerSe"))
    assert build(plan, Run(shard=Shard(0, 2))) == 0
    identity = json.loads((plan.target.staging / "identity.json").read_text(encoding="utf-8"))
    with Workplace(plan.target.staging, identity).entered():  # somebody is at work on the same
        assert build(plan) == 0
    assert "waits for a run that is still at work" in capsys.readouterr().out
    assert not plan.target.folder.exists()
    assert build(plan) == 3


def test_two_runs_at_once_make_one_dataset(tmp_path, tree):
    pytest.importorskip("fcntl")
    convert(tmp_path, raw="whole")
    code = "import sys; from nnunet_spine.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = ["convert", "verse", tmp_path / "v", "-d", "710", "-o", tmp_path / "raw", "-np", "1"]
    runs = [
        subprocess.Popen([sys.executable, "-c", code, *argv], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [(run.communicate(timeout=60)[1], run.returncode) for run in runs] == [(b"", 0)] * 2
    assert digests(tmp_path / "raw") == digests(tmp_path / "whole")


class Killed(Job):
    """A case whose worker is killed."""

    def run(self, folder: Path | None):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_no_bad_case_that_may_be_left_out(tmp_path, tree):
    plan = plan_conversion(CONVERTER, [tmp_path / "v"], Target(tmp_path / "raw", 710, "VerSe"))
    jobs = list(plan.jobs)
    plan.jobs[1] = Killed(jobs[1].scan, jobs[1].choices, jobs[1].correction)
    with pytest.raises(Unfinished, match=r"b: its process was killed \(SIGKILL\).*it goes on where it stopped"):
        build(plan, Run(Processes(2)), Manner(skip_bad=True))
    assert sorted(p.name for p in (plan.target.staging / "records").iterdir()) == ["a.json", "c.json"]
    plan.jobs[1] = jobs[1]
    assert build(plan) == 3
