"""The commands with worker processes: no worker outlives them, Ctrl-C is one line."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cube_spine import spine, write
from sessions import LINUX, none_left, session
from verse_tree import subject

from nnunet_spine import cli


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """Name -> arguments, for cases that take a while each."""
    root = tmp_path_factory.mktemp("commands")
    for name in "abcd":
        subject(root / "v" / "training", name)
        write(root / "ref" / f"{name}.nii.gz")
        write(root / "pred" / f"{name}.nii.gz", np.roll(spine(), 1, 0))
    evaluate = ["evaluate", "-p", root / "pred", "-g", root / "ref"]
    assert cli.main([*map(str, evaluate), "-o", str(root / "scores"), "-np", "1", "--quiet"]) == 0
    return {
        "phantom": ["phantom", "-o", root / "phantoms", "-n", "4", "--spacing", "1", "--view", "whole", "--quiet"],
        "convert": ["convert", "verse", root / "v", "-d", "710", "-o", root / "raw", "--quiet"],
        "evaluate": [*evaluate, "-o", root / "again", "--quiet"],
        "report": ["report", "-e", root / "scores", "-o", root / "report.html", "--quiet"],
    }


def started(arguments):
    """The command with its first worker under way."""
    run = subprocess.Popen(
        [sys.executable, "-m", "nnunet_spine.cli", *map(str, arguments), "-np", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    while len(session(run.pid)) < 3 and run.poll() is None:  # the command, Python's tracker of resources, a worker
        time.sleep(0.005)
    return run


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantom", "convert", "evaluate", "report"])
def test_killed_and_interrupted(commands, name, interruptible):
    run = started(commands[name])
    run.kill()
    assert none_left(run.pid)
    run.communicate()
    run = started(commands[name])
    os.killpg(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert (run.returncode, error) == (130, f"nnunet-spine {name}: interrupted\n")
    assert none_left(run.pid)
