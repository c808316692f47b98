"""Two processes that add up numbers, as DDP does."""

import os
import sys
from pathlib import Path

import torch
from torch import distributed


def join(rank: int, folder: Path) -> None:
    """Make this the process `rank` of a group of two, which meets in `folder`."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo looks up the host's name, which need not resolve
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=(folder / "meet").as_uri(), rank=rank, world_size=2)
