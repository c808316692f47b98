"""How many processes a machine can bear."""

import os
from pathlib import Path

PROCESS_BYTES = 300e6
"""Of Python with numpy, scipy and nibabel, before any volume."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_cores() -> int:
    """Processors that this process may use, which a scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> float:
    """Memory of the machine, or of the container or allocation where that is less; 8 GB where nothing tells."""
    known = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in map(Path, _LIMITS):
        try:
            known.append(int(limit.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return float(min(known, default=8e9))


def choose_workers(wanted: int | None, most: int = 8) -> int:
    """Number of processes: as wanted but at least 1, else the usable cores, at most `most`."""
    return max(1, wanted) if wanted is not None else min(most, usable_cores())
