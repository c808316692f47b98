"""What turns a scan into a label map: the interface of `predict`, for one network or several in a row.

A `Segmenter` is a small value that can be sent to another process; opened there it holds the networks. Each process
opens it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from nnunet_spine.inference.scan_files import Scan
from nnunet_spine.naming import Relabelled


@dataclass(frozen=True)
class Segmentation:
    """A label map on the grid of its scan.

    Attributes:
        labels: uint8, of the scan's shape; ids of `kind`.
        kind: what they are: "vertebrae" (nnU-Net ids), "regions" or "spine", see `anatomy.structures`.
        seconds: step -> time it took.
        details: what else the report should say.
        named: the bones with their names, where the segmenter has found and named them itself.
    """

    labels: np.ndarray
    kind: str
    seconds: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)
    named: Relabelled | None = None


class OpenSegmenter(Protocol):
    """Networks in memory."""

    @property
    def identity(self) -> dict[str, Any]:
        """Which models these are, for reports; JSON."""

    @property
    def device(self) -> str:
        """What it computes on."""

    @property
    def settings(self) -> object:
        """What the label map depends on beside the scan, as JSON: finished cases of other settings are done again."""

    def peak_bytes(self, shape: tuple[int, ...], affine: np.ndarray) -> float:
        """Memory that a scan of this grid takes, about, beside the networks."""

    def segment(self, scan: Scan) -> Segmentation:
        """The label map of a scan.

        Raises:
            MemoryError: the scan is too large.
        """


class Segmenter(Protocol):
    """How to open networks; hashable, and can be pickled."""

    def open(self) -> OpenSegmenter:
        """Read the models.

        Raises:
            InputError: one is missing, or of the wrong kind.
        """


@lru_cache(maxsize=1)
def opened(segmenter: Segmenter) -> OpenSegmenter:
    """The networks of a segmenter, read once in a process."""
    return segmenter.open()
