"""Run a conversion: find, check, write, report."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath

from nnunet_spine import __version__
from nnunet_spine.dataset_conversion.case import Choices, Converter, Scan
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
from nnunet_spine.dataset_conversion.writer import CaseJob, Prepared, check_cases, prepare_cases, publish
from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.io.files import read_json, write_json, write_text
from nnunet_spine.io.label_tables import kind_of_dataset
from nnunet_spine.io.viewer_tables import write_sidecars
from nnunet_spine.jobs import ALONE, Contents, Failure, Run, Workplace, contents_of, contents_of_inputs, counted


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


@dataclass(frozen=True)
class Manner:
    """What to do about bad cases, and whether to write.

    Attributes:
        dry_run: check and report, write nothing.
        skip_bad: leave bad cases out instead of stopping.
        thorough: hold a finished dataset against the whole contents of its sources.
        complain: prints a line on bad cases.
    """

    dry_run: bool = False
    skip_bad: bool = False
    thorough: bool = False
    complain: Callable[[str], None] = _complain


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
    problems: Sequence[Failure] = ()
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
        **{key: value for key, value in asdict(choices).items() if key != "copy"},
        "drop_labels": list(choices.drop_labels),
        "declared": list(choices.declared),
        "accept": list(choices.accept),
        "options": {key: plain(value) for key, value in request.options.items()},
        "folds": request.folds,
        "corrections": digest(sorted((k, _correction_text(v)) for k, v in table.items())) if table else "",
        "made_of": digest(plain([s.case, s.cohort, s.image, s.mask, s.landmarks], _name_of) for s in scans),
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


def build(plan: Plan, run: Run = ALONE, manner: Manner = Manner()) -> int:
    """Check and write a planned dataset; prints the report.

    Args:
        plan: the dataset.
        run: how; a part of several prepares its cases, and the one that ends last publishes the dataset.
        manner: what to do about bad cases, and whether to write.

    Returns:
        Number of cases in the dataset; 0 where other parts still have to do theirs.

    Raises:
        InputError: bad cases without `skip_bad` (nothing is written), nothing left, or another dataset lies there.
        WriteError: the target cannot be written; finished cases wait in the hidden folder for the next run.
        Unfinished: the same for want of memory, or where a worker was killed.
    """
    if manner.dry_run and not run.shard.is_whole:
        raise InputError("--dry-run of a part", "check all cases at once, without -num_parts")
    if (number := _finished(plan, run, manner)) is not None:
        if not manner.dry_run:
            _clear_after_a_kill(plan)
        return number
    if manner.dry_run:
        checked = check_cases(plan.jobs, run)
        plan = plan.narrowed(checked.records) if plan.narrowed else plan
        _, sentence = _report(plan, checked, run, manner)
        run.say(f"nothing written (--dry-run); would write {plan.target.folder}; {sentence}")
        return len(checked.records)
    if plan.narrowed:
        checked = check_cases(plan.jobs, run)
        if checked.failures and not manner.skip_bad:
            _report(plan, checked, run, manner)
        plan = plan.narrowed(checked.records)
    new = not plan.target.raw.exists()
    try:
        return _write(plan, run, manner)
    finally:
        if new:  # leave no empty folder behind where nothing was written
            with contextlib.suppress(OSError):
                plan.target.raw.rmdir()


def _finished(plan: Plan, run: Run, manner: Manner) -> int | None:
    """Number of cases of the dataset if it is complete, after saying so."""
    target = plan.target
    if not is_finished(target, plan.identity, plan.jobs, thorough=manner.thorough):
        return None
    left_out = list(read_json(target.folder / RECEIPT).get("left_out", {}))
    were = f"{len(left_out)} case{'s were' if len(left_out) > 1 else ' was'} left out as bad: {', '.join(left_out)}"
    run.say(f"{target.folder} is complete, nothing to do{f' ({were})' if left_out else ''}")
    return len(read_manifest(target.folder / "manifest.csv"))


def _workplace(plan: Plan) -> Workplace:
    return Workplace(plan.target.staging, [plan.identity, digest(job.parameters() for job in plan.jobs)])


def _clear_after_a_kill(plan: Plan) -> None:
    """Remove what a run left behind that was killed after it had published, unless somebody works there."""
    if plan.target.staging.exists():
        place = _workplace(plan)
        with contextlib.suppress(InputError, WriteError), place.entered():
            if place.is_last():
                place.clear()


def _write(plan: Plan, run: Run, manner: Manner) -> int:
    target = plan.target
    place = _workplace(plan)
    with place.entered():
        if (number := _finished(plan, run, manner)) is not None:  # by a run that ended just now
            place.clear()
            return number
        prepared = prepare_cases(target, plan.jobs, run)
        prepared = replace(prepared, failures=[*plan.problems, *prepared.failures])
        if prepared.missing or not place.is_last():
            return _wait_for_others(prepared, target, run, manner)
        try:
            splits, sentence = _report(plan, prepared, run, manner)
        except InputError:
            if run.shard.is_whole:
                place.clear()
            raise
        publish(target, _write_top_level(plan, prepared, splits))
        place.clear()
    run.say(f"{target.folder} written; {sentence}")
    return len(prepared.records)


def _wait_for_others(prepared: Prepared, target: Target, run: Run, manner: Manner) -> int:
    for line in problem_lines(prepared.failures):
        manner.complain(line)
    left = f"{counted(prepared.missing, 'case')} of other parts" if prepared.missing else "a run that is still at work"
    run.say(f"{'done' if run.shard.is_whole else run.shard}: {target.folder} waits for {left}")
    if prepared.failures and not manner.skip_bad:
        raise InputError(
            f"{counted(len(prepared.failures), 'case')} cannot be used", "fix them, or give all parts --skip-bad"
        )
    return 0


def _report(plan: Plan, found: Prepared, run: Run, manner: Manner) -> tuple[list[dict[str, list[str]]], str]:
    """Print what was found; stop on bad cases. Returns the folds and a sentence on them."""
    records, problems = found.records, found.failures
    if records:
        for line in report_lines(records, plan.remarks, plan.unit):
            run.say(line)
    if problems:
        manner.complain(f"{len(problems)} bad case{'s' * (len(problems) > 1)}{' left out' if manner.skip_bad else ''}:")
        for line in problem_lines(problems):
            manner.complain(line)
    if problems and not manner.skip_bad:
        total = len(records) + len(problems)
        first = "" if len(problems) > 1 else f" ({problems[0]})"
        raise InputError(
            f"{len(problems)} of {total} cases cannot be used{first}; nothing was written",
            "fix them, or leave them out with --skip-bad",
        )
    splits, sentence = _folds(plan, records)
    for line in coverage_lines(plan.describe(records)["labels"], records, splits):
        run.say(line)
    return splits, sentence


def _folds(plan: Plan, records: Sequence[Record]) -> tuple[list[dict[str, list[str]]], str]:
    training = {r.case: (r.patient, r.split) for r in records if r.split != "test"}
    if not training:
        if not records or any("mask" not in record.row for record in records):
            raise InputError("no training case", "check the sources")
        why = "all scans are test scans" if any(record.row["mask"] for record in records) else "no masks"
        return [], f"{why}, so no training cases: for prediction and evaluation only"
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


def _write_top_level(plan: Plan, prepared: Prepared, splits: list[dict[str, list[str]]]) -> set[str]:
    """Write what belongs to the dataset as a whole; the receipt comes last. Returns all its files."""
    records = prepared.records
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
        "left_out": {problem.case: problem.text for problem in prepared.failures},
        "files": sorted(files),
        "checksums": _checksums(folder, records),
        "contents": {case: _contents(inputs) for case, inputs in sorted(_all_inputs(plan, prepared).items())},
    }
    write_json(folder / RECEIPT, receipt)
    return files


def _checksums(folder: Path, records: Sequence[Record]) -> dict[str, str]:
    """File -> checksum, of what was written and not linked."""
    written = [
        name
        for record in records
        for name in record.files
        if not name.startswith("images") or record.row.get("image_stored") in ("rewritten", "copy")
    ]
    return {name: held.sha256 for name in sorted(written) if (held := contents_of(folder / name))}


def _all_inputs(plan: Plan, prepared: Prepared) -> dict[str, Mapping[str, Contents | None]]:
    """What the source files held, also those of cases that were left out, which may be usable once they change."""
    bad = {failure.case for failure in prepared.failures} - prepared.contents.keys()
    return {**prepared.contents, **{job.case: contents_of_inputs(job) for job in plan.jobs if job.case in bad}}


def _contents(inputs: Mapping[str, Contents | None]) -> dict[str, dict | None]:
    return {name: asdict(held) if held else None for name, held in inputs.items()}


def _fingerprint(scan: Scan) -> str:
    """Names and sizes, not folders: data may be moved."""
    sizes = " ".join(f"{path.name}:{path.stat().st_size if path.exists() else 'missing'}" for path in scan.files)
    return f"{scan.case} {scan.patient} {scan.split} {sizes}"


def _name_of(path: PurePath) -> str:
    return path.name


def _correction_text(correction: Correction) -> str:
    return f"{sorted(correction.names.items())} {correction.sequence}"
