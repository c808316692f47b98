"""`nnunet-spine evaluate -p PRED -g REF -o OUT`."""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.commands.batch import add_batch_options, complain, run_of
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import Failure, counted

if TYPE_CHECKING:
    from nnunet_spine.evaluation import Evaluation

_CASES_SHOWN = 20
HELP = "score predicted label maps against masks or centres: JSON, CSV, Markdown and LaTeX tables"


NUMBERS = (
    "How numbers are made: distances are pooled over the surface voxels of both masks (HD95: see --hd95; ASSD: their "
    "mean), NSD is the share of these voxels within --nsd-tolerance. A missed vertebra counts as 0 in Dice, IoU and "
    "NSD and is left out of distances; means are over reference vertebrae. nnU-Net's summary.json averages labels, "
    "each over the cases that have it in reference or prediction, so its means differ. --metrics prints every "
    "definition."
)


class _ListMetrics(argparse.Action):
    """Print the definition of every metric and stop, as --help does."""

    def __call__(self, parser, *_):
        from nnunet_spine.evaluation import definitions
        from nnunet_spine.scores import Settings

        print("\n\n".join(definitions(Settings())))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine evaluate`."""
    parser.epilog = NUMBERS
    parser.add_argument("--metrics", action=_ListMetrics, nargs=0, help="print how every metric is computed, and stop")
    parser.add_argument(
        "-p", "--predictions", action="append", required=True, metavar="[NAME=]PATH",
        help="label map or folder of label maps; several, each with a name, are compared side by side",
    )  # fmt: skip
    parser.add_argument(
        "-g", "--references", nargs="+", type=Path, default=[], metavar="PATH",
        help="reference masks; or centroid files (ours or VerSe's), which count for cases without a mask",
    )  # fmt: skip
    parser.add_argument(
        "-c",
        "--centroids",
        type=Path,
        metavar="PATH",
        help="centroid files that take the place of the masks' own centres",
    )
    parser.add_argument(
        "-i", "--images", type=Path, metavar="PATH",
        help="CT scans: for pictures and reports, and for voxel numbers of centroid files, which belong to their grids",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--prediction-labels", default="auto", metavar="TABLE",
        help="what label values mean: auto (a dataset.json beside or above the masks, names in their headers, else "
        "their values), nnunet, verse (28 is T13), totalsegmentator (version 2, multi-label file), regions, spine, "
        "or a dataset.json",
    )  # fmt: skip
    parser.add_argument("--reference-labels", default="auto", metavar="TABLE", help="the same for reference masks")
    parser.add_argument(
        "--accept", nargs="+", default=[], choices=["header-spacing", "mask-grid"], metavar="KEY",
        help="score cases in spite of a contradiction: header-spacing (sform and pixdim give voxels of different size; "
        "the sform counts), mask-grid (volumes lie apart, labels overlap voxel for voxel, which counts)",
    )  # fmt: skip
    parser.add_argument("--only-common", action="store_true", help="references without a prediction are no failures")
    parser.add_argument(
        "--grid", choices=("native", "1mm"), default="native", help="the reference's grid, or 1 mm as VerSe's script"
    )
    parser.add_argument(
        "--points-grid", choices=("auto", "prediction"), default="auto",
        help="image that voxel numbers of centroid files belong to where the reference has no masks: the CT given with "
        "-i (auto), or the prediction's grid",
    )  # fmt: skip
    parser.add_argument(
        "--centre", "--center", choices=("mask", "body"), default="mask",
        help="centre of a vertebra: centroid of its mask, or centre of its body (8-15 mm apart)",
    )  # fmt: skip
    parser.add_argument(
        "--groups", type=Path, metavar="CSV", help="columns case,group: groups of cases, e.g. healthy and osteoporotic"
    )
    parser.add_argument(
        "--radius", type=float, default=20.0, metavar="MM", help="largest distance of identified levels"
    )
    parser.add_argument(
        "--hd95", choices=("pooled", "max-directed"), default="pooled",
        help="95th percentile of both surfaces' distances together (MedPy, panoptica), or the larger of the two "
        "percentiles from one surface to the other (MONAI, surface-distance), up to some mm more",
    )  # fmt: skip
    parser.add_argument("--nsd-tolerance", type=float, default=1.0, metavar="MM", help="of the surface Dice (NSD)")
    parser.add_argument(
        "--miss-penalty", type=float, default=1000.0, metavar="MM",
        help="localisation error of a missed vertebra in the mean over all",
    )  # fmt: skip
    parser.add_argument("--bootstrap", type=int, default=2000, metavar="N", help="draws for the 95 %% intervals")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    add_batch_options(parser, most=4)


def run(args: argparse.Namespace) -> int:
    """Evaluate; see `nnunet_spine.evaluation`. Exit code 1 if a case failed."""
    from nnunet_spine.evaluation import (
        Request,
        case_table,
        comparable,
        evaluate,
        overview,
        read_groups,
        write_comparison,
        write_evaluation,
    )
    from nnunet_spine.scores import Settings

    methods = _methods(args.predictions)
    if not args.references and not args.centroids:
        raise InputError("no reference", "give masks or centroid files with -g, or centroid files with -c")
    settings = Settings(
        centre=args.centre,
        identification_radius_mm=args.radius,
        nsd_tolerance_mm=args.nsd_tolerance,
        hd95=args.hd95,
        miss_penalty_mm=args.miss_penalty,
        bootstrap_draws=args.bootstrap,
        bootstrap_seed=args.seed,
    )
    request = Request(
        references=tuple(args.references),
        centroids=args.centroids,
        images=args.images,
        settings=settings,
        prediction_labels=args.prediction_labels,
        reference_labels=args.reference_labels,
        points_grid=args.points_grid,
        grid=args.grid,
        accept=tuple(sorted(set(args.accept))),
        only_common=args.only_common,
        groups=read_groups(args.groups) if args.groups else {},
    )

    run_ = run_of(args, "case", lambda line: print(line, file=sys.stderr))
    done = []
    for name, prediction in methods.items():
        done.append(evaluate(prediction, request, args.output / name if name else args.output, run_, method=name))
    failures = [failure for evaluation in done for failure in _named(evaluation)]
    if missing := sum(len(evaluation.missing) for evaluation in done):
        print(f"{run_.shard} scored; {args.output} waits for {counted(missing, 'case')} of other parts")
        return complain(args, failures)
    for evaluation in done:
        write_evaluation(evaluation, args.output / evaluation.method if evaluation.method else args.output)
    if len(done) > 1:
        write_comparison(done, args.output)
    elif not args.quiet and done[0].scores:
        print(f"{case_table(done[0].scores, settings, most=_CASES_SHOWN)}\n")
    print(overview(comparable(done)[0]))
    code = complain(args, failures)
    run_.say(f"results: {args.output}")
    return code


def _named(evaluation: "Evaluation") -> Iterator[Failure]:
    """Failures, each with the method's name where there are several."""
    for failure in evaluation.failures:
        yield replace(failure, case=f"{evaluation.method}: {failure.case}") if evaluation.method else failure


def _methods(values: list[str]) -> dict[str, Path]:
    """Name -> path; the name is "" for a single unnamed one."""
    methods = {}
    for value in values:
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.+-]*)=(.+)", value)
        name, path = (match[1], match[2]) if match and not Path(value).exists() else ("", value)
        if name in methods:
            raise InputError(f"two predictions {f'called {name}' if name else 'without a name'}", "give -p NAME=PATH")
        methods[name] = Path(path)
    if "" in methods and len(methods) > 1:
        raise InputError("several predictions, one without a name", "give each as -p NAME=PATH")
    return methods
