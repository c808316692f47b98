"""The device to compute on."""

import torch

from nnunet_spine.errors import InputError

NAMES = ("cuda", "mps", "cpu")


def find_device(name: str | None = None) -> torch.device:
    """The named device, or else a GPU if there is one.

    Raises:
        InputError: no device of this name, or torch cannot use it here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return torch.device("cuda" if there["cuda"] else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in NAMES:
        raise InputError(f"device {name}", f"give one of {', '.join(NAMES)}")
    if not there[device.type]:
        have = ", ".join(kind for kind, usable in there.items() if usable)
        raise InputError(f"device {name}: torch {torch.__version__} finds none here", f"give one of: {have}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name}: there are {torch.cuda.device_count()}", "count from cuda:0")
    return device
