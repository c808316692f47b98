"""`nnunet-spine fuse -i SEGMENTATIONS -a ATTENTION_MAPS -o OUT`."""

import argparse
from dataclasses import replace
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, require_own_folder, run_batch
from nnunet_spine.errors import InputError

HELP = "remove what segmentations found away from the spine, by attention maps"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", required=True, metavar="DIR", help="segmentations of any trainer, *.nii.gz")
    parser.add_argument(
        "-a", "--attention", required=True, metavar="DIR", help="maps that `nnunet-spine spine-map` wrote"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--sigma", type=float, metavar="MM", help="standard deviation of the Gaussian, in mm; unset: 8")
    parser.add_argument("--threshold", type=float, metavar="T", help="spine fraction from which to keep; unset: 0.15")
    parser.add_argument("--parameters", metavar="FILE", help="fusion.json of `nnunet-spine tune-fusion` instead")
    add_batch_options(parser, most=1)
    parser.epilog = (
        "Maps are smoothed with the Gaussian and cut at the threshold. Where this would remove more than 60 % of a "
        "segmentation's foreground, it is copied as it is, with a warning. Exit code 1 when a case failed."
    )


def run(args: argparse.Namespace) -> int:
    """Fuse; see `nnunet_spine.spine_map.fusion.fuse`."""
    from nnunet_spine.inference.fusion_files import find_cases, fuse_case

    parameters = _parameters(args)
    cases = find_cases(Path(args.input), Path(args.attention))
    require_own_folder(args.output, segmentations=args.input, maps=args.attention)
    jobs = [replace(c, target=Path(args.output) / f"{c.case}.nii.gz", parameters=parameters) for c in cases]
    batch = run_batch(args, jobs, fuse_case, unit="case", remarks=lambda remarks: remarks)
    if not args.quiet:
        used = f"sigma {parameters.sigma_mm:g} mm, threshold {parameters.threshold:g}"
        print(f"{batch.share('case')} in {args.output} ({used})")
    return batch.code


def _parameters(args: argparse.Namespace):
    from nnunet_spine.io.files import read_json
    from nnunet_spine.spine_map.fusion import FusionParameters

    given = {"sigma_mm": args.sigma, "threshold": args.threshold}
    given = {name: value for name, value in given.items() if value is not None}
    if args.parameters and given:
        raise InputError("--parameters together with --sigma or --threshold", "give one of them")
    try:
        if args.parameters:
            content = read_json(args.parameters)
            return FusionParameters(content["sigma_mm"], content["threshold"])
        return FusionParameters(**given)
    except (KeyError, TypeError) as error:
        raise InputError("no fusion parameters", "give a file of tune-fusion", args.parameters) from error
