"""Run a conversion: find, check, write, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from nnunet_spine import __version__
from nnunet_spine.dataset_conversion.case import Choices, Converter, Problem, Scan
from nnunet_spine.dataset_conversion.corrections import Correction, read_corrections
from nnunet_spine.dataset_conversion.coverage import coverage_lines, labels_of, names_in, occurring
from nnunet_spine.dataset_conversion.dataset_json import dataset_json
from nnunet_spine.dataset_conversion.fingerprint import digest, plain
from nnunet_spine.dataset_conversion.label_sets import OCCURRING
from nnunet_spine.dataset_conversion.manifest import manifest_text, problem_lines, read_manifest, report_lines
from nnunet_spine.dataset_conversion.prepare import FORMAT, Job, Record
from nnunet_spine.dataset_conversion.split_names import SplitRules, assign_splits, patients_in_several_splits
from nnunet_spine.dataset_conversion.splits import Fold, folds_of_parts, splits_for
from nnunet_spine.dataset_conversion.target import RECEIPT, Target, is_finished
from nnunet_spine.dataset_conversion.writer import (
    CaseJob,
    Progress,
    check_cases,
    discard,
    lock,
    prepare_cases,
    publish,
)
from nnunet_spine.errors import InputError
from nnunet_spine.io.files import read_json, write_json, write_text
from nnunet_spine.io.label_tables import kind_of_dataset, write_sidecars


@dataclass(frozen=True)
class Run:
    """How a conversion runs; changes nothing about its result but the cases left out by `skip_bad`.

    Attributes:
        workers: processes.
        dry_run: check and report, write nothing.
        skip_bad: leave bad cases out instead of stopping.
        say: prints a line of the report.
        complain: prints a line on bad cases.
        progress: wraps an iterator of known length.
    """

    workers: int = 1
    dry_run: bool = False
    skip_bad: bool = False
    say: Callable[[str], None] = print
    complain: Callable[[str], None] = print
    progress: Progress = lambda items, total: items


@dataclass(frozen=True)
class Plan:
    """A dataset to build from jobs.

    Attributes:
        target: the dataset.
        jobs: one per case.
        identity: what defines the dataset; a finished one is recognised by it.
        describe: records -> content of dataset.json.
        folds: "official" or a number.
        splits_from: dataset folder whose splits_final.json is taken over instead; the cases made from one of its cases
            (`scan` in the manifest) stand for that.
        splits: folds of the cases of that dataset that go before its file, and a sentence on them.
        unit: what a case is, for the report.
        problems, remarks: of the generator.
        sources: where the data come from, for the receipt.
        narrowed: records of all cases -> the plan for those, where it depends on what occurs in them.
    """

    target: Target
    jobs: Sequence[CaseJob]
    identity: dict[str, object]
    describe: Callable[[Sequence[Record]], dict[str, object]]
    folds: str = "official"
    splits_from: Path | None = None
    splits: tuple[Sequence[Fold], str] | None = None
    problems: Sequence[Problem] = ()
    remarks: Sequence[str] = ()
    sources: Sequence[str] = ()
    unit: str = "scan"
    narrowed: "Callable[[Sequence[Record]], Plan] | None" = None


@dataclass(frozen=True)
class Request:
    """What the user says about a data set beside how cases are prepared.

    Attributes:
        options: the converter's own.
        splits: of scans whose split is not known, or to be another.
        folds: "official" or a number.
        corrections: name of a list that the converter knows, or a CSV file.
    """

    options: Mapping[str, object] = field(default_factory=dict)
    splits: SplitRules = field(default_factory=SplitRules)
    folds: str = "official"
    corrections: str | Path | None = None


def plan_conversion(
    converter: Converter,
    sources: Sequence[str | Path],
    target: Target,
    choices: Choices | None = None,
    request: Request | None = None,
) -> Plan:
    """Find the cases of a data set.

    Args:
        converter: of the data set.
        sources: folders with the data; only read.

    Raises:
        InputError: nothing found, scans of unknown split, or an unreadable correction list.
    """
    choices, request = choices or Choices(), request or Request()
    found = converter.find(sources, **request.options)
    scans = assign_splits(found.scans, request.splits)
    corrections = read_corrections(request.corrections, converter.corrections)
    table = corrections.by_case
    used = {name for scan in scans for name in (scan.case, scan.patient)}
    unused = sorted(set(table) - used) if corrections.complete else []
    remarks = [
        *found.remarks,
        *patients_in_several_splits(scans),
        *(f"correction for {key}: no such case" for key in unused),
        *_left_out_remark(found.left_out),
    ]
    identity = {
        "converter": converter.name,
        "format": FORMAT,
        **{key: value for key, value in asdict(choices).items() if key not in ("copy", "verify")},
        "drop_labels": list(choices.drop_labels),
        "declared": list(choices.declared),
        "options": {key: plain(value) for key, value in request.options.items()},
        "folds": request.folds,
        "corrections": digest(sorted((k, _correction_text(v)) for k, v in table.items())) if table else "",
        "source_files": digest([_fingerprint(scan) for scan in scans] + [str(p.case) for p in found.problems]),
    }

    texts = {"licence": converter.licence, "reference": converter.reference}
    places = [str(Path(source).resolve()) for source in sources]

    def plan(declared: tuple[str, ...]) -> Plan:
        chosen = replace(choices, declared=declared)
        jobs = [Job(scan, chosen, table.get(scan.case) or table.get(scan.patient)) for scan in scans]

        def describe(records: Sequence[Record]) -> dict[str, object]:
            n_training = sum(record.split != "test" for record in records)
            return dataset_json(labels_of(choices.label_set, declared, records), n_training, name=target.name, **texts)

        return Plan(
            target, jobs, identity, describe, request.folds,
            problems=found.problems, remarks=remarks, sources=places,
        )  # fmt: skip

    if choices.declared == (OCCURRING,):
        return replace(plan(()), narrowed=lambda records: plan(occurring(choices.label_set, records)))
    return plan(choices.declared)


def _left_out_remark(paths: Sequence[Path]) -> list[str]:
    if not paths:
        return []
    shown = ", ".join(path.name for path in paths[:3]) + ", ..." * (len(paths) > 3)
    return [f"{len(paths)} file{'s' * (len(paths) > 1)} with other names left out, e.g. {shown}, in {paths[0].parent}"]


def build(plan: Plan, run: Run) -> int:
    """Check and write a planned dataset; prints the report.

    Returns:
        Number of cases in the dataset.

    Raises:
        InputError: bad cases without `skip_bad` (nothing is written), nothing left, or another dataset lies there.
        WriteError: the target cannot be written; finished cases wait in the hidden folder for the next run.
    """
    target = plan.target
    if is_finished(target, plan.identity):
        if not run.dry_run:
            discard(target)
        left_out = list(read_json(target.folder / RECEIPT).get("left_out", {}))
        were = f"{len(left_out)} case{'s were' if len(left_out) > 1 else ' was'} left out as bad: {', '.join(left_out)}"
        run.say(f"{target.folder} is complete, nothing to do{f' ({were})' if left_out else ''}")
        return len(read_manifest(target.folder / "manifest.csv"))
    if run.dry_run:
        records, problems = check_cases(plan.jobs, run.workers, run.progress)
        plan = plan.narrowed(records) if plan.narrowed else plan
        splits, sentence = _report(plan, records, [*plan.problems, *problems], run)
        run.say(f"nothing written (--dry-run); would write {target.folder}; {sentence}")
        return len(records)
    if plan.narrowed:
        records, problems = check_cases(plan.jobs, run.workers, run.progress)
        if problems and not run.skip_bad:
            _report(plan, records, [*plan.problems, *problems], run)
        plan = plan.narrowed(records)
    with lock(target):
        records, problems = prepare_cases(target, plan.jobs, run.workers, run.progress)
        try:
            splits, sentence = _report(plan, records, [*plan.problems, *problems], run)
        except InputError:
            discard(target)
            raise
        files = _write_top_level(plan, records, [*plan.problems, *problems], splits)
        publish(target, files)
    run.say(f"{target.folder} written; {sentence}")
    return len(records)


def _report(
    plan: Plan, records: Sequence[Record], problems: Sequence[Problem], run: Run
) -> tuple[list[dict[str, list[str]]], str]:
    """Print what was found; stop on bad cases. Returns the folds and a sentence on them."""
    if records:
        for line in report_lines(records, plan.remarks, plan.unit):
            run.say(line)
    if problems:
        run.complain(f"{len(problems)} bad case{'s' * (len(problems) > 1)}{' left out' if run.skip_bad else ''}:")
        for line in problem_lines(problems):
            run.complain(line)
    if problems and not run.skip_bad:
        total = len(records) + len(problems)
        first = "" if len(problems) > 1 else f" ({problems[0]})"
        raise InputError(
            f"{len(problems)} of {total} cases cannot be used{first}; nothing was written",
            "mend them, or leave them out with --skip-bad",
        )
    splits, sentence = _folds(plan, records)
    for line in coverage_lines(plan.describe(records)["labels"], records, splits):
        run.say(line)
    return splits, sentence


def _folds(plan: Plan, records: Sequence[Record]) -> tuple[list[dict[str, list[str]]], str]:
    training = {r.case: (r.patient, r.split) for r in records if r.split != "test"}
    if not training:
        if not records or any(record.row.get("mask", True) for record in records):
            raise InputError("no training case", "check the sources, or say which scans are with --split")
        return [], "no masks, so no training cases: for prediction and evaluation only"
    if plan.splits_from is None:
        return splits_for(training, plan.folds, {record.case: names_in(record) for record in records})
    path = plan.splits_from / "splits_final.json"
    folds, sentence = plan.splits or (read_json(path) if path.is_file() else [], f"folds as in {plan.splits_from.name}")
    parts: dict[str, list[str]] = {}
    for record in records:
        parts.setdefault(record.row.get("scan", record.case), []).append(record.case)
    folds = folds_of_parts(folds, parts)
    for number, fold in enumerate(folds):
        for side, name in (("train", "training"), ("val", "validation")):
            if not fold[side]:
                raise InputError(f"fold {number} would have no {name} {plan.unit}", "choose more levels", path)
    return folds, sentence


def _write_top_level(
    plan: Plan, records: Sequence[Record], problems: Sequence[Problem], splits: list[dict[str, list[str]]]
) -> set[str]:
    """Write what belongs to the dataset as a whole; the receipt comes last. Returns all its files."""
    folder = plan.target.staging / "dataset"
    files = {name for record in records for name in record.files} | {"dataset.json", "manifest.csv", RECEIPT}
    content = plan.describe(records)
    write_json(folder / "dataset.json", content)
    files.update(write_sidecars(folder, kind_of_dataset(content)))
    write_text(folder / "manifest.csv", manifest_text(records))
    if splits:
        write_json(folder / "splits_final.json", splits)
        files.add("splits_final.json")
    receipt = {
        "program": f"nnunet-spine {__version__}",
        "identity": plan.identity,
        "sources": list(plan.sources),
        "left_out": {problem.case: problem.message for problem in problems},
        "files": sorted(files),
    }
    write_json(folder / RECEIPT, receipt)
    return files


def _fingerprint(scan: Scan) -> str:
    """Names and sizes, not folders: data may be moved."""
    sizes = " ".join(f"{path.name}:{path.stat().st_size if path.exists() else 'missing'}" for path in scan.files)
    return f"{scan.case} {scan.patient} {scan.split} {sizes}"


def _correction_text(correction: Correction) -> str:
    return f"{sorted(correction.names.items())} {correction.sequence}"
