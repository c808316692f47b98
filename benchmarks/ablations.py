"""What the ingredients of each system contribute: the comparisons of its publication, on phantoms, in minutes per run.

    python -m benchmarks.ablations -o FOLDER [--minutes-per-run 4] [--only flips edge losses fusion] [--quick]

- flips (Hempe & Heinrich): mirroring in training, and the network without pyramid pooling;
- edge (Mita et al.): weight on the boundary x adversarial term, IoU of L2 to L5 on crops of single vertebrae, at 2 mm
  and with 8 channels at the finest level, so that a CPU takes enough steps;
- losses (Wu et al.): loss x number of skips fused by ConvLSTM, Dice of the whole spine against background, as there;
- fusion (Sekuboyina et al.): segmentations with and without attention maps.

Runs are as in `benchmarks.systems`; interrupted, it goes on where it was.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.study import LABEL_COLUMNS, WHOLE_VOLUME, Contender, Study, label_scores, markdown, number
from nnunet_spine.dataset_conversion.vertebra_crops import DEFAULT_LEVELS
from nnunet_spine.io.masks import read_mask

ADAM = "Adam_lr1e-3"
CROPS_AT_2_MM = ("--spacing", "2", "--patch", "32", "56", "48")
LOSSES = ("DiceCE", "Dice", "Tversky", "FocalTversky", "DiceFocalTversky")
SKIPS = (0, 1, 2, 3)


def flips(study: Study) -> str:
    """Hempe & Heinrich: flips, no flips, no ASPP."""
    variants = {"no flips": "", "flips": "_flips", "no flips, no ASPP": "_noaspp"}
    rows = []
    for name, options in variants.items():
        contender = Contender(
            f"MobileASPP, {name}", f"MobileASPPTrainer{options}_{ADAM}", "MobileASPPTrainer", planning=WHOLE_VOLUME
        )
        study.run(contender)
        rows.append([name, *label_scores(study.scores(contender))])
    return markdown(("MobileASPPTrainer", *LABEL_COLUMNS), rows)


def edge(study: Study) -> str:
    """Mita et al.: edge weight x adversarial term; mean IoU of each lumbar level."""
    rows = []
    for edges, loss in {"edge weight": "DiceEdgeCE", "no edge weight": "DiceCE"}.items():
        for term, option in {"adversarial": "", "not adversarial": "_noadversarial"}.items():
            contender = Contender(
                f"GlobalConv, {edges}, {term}",
                f"GlobalConvTrainer_width8_{loss}{option}_{ADAM}",
                "GlobalConvTrainer_width8",
                dataset=720,
                planning=CROPS_AT_2_MM,
            )
            steps = study.run(contender)["steps"]
            levels = iou_by_level(study.predictions(contender), study.images(contender, "labels"))
            rows.append([f"{edges}, {term}", *(number(levels.get(level)) for level in DEFAULT_LEVELS), str(steps)])
    return markdown(("GlobalConvTrainer", *(f"IoU {level}" for level in DEFAULT_LEVELS), "steps"), rows)


def iou_by_level(predictions: Path, references: Path) -> dict[str, float]:
    """Mean intersection over union of the crops of each level; crops are named CASE_LEVEL."""
    values: dict[str, list[float]] = {}
    for path in sorted(references.glob("*.nii.gz")):
        truth, found = read_mask(path).labels > 0, read_mask(predictions / path.name).labels > 0
        level = path.name.removesuffix(".nii.gz").rsplit("_", 1)[1]
        union = (truth | found).sum()
        values.setdefault(level, []).append(float((truth & found).sum() / union) if union else 1.0)
    return {level: float(np.mean(ious)) for level, ious in values.items()}


def binary_dice(predictions: Path, references: Path) -> float:
    """Mean Dice of foreground against background over the references."""
    values = []
    for path in sorted(references.glob("*.nii.gz")):
        truth, found = read_mask(path).labels > 0, read_mask(predictions / path.name).labels > 0
        values.append(2 * (truth & found).sum() / (truth.sum() + found.sum()))
    return float(np.mean(values))


def losses(study: Study) -> str:
    """Wu et al.: loss x number of ConvLSTM skips; mean Dice of the whole spine."""
    rows = []
    for loss in LOSSES:
        cells = []
        for n in SKIPS:
            recipe = f"ConvLSTMTrainer_{loss}_skips{n}_{ADAM}"
            contender = Contender(f"ConvLSTM, {loss}, {n} skips", recipe, "ConvLSTMTrainer", "2d", dataset=712)
            study.run(contender)
            cells.append(number(binary_dice(study.predictions(contender), study.images(contender, "labels"))))
        rows.append([loss, *cells])
    return markdown(("Dice of the spine", *(f"{n} skips" for n in SKIPS)), rows)


def fusion(study: Study) -> str:
    """Sekuboyina et al.: the same segmentations as they are, and cleaned by attention maps."""
    segmenting = Contender("Hybrid2D3D", f"Hybrid2D3DTrainer_{ADAM}", "Hybrid2D3DTrainer")
    attending = Contender("Attention", f"AttentionTrainer_{ADAM}", "AttentionTrainer")
    study.run(segmenting)
    study.run(attending)
    maps, fused = (study.folder / "runs" / attending.slug / name for name in ("maps", "fused"))
    scans, model = str(study.images(attending)), str(study.model(attending))
    study.once("attention_maps", "nnunet-spine", "spine-map", "-i", scans, "-o", str(maps), "-m", model)
    inputs = ("-i", str(study.predictions(segmenting)), "-a", str(maps))
    study.once("fuse", "nnunet-spine", "fuse", *inputs, "-o", str(fused))
    rows = [
        ["without fusion", *label_scores(study.scores(segmenting))],
        ["fusion with attention maps", *label_scores(study.scores(segmenting, fused, "_fused"))],
    ]
    return markdown(("Hybrid2D3DTrainer", *LABEL_COLUMNS), rows)


ABLATIONS: dict[str, Callable[[Study], str]] = {"flips": flips, "edge": edge, "losses": losses, "fusion": fusion}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes-per-run", type=float, default=4.0)
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    parser.add_argument("--quick", action="store_true", help="seconds per run on six phantoms, to try it out")
    arguments = parser.parse_args()
    study = Study(arguments.output, 0.05 if arguments.quick else arguments.minutes_per_run, quick=arguments.quick)
    for name in arguments.only:
        print(f"\n{name}\n\n{ABLATIONS[name](study)}", flush=True)


if __name__ == "__main__":
    main()
