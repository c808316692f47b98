"""evaluation.json -> report.html."""

import difflib
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine import evaluation
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.record import FILE_NAME
from nnunet_spine.io.files import atomic_path
from nnunet_spine.report import page
from nnunet_spine.report.views import ViewJob, Views, make_views

TITLE = "Vertebrae in CT: evaluation"
# Of a vertebra, as stored in the page: one list per vertebra in this order.
FIELDS = (
    "name", "reference_mm3", "predicted_mm3", "dice", "assd_mm", "hd95_mm", "nsd", "distance_mm", "identified",
    "missed", "misnamed", "found_as", "reference_center_mm", "predicted_center_mm",
)  # fmt: skip
_CASE_FIELDS = (
    "case", "binary_dice", "dice", "assd_mm", "hd95_mm", "nsd", "localisation_error_mm", "n_reference",
    "identification_rate", "shift", "suspicion", "missed", "surplus", "notes",
)  # fmt: skip
_FILES = {"CT": "image", "reference": "reference_mask", "centres": "reference_centroids", "prediction": "prediction"}


@dataclass(frozen=True)
class ReportOptions:
    """What the page holds.

    Attributes:
        title: heading; None: the method's name, or a general one.
        viewers: how many of the most suspicious cases get slices and surfaces; None: all.
        cases: names of further cases that get them.
        workers: processes.
    """

    title: str | None = None
    viewers: int | None = 12
    cases: tuple[str, ...] = ()
    workers: int = 4


@dataclass(frozen=True)
class Report:
    """A finished page.

    Attributes:
        path: the file.
        size_bytes: its size.
        viewers: number of cases with slices and surfaces.
        problems: case -> what could not be shown, as sentences.
    """

    path: Path
    size_bytes: int
    viewers: int
    problems: Mapping[str, tuple[str, ...]]


def build_report(
    source: str | Path,
    path: str | Path,
    options: ReportOptions = ReportOptions(),
    *,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Report:
    """Write a page that shows an evaluation; it appears when it is complete.

    Args:
        source: evaluation.json, or its folder.
        path: HTML file to write.
        options: what it holds.
        progress: wraps an iterator of known length.

    Raises:
        InputError: not an evaluation, unknown case names, or a worker process was killed.
        WriteError: the page cannot be written.
    """
    source, path = Path(source), Path(path)
    source = source / FILE_NAME if source.is_dir() else source
    content = evaluation.load(source)
    chosen = _with_viewer(content["cases"], options)
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        jobs = [
            ViewJob(index, entry, source.parent, Path(folder), entry["case"] in chosen)
            for index, entry in enumerate(content["cases"])
        ]
        views = {view.index: view for view in progress(_views(jobs, options.workers), len(jobs))}
        entries = [_case(entry, job, views[job.index]) for entry, job in zip(content["cases"], jobs, strict=True)]
        viewers = sum(entry["viewer"] for entry in entries)
        blobs = [views[job.index].blobs for job in jobs]
        if viewers:
            blobs.insert(0, page.write_library(Path(folder)))
        title = options.title or content.get("method") or TITLE
        _write(temporary, page.frame(title, content["software"], _data(content, entries, title, source)), blobs)
    problems = {entry["case"]: tuple(entry["problems"]) for entry in entries if entry["problems"]}
    return Report(path, path.stat().st_size, viewers, problems)


def _with_viewer(cases: Sequence[Mapping[str, object]], options: ReportOptions) -> set[str]:
    names = [case["case"] for case in cases]
    for name in options.cases:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see the names in cases.csv"
            raise InputError(f"no case '{name}' in the evaluation", hint)
    ranked = sorted(cases, key=lambda case: case["suspicion"], reverse=True)
    return {case["case"] for case in ranked[: options.viewers]} | set(options.cases)


def _case(entry: Mapping[str, object], job: ViewJob, views: Views) -> dict:
    return {
        **{name: _rounded(entry[name]) for name in _CASE_FIELDS},
        "vertebrae": [[_rounded(v[name]) for name in FIELDS] for v in entry["vertebrae"]],
        "files": {word: entry[key] for word, key in _FILES.items()},
        "picture": f"picture-{job.index}" in views.blobs,
        "viewer": f"meshes-{job.index}" in views.blobs,
        "maps": views.maps,
        "deviation": views.deviation,
        "problems": views.problems,
    }


def _data(content: Mapping[str, object], entries: list[dict], title: str, source: Path) -> dict:
    return {
        "title": title,
        "software": content["software"],
        "source": str(source),
        "settings": content["settings"],
        "summary": _rounded(content["summary"]),
        "failures": content.get("failures", []),
        "levels": page.levels(),
        "fields": FIELDS,
        "cases": entries,
    }


def _rounded(value: object) -> object:
    """Numbers with five decimals, wherever they are: the page shows three."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def _views(jobs: Sequence[ViewJob], workers: int) -> Iterator[Views]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(make_views, jobs)
        return
    # Spawned, since forking a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_die_on_interrupt) as pool:
        try:
            # Those with viewers take longest: first, so that no worker is alone with one at the end.
            futures = [pool.submit(make_views, job) for job in sorted(jobs, key=lambda job: not job.viewer)]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            cure = "use fewer processes (-np 1)"
            raise InputError("a worker process was killed, probably for want of memory", cure) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _die_on_interrupt() -> None:
    """Ctrl-C ends workers at once and without a traceback; only the main process writes the page."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _write(path: Path, frame: tuple[str, str], blobs: Sequence[Mapping[str, Path]]) -> None:
    before, after = frame
    with path.open("wb") as out:
        out.write(before.encode())
        for case in blobs:
            for name, file in case.items():
                out.write(page.BLOB_OPEN.format(name=name).encode())
                with file.open("rb") as text:
                    shutil.copyfileobj(text, out)
                out.write(page.BLOB_CLOSE.encode())
        out.write(after.encode())
