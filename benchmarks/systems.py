"""Every trainer that predicts labels, and stock nnU-Net, trained equally long on the same phantoms: one table.

    python -m benchmarks.systems -o FOLDER [--minutes-per-system 4] [--only ConvLSTM Hybrid] [--quick]

40 phantoms of lumbar spines, of 3 mm, are drawn, converted, and planned for CPUs (4 mm; each network gets the patch and
batch that fit the same memory, but MobileASPPTrainer whole volumes, for which it is made); each system trains for the
same time, and the test phantoms are predicted and scored. Interrupted, it goes on where it was. Minutes on a CPU show
what a system learns quickly, not what it reaches in the end. AttentionTrainer predicts no labels: see
`benchmarks.ablations`.
"""

import argparse
from pathlib import Path

from benchmarks.study import LABEL_COLUMNS, WHOLE_VOLUME, Contender, Study, label_scores, markdown

ADAM = "Adam_lr1e-3"
SYSTEMS = (
    Contender("nnUNetTrainerNoMirroring (stock)", "nnUNetTrainerNoMirroring", "SpineTrainer"),
    Contender("SpineTrainer", "SpineTrainer", "SpineTrainer"),
    Contender("SpineTrainer, Adam", f"SpineTrainer_{ADAM}", "SpineTrainer"),
    Contender("ConvLSTMTrainer, 2D, Adam", f"ConvLSTMTrainer_{ADAM}", "ConvLSTMTrainer", "2d"),
    Contender("Hybrid2D3DTrainer, Adam", f"Hybrid2D3DTrainer_{ADAM}", "Hybrid2D3DTrainer"),
    Contender("MobileASPPTrainer, Adam", f"MobileASPPTrainer_{ADAM}", "MobileASPPTrainer", planning=WHOLE_VOLUME),
    Contender(
        "GlobalConvTrainer, 8 channels, Adam", f"GlobalConvTrainer_volumes_width8_{ADAM}", "GlobalConvTrainer_width8"
    ),
)
COLUMNS = ("system", *LABEL_COLUMNS, "parameters", "GMACs per patch", "patch", "batch", "steps", "step", "peak memory",
           "voxels/s predicted", "trained")  # fmt: skip


def row(study: Study, system: Contender) -> list[str]:
    """One line of the table."""
    measured = study.run(system)
    return [
        system.name,
        *label_scores(study.scores(system)),
        f"{measured['parameters_m']:.2f} M",
        f"{measured['gmacs_per_patch']:.1f}",
        " x ".join(map(str, measured["patch_size"])),
        str(measured["batch_size"]),
        str(measured["steps"]),
        f"{1e3 * measured['step_seconds']:.0f} ms",
        f"{measured['peak_gib']:.2f} GiB",
        f"{measured['predicted_voxels_per_second']:.3g}",
        f"{measured['trained_minutes']:.1f} min",
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes-per-system", type=float, default=4.0)
    parser.add_argument("--only", nargs="+", default=[""], help="systems whose names contain one of these")
    parser.add_argument("--quick", action="store_true", help="seconds per system on six phantoms, to try it out")
    arguments = parser.parse_args()
    minutes = 0.05 if arguments.quick else arguments.minutes_per_system
    study = Study(arguments.output, minutes, quick=arguments.quick)
    chosen = [system for system in SYSTEMS if any(part in system.name for part in arguments.only)]
    print(markdown(COLUMNS, [row(study, system) for system in chosen]))


if __name__ == "__main__":
    main()
