"""Evaluation of one or several methods: pair, score, write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.case_job import CaseJob, score_store
from nnunet_spine.evaluation.mask_values import values_of_masks
from nnunet_spine.evaluation.pairing import Pairs, pair, shorten
from nnunet_spine.evaluation.record import Evaluation
from nnunet_spine.io.label_evidence import table_of_masks
from nnunet_spine.io.label_ids import NNUNET, LabelTable, common_kind, find_table
from nnunet_spine.io.text import read_records
from nnunet_spine.jobs import ALONE, Done, Failure, Run, joined, run_jobs
from nnunet_spine.scores import Settings, summarise_cohort


@dataclass(frozen=True)
class Request:
    """What to evaluate, and how.

    Attributes:
        references: files or folders with masks, or with centroid files, which count for cases without a mask.
        centroids: file or folder with centroid files, which count for all cases.
        images: file or folder with CT scans, only recorded.
        settings: of the scores.
        prediction_labels, reference_labels: a name or path for `find_table`; "auto": see `io.label_evidence`.
        points_grid: see `CaseJob`.
        grid: "native" or "1mm".
        accept: see `CaseJob`.
        only_common: references without a prediction are no failures.
        groups: case -> its groups of cases, which tables by group show apart.
    """

    references: tuple[Path, ...] = ()
    centroids: Path | None = None
    images: Path | None = None
    settings: Settings = field(default_factory=Settings)
    prediction_labels: str = "auto"
    reference_labels: str = "auto"
    points_grid: str = "auto"
    grid: str = "native"
    accept: tuple[str, ...] = ()
    only_common: bool = False
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def evaluate(prediction: Path, request: Request, folder: Path, run: Run = ALONE, *, method: str = "") -> Evaluation:
    """Score the predictions of one method.

    Args:
        prediction: file or folder with label maps.
        folder: finished cases are kept in its subfolder `cases`, each by itself, so that a run goes on where another
            was stopped, and parts of a run end in one result.
        run: how; a part of several scores its own cases, and has those of the others as far as they are done.
        method: name, where there are several.

    Returns:
        The evaluation, with the cases in it that other parts still have to score as `missing`.

    Raises:
        InputError: the input as a whole is unusable. What is wrong with single cases is in the result's failures.
        WriteError: the folder cannot be written; finished cases stay.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from nnunet_spine.io.label_tables import write_mask
        >>> labels = np.zeros((30, 30, 60), np.uint8)
        >>> labels[10:20, 10:20, 10:25], labels[10:20, 10:20, 30:45] = 21, 20
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_mask(Path(folder) / "a" / "case.nii.gz", labels, np.eye(4), "nnunet")
        ...     request = Request((Path(folder) / "a",))
        ...     evaluation = evaluate(Path(folder) / "a", request, Path(folder) / "out", Run(say=list))
        >>> [score["binary_dice"] for score in evaluation.scores]
        [1.0]
    """
    pairs = pair(prediction, request.references, centroids=request.centroids, images=request.images)
    if request.groups and not request.groups.keys() & {files.case for files in pairs.cases}:
        raise InputError(f"groups of other cases: {shorten(request.groups)}", f"cases are {_cases(pairs)}")
    for line in _unpaired(pairs, request.only_common):
        run.say(line)
    masks = [files.mask for files in pairs.cases if files.mask]
    tables = (
        _table(request.prediction_labels, [c.prediction for c in pairs.cases], "prediction", run),
        _table(request.reference_labels, masks, "reference", run),
    )
    for role, table in zip(("prediction", "reference"), tables, strict=True):
        if table.name != NNUNET.name:
            run.say(f"{role} labels: {table.name}")
    kind = common_kind(table.kind for table in tables)
    if tables[0].kind != tables[1].kind:
        run.say(f"prediction labels {tables[0].kind}, reference labels {tables[1].kind}: compared as {kind}")
    jobs = [
        CaseJob(files, request.settings, *tables, kind, request.grid, request.points_grid, request.accept)
        for files in pairs.cases
    ]
    store, mine = score_store(folder / "cases"), run.shard.of(jobs)
    results = run_jobs(mine, CaseJob.run, executor=run.executor, store=store, peak_bytes=CaseJob.peak_bytes)
    outcomes = {outcome.case: outcome for outcome in run.progress(results, len(mine))}
    if not run.shard.is_whole:
        outcomes |= {outcome.case: outcome for outcome in joined(jobs, store)[0]}
    done = [(job.files, outcomes[job.case]) for job in jobs if isinstance(outcomes.get(job.case), Done)]
    failures = [outcome for outcome in outcomes.values() if isinstance(outcome, Failure)]
    if not request.only_common:
        failures += [
            Failure(case, "no prediction for this reference", "add it, or use --only-common", str(path))
            for case, path in pairs.without_prediction.items()
        ]
    scores = tuple(outcome.result for _, outcome in done)
    return Evaluation(
        method=method,
        files=tuple(files for files, _ in done),
        scores=scores,
        failures=tuple(sorted(failures, key=lambda f: f.case)),
        settings=request.settings,
        tables=tables,
        kind=kind,
        grid=request.grid,
        summary=summarise_cohort(scores, request.settings),
        groups=request.groups,
        contents={outcome.case: outcome.inputs for _, outcome in done},
        missing=tuple(job.case for job in jobs if job.case not in outcomes),
    )


def read_groups(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Case -> its groups, from a CSV file with the columns `case` and `group`; several lines put a case into several.

    Raises:
        InputError: unreadable, without these columns, or a group called "all", which every case is in.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for row in read_records(path, ("case", "group")):
        case, group = row["case"], row["group"]
        if not case or not group:
            raise InputError("a line without case or group", "fill both columns", path)
        if group == "all":
            raise InputError("a group called 'all', which every case is in", "choose another name for the group", path)
        if group not in groups.get(case, ()):
            groups[case] = (*groups.get(case, ()), group)
    return groups


def _unpaired(pairs: Pairs, only_common: bool) -> Iterator[str]:
    if pairs.without_reference:
        yield f"predictions without a reference, left out: {shorten(pairs.without_reference, 5)}"
    if pairs.without_prediction and only_common:
        yield f"references without a prediction, left out: {shorten(pairs.without_prediction, 5)}"


def _cases(pairs: Pairs) -> str:
    return shorten(files.case for files in pairs.cases)


def _table(wanted: str, masks: Sequence[Path], role: str, run: Run) -> LabelTable:
    if wanted != "auto":
        return find_table(wanted)
    files = [mask for mask in masks if not mask.is_dir()]  # files of a folder are called after their levels
    if not files:  # reference centres only: they say what they mean
        return NNUNET
    try:
        return table_of_masks(files, lambda: values_of_masks(files, run))
    except InputError as error:
        place = error.path or files[0].parent
        raise InputError(error.found, error.cure.format(role=role), place) from None
