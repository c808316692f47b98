"""`nnunet-spine tune-fusion -m MODEL -a ATTENTION_MAPS -r REFERENCES`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from nnunet_spine.commands.batch import add_batch_options, run_batch
from nnunet_spine.errors import InputError
from nnunet_spine.jobs import counted

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
    add_batch_options(parser, most=1, parts=False)
    parser.epilog = (
        "Tries a Gaussian of 4, 8 and 12 mm and thresholds from 0.05 to 0.3, and writes those with the highest mean "
        "Dice of spine against background to fusion.json in the model's folder. Exit code 1 when a case failed."
    )


def run(args: argparse.Namespace) -> int:
    """Choose; see `nnunet_spine.spine_map.fusion.best_parameters`."""
    from nnunet_spine.inference.fusion_files import find_cases, score_fusion
    from nnunet_spine.inference.model_folders import require_folder
    from nnunet_spine.io.files import read_json, write_json
    from nnunet_spine.spine_map.fusion import best_parameters

    model, references = Path(args.model), Path(args.references)
    require_folder(model)
    source = model / f"fold_{args.fold}" / "validation"
    ignore_label = read_json(model / "dataset.json")["labels"].get("ignore")
    jobs = [
        replace(case, reference=references / f"{case.case}.nii.gz", ignore_label=ignore_label)
        for case in find_cases(source, Path(args.attention))
    ]
    batch = run_batch(args, jobs, score_fusion, unit="case")
    scores = list(batch.results.values())
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
        f"on {counted(len(scores), 'case')}, {tuned.dice_without:.4f} without fusion ({model / 'fusion.json'})"
    )
    if tuned.dice <= tuned.dice_without:
        print("fusion does not improve this model on its validation cases", file=sys.stderr)
    return batch.code
