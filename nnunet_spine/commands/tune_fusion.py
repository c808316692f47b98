"""`nnunet-spine tune-fusion -m MODEL -a ATTENTION_MAPS -r REFERENCES`."""

import argparse
import sys
from pathlib import Path

from nnunet_spine.errors import InputError

HELP = "choose the smoothing and threshold of `nnunet-spine fuse` on a validation fold"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m", "--model", required=True, metavar="DIR", help="folder of the segmentation model, with fold_F/validation"
    )
    parser.add_argument("-f", "--fold", default="0", metavar="F", help="fold whose validation cases are used")
    parser.add_argument(
        "-a",
        "--attention",
        required=True,
        metavar="DIR",
        help="maps of these cases: fold_F/validation of the attention model",
    )
    parser.add_argument("-r", "--references", required=True, metavar="DIR", help="reference labels, e.g. labelsTr")
    parser.epilog = (
        "Tries a Gaussian of 4, 8 and 12 mm and thresholds from 0.05 to 0.3, and writes those with the highest mean "
        "Dice of spine against background to fusion.json in the model's folder. Exit code 1 when a case failed."
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from nnunet_spine.commands.fuse import find_cases
    from nnunet_spine.io.files import read_json, read_nifti, write_json
    from nnunet_spine.io.masks import read_mask, require_grid
    from nnunet_spine.spine_map.fusion import best_parameters, score_case

    model, references = Path(args.model), Path(args.references)
    source = model / f"fold_{args.fold}" / "validation"
    cases = find_cases(source, Path(args.attention))
    ignore_label = read_json(model / "dataset.json")["labels"].get("ignore")
    scores, failed = [], 0
    for case, attention in tqdm(cases.items(), unit="case", disable=args.quiet):
        try:
            mask, reference = read_mask(source / f"{case}.nii.gz"), read_mask(references / f"{case}.nii.gz")
            require_grid(reference, mask.labels.shape, mask.affine)
            scored = score_case(
                mask.labels, mask.affine, *read_nifti(attention), reference.labels, ignore_label=ignore_label
            )
        except InputError as error:
            failed += 1
            tqdm.write(f"{case}: {error}", file=sys.stderr)
            continue
        scores.append(scored)
    if not scores:
        raise InputError("no case could be used", "see the lines above", source)
    tuned = best_parameters(scores)
    content = {
        "sigma_mm": tuned.parameters.sigma_mm,
        "threshold": tuned.parameters.threshold,
        "mean_dice": tuned.dice,
        "mean_dice_without_fusion": tuned.dice_without,
        "fold": args.fold,
        "cases": len(scores),
    }
    write_json(model / "fusion.json", content)
    print(
        f"sigma {tuned.parameters.sigma_mm:g} mm, threshold {tuned.parameters.threshold:g}: mean Dice {tuned.dice:.4f} "
        f"on {len(scores)} cases, {tuned.dice_without:.4f} without fusion ({model / 'fusion.json'})"
    )
    if tuned.dice <= tuned.dice_without:
        print("fusion does not improve this model on its validation cases", file=sys.stderr)
    return 1 if failed else 0
