"""evaluation.json -> report.html."""

import difflib
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nnunet_spine import evaluation
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.record import FILE_NAME
from nnunet_spine.io.files import atomic_path
from nnunet_spine.jobs import ALONE, Done, Failure, Run, Workplace, joined, run_jobs
from nnunet_spine.report import page
from nnunet_spine.report.views import ViewJob, Views, make_views, view_store

TITLE = "Vertebrae in CT: evaluation"
_VERTEBRA_FIELDS = (
    "name", "reference_mm3", "predicted_mm3", "missed", "misnamed", "found_as", "reference_centre_mm",
    "predicted_centre_mm",
)  # fmt: skip
_CASE_FIELDS = ("case", "n_reference", "shift", "suspicion", "missed", "surplus", "notes")
_FILES = {"CT": "image", "reference": "reference_mask", "centres": "reference_centroids", "prediction": "prediction"}


@dataclass(frozen=True)
class ReportOptions:
    """What the page holds.

    Attributes:
        title: heading; None: the method's name, or a general one.
        viewers: how many of the most suspicious cases get slices and surfaces; None: all.
        cases: names of further cases that get them.
    """

    title: str | None = None
    viewers: int | None = 12
    cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A page, or a part of the work for it.

    Attributes:
        path: the file; not written yet where cases are missing.
        size_bytes: its size.
        viewers: number of cases with slices and surfaces.
        problems: case -> what could not be shown, as sentences.
        failures: cases of this run that could not be drawn.
        missing: number of cases left to other parts, or to a run that is still busy.
    """

    path: Path
    size_bytes: int = 0
    viewers: int = 0
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    missing: int = 0


def build_report(
    source: str | Path,
    path: str | Path,
    options: ReportOptions = ReportOptions(),
    run: Run = ALONE,
) -> Report:
    """Write a page that shows an evaluation; it appears when it is complete.

    What is drawn waits in a hidden folder beside the page, for a run that goes on where another was stopped, and for
    the parts of one page. A case that cannot be drawn is on the page without pictures.

    Args:
        source: evaluation.json, or its folder.
        path: HTML file to write.
        options: what it holds.
        run: how; of several parts the one that finds all others done writes the page.

    Raises:
        InputError: not an evaluation, unknown case names, or a page of something else is being written there.
        WriteError: the page cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from nnunet_spine.evaluation import Request, evaluate, write_evaluation
        >>> from nnunet_spine.io.label_tables import write_mask
        >>> labels = np.zeros((30, 30, 60), np.uint8)
        >>> labels[10:20, 10:20, 10:25], labels[10:20, 10:20, 30:45] = 21, 20
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     masks, results = Path(folder) / "masks", Path(folder) / "results"
        ...     write_mask(masks / "case.nii.gz", labels, np.eye(4), "nnunet")
        ...     write_evaluation(evaluate(masks, Request((masks,)), results, Run(say=list)), results)
        ...     build_report(results, results / "report.html").viewers
        1
    """
    source, path = Path(source), Path(path)
    source = source / FILE_NAME if source.is_dir() else source
    content = evaluation.load(source)
    chosen = _with_viewer(content["cases"], options)
    place = Workplace(path.parent / f".partial-{path.name}", _identity(source, options))
    store = view_store(place.folder)
    jobs = [
        ViewJob(index, entry, source, place.folder, entry["case"] in chosen)
        for index, entry in enumerate(content["cases"])
    ]
    with place.entered():
        # Those with viewers take longest: first, so that no worker is alone with one at the end.
        mine = sorted(run.shard.of(jobs), key=lambda job: not job.viewer)
        made = run_jobs(mine, make_views, executor=run.executor, store=store, peak_bytes=ViewJob.peak_bytes)
        outcomes = {outcome.case: outcome for outcome in run.progress(made, len(mine))}
        failures = tuple(outcome for outcome in outcomes.values() if isinstance(outcome, Failure))
        if not run.shard.is_whole:
            outcomes |= {outcome.case: outcome for outcome in joined(jobs, store)[0]}
        missing = sum(job.case not in outcomes for job in jobs)
        if missing:
            return Report(path, failures=failures, missing=missing)
        views = [_views(job, outcomes[job.case]) for job in jobs]
        fields = _fields(content["metrics"])
        drawn = zip(content["cases"], jobs, views, strict=True)
        entries = [_case(entry, fields, job, shown) for entry, job, shown in drawn]
        viewers = sum(entry["viewer"] for entry in entries)
        blobs = [shown.blobs for shown in views]
        if viewers:
            blobs.insert(0, page.write_library(place.folder))
        title = options.title or content.get("method") or TITLE
        with atomic_path(path) as temporary:
            _write(temporary, page.frame(title, content["software"], _data(content, entries, title, source)), blobs)
        if place.is_last() and not failures:
            place.clear()
    problems = {entry["case"]: tuple(entry["problems"]) for entry in entries if entry["problems"]}
    return Report(path, path.stat().st_size, viewers, problems, failures)


def _identity(source: Path, options: ReportOptions) -> dict[str, object]:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return {"evaluation": digest, **asdict(options), "cases": list(options.cases)}


def _views(job: ViewJob, outcome: Done[Views] | Failure) -> Views:
    if isinstance(outcome, Done):
        return outcome.result
    return Views(job.index, {}, (), False, (f"Not drawn: {outcome.message}.",))


def _with_viewer(cases: Sequence[Mapping[str, object]], options: ReportOptions) -> set[str]:
    names = [case["case"] for case in cases]
    for name in options.cases:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see the names in cases.csv"
            raise InputError(f"no case '{name}' in the evaluation", hint)
    ranked = sorted(cases, key=lambda case: case["suspicion"], reverse=True)
    return {case["case"] for case in ranked[: options.viewers]} | set(options.cases)


def _fields(metrics: Sequence[Mapping[str, object]]) -> tuple[list[str], list[str]]:
    """What the page gets of a case and of a vertebra: all values of metrics, and what it needs besides."""
    of_vertebrae = [m["key"] for m in metrics if m["level"] == "vertebra"]
    return [*_CASE_FIELDS, *(m["mean_key"] for m in metrics if m["paired"])], [*_VERTEBRA_FIELDS, *of_vertebrae]


def _case(entry: Mapping[str, object], fields: tuple[list[str], list[str]], job: ViewJob, views: Views) -> dict:
    of_case, of_vertebra = fields
    return {
        **{name: rounded(entry[name]) for name in of_case},
        # one list per vertebra, in the order of `fields`
        "vertebrae": [[rounded(v[name]) for name in of_vertebra] for v in entry["vertebrae"]],
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
        "summary": rounded(content["summary"]),
        "groups": rounded(content["groups"]),
        "failures": content.get("failures", []),
        "levels": page.levels(content["settings"]["kind"]),
        "metrics": content["metrics"],
        "fields": _fields(content["metrics"])[1],
        "cases": entries,
    }


def rounded(value: object) -> object:
    """Numbers with five decimals, wherever they are: the page shows three."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


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
