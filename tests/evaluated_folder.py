"""A small evaluated cohort on disk: volumes of blocks with errors made on purpose, and their evaluation.json."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scripted_errors import rename

from nnunet_spine.anatomy import BY_NAME
from nnunet_spine.evaluation import Request, evaluate, write_record
from nnunet_spine.geometry import to_world
from nnunet_spine.io.files import write_json
from nnunet_spine.io.nifti import write_nifti
from nnunet_spine.jobs import Run

LEVELS = ("T10", "T11", "T12", "L1", "L2", "L3", "L4")
AFFINE = np.array([[3.0, 0, 0, -40], [0, 3, 0, -40], [0, 0, 3, -120], [0, 0, 0, 1]])
NASTY = "<img src=x onerror=hacked()>"


@dataclass(frozen=True)
class EvaluatedFolder:
    """Where everything is; `images` and `predictions` hold NAME_0000.nii.gz and NAME.nii.gz."""

    root: Path

    @property
    def evaluation(self) -> Path:
        return self.root / "scores" / "evaluation.json"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"


def blocks() -> np.ndarray:
    """Seven bodies with a process each, from the top; 28 x 28 x 80 voxels of 3 mm."""
    labels = np.zeros((28, 28, 80), np.uint8)
    for i, name in enumerate(LEVELS):
        top = 76 - 10 * i
        labels[9:19, 12:22, top - 7 : top] = BY_NAME[name].nnunet_id
        labels[13:15, 5:12, top - 5 : top - 2] = BY_NAME[name].nnunet_id
    return labels


def evaluated_folder(root: Path) -> EvaluatedFolder:
    """Cases: perfect, shifted by one, L2 missed (no CT), one with an unkind name and a thin L4, one whose reference
    has centres only, and a reference without a prediction."""
    truth = blocks()
    thin = truth.copy()
    thin[9:15][truth[9:15] == BY_NAME["L4"].nnunet_id] = 0
    predictions = {
        "perfect": truth,
        "shifted": rename(truth, dict(zip(LEVELS, (*LEVELS[1:], "L5"), strict=True))),
        "missed": rename(truth, {"L2": None}),
        NASTY: thin,
        "points": truth,
    }
    rng = np.random.default_rng(0)
    for case, labels in predictions.items():
        write_nifti(root / "predictions" / f"{case}.nii.gz", labels, AFFINE)
        if case != "points":
            write_nifti(root / "references" / f"{case}.nii.gz", truth, AFFINE)
        if case != "missed":
            hu = (rng.normal(0, 40, truth.shape) + 500 * (truth > 0)).astype(np.int16)
            write_nifti(root / "images" / f"{case}_0000.nii.gz", hu, AFFINE)
    write_nifti(root / "references" / "forgotten.nii.gz", truth, AFFINE)
    centres = {
        name: to_world(AFFINE, np.argwhere(truth == BY_NAME[name].nnunet_id).mean(0)).tolist() for name in LEVELS
    }
    vertebrae = [{"name": name, "mask_centroid_mm": xyz, "body_centre_mm": xyz} for name, xyz in centres.items()]
    write_json(root / "references" / "points.json", {"frame": "RAS mm", "vertebrae": vertebrae})
    return EvaluatedFolder(root)


def evaluate_folder(folder: EvaluatedFolder) -> EvaluatedFolder:
    """Write evaluation.json."""
    request = Request((folder.root / "references",), images=folder.images)
    run = Run(say=lambda text: None)
    write_record(evaluate(folder.predictions, request, folder.evaluation.parent, run), folder.evaluation.parent)
    return folder
