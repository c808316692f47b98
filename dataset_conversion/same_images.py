"""Whether two image files show the same scan, whatever they are called and however their axes are stored."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 22
_RANGE = 4096  # values above the median that are counted one by one


def same_images(paths: Iterable[Path], others: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs of files, one of each list, that hold the same scan.

    Headers are compared first, so that only files of one shape and voxel size are read. Grey values may differ by an
    offset, and below the median by what outside the patient was set to. Files that are no volumes are passed over.
    """
    by_header: dict[tuple, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, files in enumerate((paths, others)):
        for path in files:
            if (key := _header_key(path)) is not None:
                by_header[key][side].append(path)
    found = []
    for here, there in by_header.values():
        if not here or not there:
            continue
        digests = {path: scan_digest(path) for path in dict.fromkeys([*here, *there])}
        found += [(a, b) for a in here for b in there if a != b and digests[a] and digests[a] == digests[b]]
    return found


def scan_digest(path: Path) -> str:
    """Checksum of what a scan shows: the histogram of its grey values above their median; "" where it is unreadable."""
    import numpy as np

    from nnunet_spine.io.itk import is_itk_name, read_itk
    from nnunet_spine.io.nifti import read_nifti

    try:
        volume = read_itk(path) if is_itk_name(path) else None
        voxels = volume.array if volume else read_nifti(path)[0]
    except InputError:
        return ""
    flat = voxels.reshape(-1, order="A")
    middle = int(np.rint(np.median(flat)))
    counts = np.zeros(_RANGE, np.int64)
    for start in range(0, flat.size, _CHUNK):
        above = np.rint(flat[start : start + _CHUNK]).astype(np.int64) - middle
        counts += np.bincount(above[(above > 0) & (above < _RANGE)], minlength=_RANGE)
    return hashlib.sha256(counts.tobytes()).hexdigest()[:16] if counts.any() else ""


def _header_key(path: Path) -> tuple | None:
    """Axis lengths and voxel sizes in ascending order."""
    from nnunet_spine.geometry import spacing_mm
    from nnunet_spine.io.images import image_grid

    try:
        shape, affine = image_grid(path)
    except InputError:
        return None
    return _rounded(shape, spacing_mm(affine))


def _rounded(shape: tuple[int, ...], spacing: "np.ndarray") -> tuple:
    return tuple(sorted((int(n), round(float(size), 2)) for n, size in zip(shape, spacing, strict=True)))
