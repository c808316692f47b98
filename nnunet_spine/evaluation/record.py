"""evaluation.json: everything that was computed, for reports and for reading back."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine import __version__, geometry
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.case_job import score_to_dict
from nnunet_spine.evaluation.grids import GRID_TOLERANCE_MM, match, read_label_map
from nnunet_spine.evaluation.pairing import CaseFiles
from nnunet_spine.io import itk
from nnunet_spine.io.files import read_json, write_json
from nnunet_spine.io.label_ids import KNOWN, LabelTable
from nnunet_spine.io.nifti import read_nifti
from nnunet_spine.jobs import Contents, Failure
from nnunet_spine.plausibility import KEYS
from nnunet_spine.scores import (
    CENTRE_DEFINITIONS,
    CaseScore,
    CohortSummary,
    Metric,
    Settings,
    metrics,
    summarise_cohort,
)

VERSION = 3
FILE_NAME = "evaluation.json"
IDENTIFICATION = (
    "VerSe's script: the predicted centre lies within the radius of the reference centre of the same level, and no "
    "nearer to that of another level which was predicted too; 'glocker' (Glocker et al. 2012): of any other level"
)


@dataclass(frozen=True)
class Evaluation:
    """One method, scored.

    Attributes:
        method: its name, "" where there is only one.
        files, scores: of the cases done, in the same order.
        failures: cases without scores.
        settings: of the scores.
        tables: of prediction and reference.
        kind: of dataset that both were brought to.
        grid: "native" or "1mm".
        summary: of `scores`.
        groups: case -> its groups of cases, where the user named some.
        contents: case -> name of a file that was scored -> what it held.
        missing: cases that other parts of the run have not done yet; nothing is written before they have.
    """

    method: str
    files: tuple[CaseFiles, ...]
    scores: tuple[CaseScore, ...]
    failures: tuple[Failure, ...]
    settings: Settings
    tables: tuple[LabelTable, LabelTable]
    kind: str
    grid: str
    summary: CohortSummary
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contents: Mapping[str, Mapping[str, Contents | None]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def group_summaries(evaluation: Evaluation, scores: Sequence[CaseScore] | None = None) -> dict[str, CohortSummary]:
    """Group of cases that the user named -> summary over its cases, or over those of them among `scores`."""
    members: dict[str, list[CaseScore]] = {}
    for score in evaluation.scores if scores is None else scores:
        for group in evaluation.groups.get(score.case, ()):
            members.setdefault(group, []).append(score)
    return {group: summarise_cohort(found, evaluation.settings) for group, found in sorted(members.items())}


def write_record(evaluation: Evaluation, folder: Path) -> Path:
    """Write evaluation.json into a folder; paths in it are relative to the folder."""
    path = folder / FILE_NAME
    write_json(path, to_dict(evaluation, folder))
    return path


def to_dict(evaluation: Evaluation, folder: Path) -> dict:
    """Content of evaluation.json: plain dicts, lists, numbers and None."""
    settings = evaluation.settings
    cases = [
        _entry(files, score, settings, folder) for files, score in zip(evaluation.files, evaluation.scores, strict=True)
    ]
    failures = [
        {"case": f.case, "path": _relative(f.path, folder) if f.path else "", "message": f.message}
        for f in evaluation.failures
    ]
    return {
        "version": VERSION,
        "software": f"nnunet-spine {__version__}",
        "method": evaluation.method,
        "settings": settings_to_dict(evaluation, folder),
        "label_tables": [table.to_dict() for table in evaluation.tables],
        "metrics": [metric_to_dict(metric, settings) for metric in metrics.METRICS],
        "summary": evaluation.summary.to_dict(),
        "groups": {group: summary.to_dict() for group, summary in group_summaries(evaluation).items()},
        "cases": [
            {
                **case,
                "groups": evaluation.groups.get(case["case"], ()),
                "contents": _contents(evaluation.contents.get(case["case"], {})),
            }
            for case in cases
        ],
        "failures": failures,
    }


def _entry(files: CaseFiles, score: CaseScore, settings: Settings, folder: Path) -> dict:
    content = score_to_dict(score)
    for vertebra, v in zip(content["vertebrae"], score.vertebrae, strict=True):
        vertebra |= {"missed": v.missed, "misnamed": v.misnamed}
    counts = ("n_reference", "n_predicted", "n_identified", "suspicion")
    return {
        "case": score.case,
        "prediction": _relative(files.prediction, folder),
        "reference_mask": _relative(files.mask, folder),
        "reference_centroids": _relative(files.points, folder),
        "image": _relative(files.image, folder),
        **score.scan_values(settings),
        **{name: getattr(score, name) for name in counts},
        "missed": list(score.missed),
        "misnamed": list(score.misnamed),
        **{name: content[name] for name in ("kind", "shift", "surplus", "notes", "vertebrae")},
    }


def settings_to_dict(evaluation: Evaluation, folder: Path) -> dict:
    """Every choice that the numbers depend on."""
    settings = evaluation.settings
    prediction_labels, reference_labels = (_table_name(table.name, folder) for table in evaluation.tables)
    return {
        **asdict(settings),
        "centre": CENTRE_DEFINITIONS[settings.centre],
        "centre_kind": settings.centre,
        "identification": IDENTIFICATION,
        "grid": evaluation.grid,
        "kind": evaluation.kind,
        "prediction_labels": prediction_labels,
        "reference_labels": reference_labels,
    }


def metric_to_dict(metric: Metric, settings: Settings) -> dict:
    """A metric's declaration as plain values, for files and pages."""
    names = ("key", "title", "level", "topic", "needs", "unit", "better", "decimals", "yes_no", "mean_key", "mark",
             "headline", "is_share", "paired")  # fmt: skip
    return {
        **{name: getattr(metric, name) for name in names},
        "missed_as": metric.missed_as(settings),
        "definition": metric.explain(settings),
    }


def _contents(inputs: Mapping[str, Contents | None]) -> dict[str, dict]:
    """What the files held that were scored, so that whoever shows them later knows whether they still do."""
    return {name: asdict(held) for name, held in inputs.items() if held}


def _table_name(name: str, folder: Path) -> str:
    return name if name in KNOWN else _relative(name, folder)


def _relative(path: str | Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    try:
        return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return str(Path(path).resolve())


def load(path: str | Path) -> dict:
    """Content of evaluation.json.

    Args:
        path: the file, or its folder.

    Raises:
        InputError: missing, unreadable, of another version, or something else.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.exists() and (below := sorted(found.parent.name for found in path.parent.glob(f"*/{FILE_NAME}"))):
        raise InputError(f"no {FILE_NAME} in it, but in {', '.join(below)} below", "give one of these", path.parent)
    content = read_json(path)
    if not isinstance(content, dict) or not {"version", "settings", "metrics", "summary", "cases"} <= content.keys():
        raise InputError("not a result of `nnunet-spine evaluate`", "give its evaluation.json", path)
    if content["version"] != VERSION:
        raise InputError(f"version {content['version']} of the file format; expected {VERSION}", "evaluate again", path)
    for case in content["cases"]:
        case["label_tables"] = content["label_tables"]
    return content


@dataclass(frozen=True)
class CaseArrays:
    """The volumes of one case on one grid: the reference's, or the prediction's where the reference has no mask.

    Attributes:
        image: float or integer HU, None where no image was recorded.
        prediction: uint8 nnU-Net ids.
        reference: the same, or None.
        affine: voxel index -> RAS mm.
    """

    image: np.ndarray | None
    prediction: np.ndarray
    reference: np.ndarray | None
    affine: np.ndarray


def read_case(entry: Mapping[str, object], base: str | Path) -> CaseArrays:
    """The volumes of an entry of evaluation.json's `cases`.

    Args:
        base: folder of evaluation.json.

    Raises:
        InputError: a file is gone or has become unusable.
    """
    base = Path(base).resolve()
    tables, kind = [LabelTable.from_dict(table) for table in entry["label_tables"]], entry["kind"]
    target = prediction = read_label_map(base / entry["prediction"], tables[0], "prediction", kind, KEYS)
    reference = None
    if entry["reference_mask"]:
        target = read_label_map(base / entry["reference_mask"], tables[1], "reference", kind, KEYS)
        reference = target.labels
        prediction = match(prediction, target, KEYS)
    image = read_image_on(base / entry["image"], target.labels.shape, target.affine) if entry["image"] else None
    return CaseArrays(image, prediction.labels, reference, target.affine)


def read_image_on(path: str | Path, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """A CT on a grid: as it is where it lies there within 0.1 mm, else resampled linearly, air outside.

    Raises:
        InputError: unreadable.
    """
    if itk.is_itk_name(path):
        volume = itk.read_itk(path)
        image, own = volume.array, volume.affine
    else:
        image, own = read_nifti(path)
    if image.shape == tuple(shape) and geometry.corner_distance_mm(shape, own, affine) <= GRID_TOLERANCE_MM:
        return image
    return geometry.resample_linear(image, own, tuple(shape), affine, outside=-1024.0)
