"""Processes of a program that was started in a session of its own."""

import time
from pathlib import Path

import pytest

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")


def session(leader: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *rest = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(rest[2]) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def none_left(leader: int) -> bool:
    for _ in range(100):
        if not session(leader):
            return True
        time.sleep(0.05)
    return False
