"""`nnunet-spine deviation -p MASKS -r SURFACES -o OUT`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.commands.batch import add_batch_options, counted, require_own_folder, run_batch
from nnunet_spine.errors import InputError

if TYPE_CHECKING:
    from nnunet_spine.evaluation.deviation import DeviationCase, DeviationRow

HELP = "distance of predicted vertebrae to reference surfaces (STL, PLY), with pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nnunet-spine deviation`."""
    parser.add_argument("-p", "--predictions", required=True, metavar="MASKS", help="a mask, or a folder with masks")
    parser.add_argument(
        "-r", "--references", required=True, metavar="SURFACES",
        help="a surface in mm (STL or PLY, binary or text), or a folder with surfaces CASE.stl or CASE_L3.stl",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the table and the pictures")
    parser.add_argument(
        "--level", metavar="LEVEL", help="which vertebra, e.g. L3; unset: as the surface's name says, or the only label"
    )
    parser.add_argument(
        "--frame", choices=("auto", "ras", "lps"), default="auto",
        help="of the surface's coordinates; auto: the one in which it lies on the prediction, else it stops",
    )  # fmt: skip
    parser.add_argument(
        "--labels", default="auto", metavar="TABLE",
        help="what the masks' values mean: nnunet, verse, totalsegmentator, a dataset.json, `instances` (numbers that "
        "are no names), or auto: as the files and what lies beside them say",
    )  # fmt: skip
    parser.add_argument(
        "--range", dest="range_mm", type=float, default=5.0, metavar="MM", help="deviation of the full colours"
    )
    add_batch_options(parser)
    parser.epilog = (
        "deviation.csv lists for each vertebra the mean and SD of the signed distance from the prediction's surface to "
        "the reference (inside is negative), the mean, the largest and the 95th percentile of its size, weighted by "
        "area; CASE.png shows it: blue inside, red outside, as in the report. The distance runs one way: what is "
        "missing from the prediction does not count. Needs pip install 'nnunet-spine[surfaces]'. Exit code 1 when a "
        "vertebra failed."
    )


def run(args: argparse.Namespace) -> int:
    """Measure and draw; see `nnunet_spine.deviation`."""
    if not args.range_mm > 0:
        raise InputError(f"--range {args.range_mm:g}", "give a deviation above 0 mm")
    level = (args.level or "").upper()
    if level and level not in BY_NAME:
        raise InputError(f"--level {args.level}", "give one of C1 to C7, T1 to T13, L1 to L6")
    from nnunet_spine.evaluation.deviation import write_table
    from nnunet_spine.io.given_masks import masks_in, table_for
    from nnunet_spine.io.surfaces import require_libraries

    require_libraries()
    masks, out = masks_in(args.predictions), Path(args.output)
    surfaces = _surfaces_in(Path(args.references))
    require_own_folder(args.output, masks=str(masks[0].parent), surfaces=str(surfaces[0].parent))
    pairs = _pairs(masks, surfaces, level, alone=Path(args.references).is_file())
    table = table_for([mask for mask, _, _ in pairs], args.labels)
    jobs = _jobs(pairs, args.frame, table.to_dict() if table else None)
    batch = run_batch(args, jobs, _Work(out, args.range_mm), unit="vertebra", remarks=lambda row: row.remarks)
    rows = list(batch.results.values())
    if not rows:
        return batch.code
    part = f"_part{args.part_id}" if args.num_parts > 1 else ""
    table_file = out / f"deviation{part}.csv"
    write_table(table_file, rows)
    for row in rows:
        print(
            f"{row.case}: {row.mean_mm:+.2f} ± {row.sd_mm:.2f} mm, largest {row.max_mm:.2f} mm, 95 % within "
            f"{row.hd95_mm:.2f} mm ({row.surface} in {row.frame.upper()})"
        )
    if not args.quiet:
        print(f"{counted(len(rows), 'row')} in {table_file}")
    return batch.code


class _Work:
    """Measures a vertebra and draws it; can be pickled."""

    def __init__(self, out: Path, range_mm: float):
        self.out, self.range_mm = out, range_mm

    def __call__(self, case: "DeviationCase") -> "DeviationRow":
        from nnunet_spine.evaluation.deviation import measure_deviation
        from nnunet_spine.pictures.deviation import deviation_picture

        row, mesh = measure_deviation(case)
        title = f"{case.case}: {row.mean_mm:+.2f} ± {row.sd_mm:.2f} mm, largest {row.max_mm:.2f} mm"
        deviation_picture(mesh, self.out / f"{case.case}.png", range_mm=self.range_mm, title=title)
        return row


def _surfaces_in(place: Path) -> list[Path]:
    from nnunet_spine.io.surfaces import ENDINGS

    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError("no such file or folder", "check the path", place)
    found = sorted(p for p in place.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith("."))
    if not found:
        raise InputError("no surface (.stl, .ply)", "give the folder with the surfaces", place)
    return found


def _pairs(masks: list[Path], surfaces: list[Path], level: str, *, alone: bool) -> list[tuple[Path, Path, str]]:
    """Mask, surface and level of each vertebra: names have to fit, except where one file of each is given.

    Raises:
        InputError: a surface without a mask, two masks of a case, or levels that contradict each other.
    """
    from nnunet_spine.io.masks import case_name

    cases: dict[str, Path] = {}
    for mask in masks:
        if case_name(mask) in cases:
            raise InputError(f"two masks of the case {case_name(mask)}", "keep one of them", mask)
        cases[case_name(mask)] = mask
    pairs = []
    for surface in surfaces:
        stem, _, ending = surface.stem.rpartition("_")
        named = ending.upper() if stem and ending.upper() in BY_NAME else ""
        if level and named and level != named:
            if alone:
                raise InputError(f"its name says {named}, --level says {level}", "correct one of them", surface)
            continue  # --level picks from a folder
        case = next((name for name in (surface.stem, stem) if name in cases), None)
        if case is None and alone and len(masks) == 1:
            case = case_name(masks[0])
        if case is None:
            raise InputError("no mask with its name", "name surfaces CASE.stl or CASE_L3.stl after the masks", surface)
        pairs.append((cases[case], surface, level or ("" if case == surface.stem else named)))
    if not pairs:
        raise InputError(f"no surface of {level}", "check --level", surfaces[0].parent)
    return pairs


def _jobs(pairs: list[tuple[Path, Path, str]], frame: str, table: dict | None) -> "list[DeviationCase]":
    from nnunet_spine.evaluation.deviation import DeviationCase
    from nnunet_spine.io.masks import case_name

    jobs: dict[str, DeviationCase] = {}
    for mask, surface, level in pairs:
        name = f"{case_name(mask)}_{level}" if level else case_name(mask)
        if name in jobs:
            raise InputError(f"two surfaces of {name}: {jobs[name].surface.name} and this", "keep one of them", surface)
        jobs[name] = DeviationCase(name, mask, surface, level, frame, table)
    return list(jobs.values())
