"""One scan from its file to finished files: segmented, named, measured, written; the record of it comes last."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from nnunet_spine import __version__
from nnunet_spine.errors import Unfinished
from nnunet_spine.inference.measurements import measure_vertebrae
from nnunet_spine.inference.predict_files import RECORDS, files_of, remove_files, write_centres, write_label_map
from nnunet_spine.inference.predict_report import PredictRow, flags_of_case, report_of
from nnunet_spine.inference.scan_files import read_scan
from nnunet_spine.inference.segmenters import Segmenter, opened
from nnunet_spine.io.files import write_json
from nnunet_spine.io.masks import with_data_files
from nnunet_spine.jobs import Store, memory_bytes
from nnunet_spine.naming import name_bones

FORMAT = 1
"""Raise when the same files and settings give other results: finished cases of an older version are then done again."""

Draw = Callable[..., None]
"""As `pictures.case_picture`, which lives on a floor above."""


@dataclass(frozen=True)
class PredictCase:
    """One scan to predict; can be pickled.

    Attributes:
        case: its name.
        scan: the file.
        out: folder for the results.
        segmenter: what makes the label map.
        settings: of the segmenter, see `OpenSegmenter.settings`.
        device: that it computes on, for the report.
        ids: of `predict_files.IDS`.
        normal: only spines of 12 thoracic and 5 lumbar levels.
        accept: see `read_scan`.
        draw: makes the picture; None: none.
        peak: bytes that it takes, about.
    """

    case: str
    scan: Path
    out: Path
    segmenter: Segmenter
    settings: object
    device: str
    ids: str = "verse"
    normal: bool = False
    accept: tuple[str, ...] = ()
    draw: Draw | None = None
    peak: float = 0.0

    def inputs(self) -> dict[str, Path]:
        """See `jobs.Job`."""
        return with_data_files({"scan": self.scan})

    def parameters(self) -> object:
        """See `jobs.Job`."""
        return [__version__, FORMAT, self.settings, self.ids, self.normal, sorted(self.accept), self.draw is not None]

    def peak_bytes(self) -> float:
        """Memory that it takes, about."""
        return self.peak

    def files(self) -> dict[str, Path]:
        """What is written of it: kind -> path."""
        return files_of(self.case, self.scan, self.out, picture=self.draw is not None)


def predict_case(job: PredictCase) -> PredictRow:
    """Predict one scan and write its files; those of an earlier run are removed first.

    Raises:
        InputError: the scan cannot be used.
        Unfinished: it needs more memory than there is.
        WriteError: a file cannot be written.
    """
    start = time.perf_counter()
    remove_files(job.case, job.scan, job.out)
    if job.peak > (there := memory_bytes()):
        found = f"needs about {job.peak / 1e9:.1f} GB of memory, of which there are {there / 1e9:.1f}"
        raise Unfinished(found, "cut the scan to the spine, resample it, or use another machine", job.scan)
    scan = read_scan(job.scan, job.accept)
    read = time.perf_counter()
    network = opened(job.segmenter)
    segmentation = network.segment(scan)
    cut = time.perf_counter()
    grid = scan.voxels, scan.affine
    named = segmentation.named or name_bones(
        segmentation.labels, scan.affine, kind=segmentation.kind, scan=grid, normal=job.normal
    )
    vertebrae = measure_vertebrae(named.labels, scan.voxels, scan.affine)
    files = job.files()
    row = PredictRow(
        job.case,
        tuple(v.name for v in vertebrae),
        named.labelling.probability if named.labelling and vertebrae else None,
        named.labelling.ambiguous if named.labelling and vertebrae else "",
        flags_of_case(named, vertebrae, scan.flags),
        tuple(sorted(path.relative_to(job.out).as_posix() for path in files.values())),
    )
    seconds = {"reading": round(read - start, 3), **segmentation.seconds}
    seconds["naming"] = round(time.perf_counter() - cut, 3)
    write_label_map(files["labels"], named.labels, scan.affine, job.ids)
    write_centres(files, vertebrae, scan.affine, job.case)
    if job.draw is not None:
        job.draw(scan.voxels, None, named.labels, scan.affine, files["picture"], title=job.case)
    seconds["all"] = round(time.perf_counter() - start, 3)
    content = report_of(
        row, named, vertebrae, scan=job.scan, shape=scan.voxels.shape, affine=scan.affine, ids=job.ids,
        model=network.identity, device=job.device, seconds=seconds, details=segmentation.details,
    )  # fmt: skip
    write_json(files["report"], content)
    return row


def predict_store(out: Path) -> Store:
    """Where the records of finished cases are kept; a case of which a file is gone is not finished."""
    return Store(out / RECORDS, encode=asdict, decode=PredictRow.from_dict, complete=partial(_complete, out))


def _complete(out: Path, row: PredictRow) -> bool:
    return all((out / name).is_file() for name in row.files)
