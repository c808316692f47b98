"""`nnunet-spine predict -i IN -o OUT`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.commands.batch import add_batch_options, complain, peak_bytes_of, require_own_folder, run_of
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import (
    WHOLE,
    Done,
    Failure,
    Run,
    choose_workers,
    counted,
    joined,
    run_jobs,
    say_beside_bar,
    usable_cores,
)

if TYPE_CHECKING:
    from nnunet_spine.inference.predict_case import PredictCase
    from nnunet_spine.inference.predict_report import PredictRow
    from nnunet_spine.inference.segmenters import OpenSegmenter, Segmenter

TORCH_BYTES = 1e9
"""Of a process with torch and nnU-Net, before any scan."""
CASES_SHOWN = 20

HELP = "from CT scans to named vertebrae: label maps, centres, reports and pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine predict`."""
    parser.add_argument(
        "-i", "--input", required=True, metavar="SCANS",
        help="a CT, or a folder with CTs: .nii.gz, .nii, .nrrd, .nhdr, .mha, .mhd; CASE_0000.nii.gz is case CASE",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the results")
    model = parser.add_argument_group("model", "without -m and -d: the one that comes with the package")
    model.add_argument("-m", "--model", metavar="PATH", help="model folder of nnUNetv2_train, or a packaged model")
    model.add_argument("-d", "--dataset", metavar="ID", help="a model in nnUNet_results: number or name of its dataset")
    model.add_argument("-c", "--configuration", metavar="C", help="with -d; unset: the only one")
    model.add_argument("-tr", "--trainer", metavar="T", help="with -d; unset: the only one")
    model.add_argument("-p", "--plans", metavar="P", help="with -d; unset: the only ones")
    model.add_argument("-f", "--folds", nargs="+", default=[], metavar="F", help="folds to average; unset: all trained")
    model.add_argument(
        "--regions", metavar="PATH", help="with --instances: first stage of a cascade, a model of regions or vertebrae"
    )
    model.add_argument(
        "--instances", metavar="PATH", help="second stage: a model of IterativeInstanceTrainer, see the trainers"
    )
    model.add_argument("-chk", "--checkpoint", metavar="FILE", help="of each fold; unset: checkpoint_final.pth")
    parser.add_argument("-device", "--device", metavar="D", help="cuda, cpu or mps; unset: cuda if there is one")
    parser.add_argument("-step_size", type=float, default=0.5, metavar="S", help="of the window, as share of the patch")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring, also for models trained with it")
    parser.add_argument("--ids", choices=("verse", "nnunet"), default="verse", help="values of the label maps")
    parser.add_argument("--normal", action="store_true", help="only spines of 12 thoracic and 5 lumbar levels")
    parser.add_argument("--no-pictures", action="store_true", help="draw none")
    parser.add_argument(
        "--accept", nargs="+", default=[], choices=("header-spacing", "hu"), metavar="KEY",
        help="go on in spite of: header-spacing (sform and pixdim give voxels of different size; the sform counts), hu "
        "(grey values are no Hounsfield units)",
    )  # fmt: skip
    parser.add_argument(
        "--score", type=Path, metavar="REFERENCES", help="masks or centroid files to score the results with"
    )
    parser.add_argument(
        "--continue", dest="resume", action="store_true", help="keep what is finished in the folder of results"
    )
    add_batch_options(parser, most=1)
    parser.epilog = (
        "Per case: the label map on the grid of the scan, centroids/, markups/, reports/, pictures/; predict.csv lists "
        "all, those to look at first. A scan without a spine gets an empty label map. Exit code 1 when a scan failed; "
        "the others are done."
    )


def run(args: argparse.Namespace) -> int:
    """Predict; see `nnunet_spine.inference.predict_case`. Exit code 1 if a case failed."""
    from nnunet_spine.inference.predict_files import TABLE_FILE
    from nnunet_spine.inference.scan_files import find_scans
    from nnunet_spine.io.files import remove_left_over
    from nnunet_spine.io.viewer_tables import write_sidecars

    place, out = Path(args.input), Path(args.output)
    found = find_scans(place)
    require_own_folder(args.output, scans=str(place if place.is_dir() else place.parent))
    if args.score is not None and not args.score.exists():
        raise InputError("no such file or folder", "check the path of --score", args.score)
    run_ = run_of(args, "scan", lambda line: print(line, file=sys.stderr))
    segmenter = _segmenter(args, patch_bar=len(found.scans) == 1)

    from nnunet_spine.inference.predict_case import predict_case, predict_store
    from nnunet_spine.inference.predict_report import write_table
    from nnunet_spine.inference.segmenters import opened

    network = opened(segmenter)
    jobs = _jobs(args, found.scans, segmenter, network)
    mine, store = run_.shard.of(jobs), predict_store(out)
    if found.left_out:
        run_.say(f"{counted(len(found.left_out), 'file')} left out as masks, e.g. {found.left_out[0].name}")
    run_.say(_beginning(network, mine))
    if not args.resume:
        for job in mine:
            store.forget(job)
    write_sidecars(out, args.ids)
    outcomes = run_jobs(mine, predict_case, executor=run_.executor, store=store, peak_bytes=peak_bytes_of)
    done: list[PredictRow] = []
    code = 0
    for outcome in run_.progress(outcomes, len(mine)):
        if isinstance(outcome, Failure):
            code = complain(args, [outcome])
            continue
        done.append(outcome.result)
        for remark in () if args.quiet else outcome.result.remarks:
            say_beside_bar(f"{outcome.case}: {remark}")
    for folder in {path.parent for job in mine for path in job.files().values()}:
        remove_left_over(folder)
    known, missing = joined(jobs, store)
    rows = [outcome.result for outcome in known if isinstance(outcome, Done)]
    write_table(out / TABLE_FILE, rows)
    if not args.quiet:
        share = f"{len(done)} of {counted(len(mine), 'scan')}" if len(done) < len(mine) else counted(len(mine), "scan")
        n = sum(len(row.levels) for row in done)
        print(f"{share}, {n} vertebra{'e' * (n != 1)}; {out / TABLE_FILE}")
    if args.score is None:
        return code
    if any(job.case in {m.case for m in missing} for job in jobs if job not in mine):
        print(f"{run_.shard} done; scores wait for the other parts: run again with --continue when they are")
        return code
    predictions = jobs[0].files()["labels"] if place.is_file() else out
    return max(code, _score(args, predictions, place, run_)) if rows else code


def _segmenter(args: argparse.Namespace, *, patch_bar: bool) -> "Segmenter":
    """The model that the options name.

    Raises:
        InputError: they contradict each other, or there is no such model.
    """
    named = {"-c": args.configuration, "-tr": args.trainer, "-p": args.plans}
    if args.dataset is None and (without := next((option for option, value in named.items() if value), None)):
        raise InputError(f"{without} without -d", "name the dataset of the model with -d, or its folder with -m")
    if args.model is not None and args.dataset is not None:
        raise InputError("both -m and -d", "name the model in one way")
    if not 0 < args.step_size <= 1:
        raise InputError(f"-step_size {args.step_size:g}", "give a share of the patch above 0, at most 1")
    from nnunet_spine.inference.single_stage import SingleStage
    from nnunet_spine.inference.trained_models import trained_model

    if args.regions is not None or args.instances is not None:
        return _cascade(args, named)
    model = args.model
    if args.dataset is not None:
        model = trained_model(args.dataset, args.configuration, args.trainer, args.plans)
    workers = choose_workers(args.workers, args.most_workers)
    return SingleStage(
        None if model is None else str(model),
        tuple(args.folds),
        args.checkpoint,
        args.device,
        args.step_size,
        not args.disable_tta,
        max(1, usable_cores() // workers) if workers > 1 else None,
        patch_bar and not args.quiet and sys.stderr.isatty(),
    )


def _cascade(args: argparse.Namespace, named: Mapping[str, str | None]) -> "Segmenter":
    others = {**named, "-m": args.model, "-d": args.dataset, "-f": args.folds, "-chk": args.checkpoint}
    if given := next((option for option, value in others.items() if value), None):
        raise InputError(f"{given} beside --regions and --instances", "these name the models of a cascade, all folds")
    if args.regions is None or args.instances is None:
        raise InputError("a cascade has two stages", "give both --regions and --instances")
    from nnunet_spine.inference.cascade import Cascade

    workers = choose_workers(args.workers, args.most_workers)
    threads = max(1, usable_cores() // workers) if workers > 1 else None
    return Cascade(args.regions, args.instances, args.device, args.step_size, normal=args.normal, threads=threads)


def _jobs(
    args: argparse.Namespace, scans: Mapping[str, Path], segmenter: "Segmenter", network: "OpenSegmenter"
) -> list["PredictCase"]:
    from nnunet_spine.inference.predict_case import PredictCase
    from nnunet_spine.io.images import image_grid
    from nnunet_spine.pictures import case_picture

    def peak(scan: Path) -> float:
        try:
            return network.peak_bytes(*image_grid(scan))
        except InputError:  # which is said when its turn comes
            return 0.0

    draw, out, accept = None if args.no_pictures else case_picture, Path(args.output), tuple(sorted(set(args.accept)))
    return [
        PredictCase(case, scan, out, segmenter, network.settings, network.device, args.ids, args.normal, accept, draw,
                    peak(scan))
        for case, scan in scans.items()
    ]  # fmt: skip


def _beginning(network: "OpenSegmenter", jobs: Sequence["PredictCase"]) -> str:
    """Which model, where, how many scans, and what memory they need."""
    from nnunet_spine.inference.models import NOT_STATED

    who, largest = network.identity, max(jobs, key=lambda job: job.peak, default=None)
    licence = f" ({who['licence']}; research only)" if who["licence"] != NOT_STATED else ""
    memory = f", up to about {(largest.peak + TORCH_BYTES) / 1e9:.1f} GB of memory ({largest.case})" if largest else ""
    return f"model {who['name']}{licence} on {network.device}: {counted(len(jobs), 'scan')}{memory}"


def _score(args: argparse.Namespace, predictions: Path, scans: Path, run_: Run) -> int:
    from nnunet_spine.evaluation import Request, case_table, comparable, evaluate, overview, write_evaluation

    folder = Path(args.output) / "evaluation"
    request = Request((args.score,), images=scans, only_common=True)
    evaluation = evaluate(predictions, request, folder, replace(run_, shard=WHOLE))
    write_evaluation(evaluation, folder)
    if not args.quiet and evaluation.scores:
        print(f"{case_table(evaluation.scores, request.settings, most=CASES_SHOWN)}\n")
    print(overview(comparable([evaluation])[0]))
    return complain(args, evaluation.failures)
