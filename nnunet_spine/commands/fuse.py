"""`nnunet-spine fuse -i SEGMENTATIONS -a ATTENTION_MAPS -o OUT`."""

import argparse
import sys
from pathlib import Path

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
    parser.epilog = (
        "Maps are smoothed with the Gaussian and cut at the threshold. Where this would remove more than 60 % of a "
        "segmentation's foreground, it is copied as it is, with a warning. Exit code 1 when a case failed."
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from nnunet_spine.io.files import read_nifti, write_nifti
    from nnunet_spine.io.masks import read_mask
    from nnunet_spine.spine_map.fusion import fuse

    parameters = _parameters(args)
    source, maps, target = Path(args.input), Path(args.attention), Path(args.output)
    cases = find_cases(source, maps)
    if target.resolve() == source.resolve():
        raise InputError("is the input folder", "choose another folder with -o", target)
    failed = 0
    for case, attention in tqdm(cases.items(), unit="case", disable=args.quiet):
        try:
            mask = read_mask(source / f"{case}.nii.gz")
            fused = fuse(mask.labels, mask.affine, *read_nifti(attention), parameters)
            write_nifti(target / f"{case}.nii.gz", fused.segmentation, mask.affine)
        except InputError as error:
            failed += 1
            tqdm.write(f"{case}: {error}", file=sys.stderr)
            continue
        if mask.repair:
            tqdm.write(f"{case}: {mask.repair}", file=sys.stderr)
        if fused.skipped:
            remark = f"{fused.outside:.0%} of the foreground lies outside the map: left as it is"
            tqdm.write(f"{case}: {remark}", file=sys.stderr)
    if not args.quiet:
        used = f"sigma {parameters.sigma_mm:g} mm, threshold {parameters.threshold:g}"
        print(f"{len(cases) - failed} of {len(cases)} cases in {target} ({used})")
    return 1 if failed else 0


def find_cases(segmentations: Path, maps: Path) -> dict[str, Path]:
    """Cases with a segmentation, and where their maps are or should be.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    from nnunet_spine.spine_map.fusion import MAP_SUFFIX

    for folder in (segmentations, maps):
        if not folder.is_dir():
            raise InputError("no such folder", "check the path", folder)
    names = sorted(f.name for f in segmentations.glob("*.nii.gz") if f.name[0] != "." and MAP_SUFFIX not in f.name)
    if not names:
        raise InputError("no segmentations (*.nii.gz)", "check the path", segmentations)
    cases = [name.removesuffix(".nii.gz") for name in names]
    return {case: maps / f"{case}{MAP_SUFFIX}" for case in cases}


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
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(error), path=args.parameters) from error
