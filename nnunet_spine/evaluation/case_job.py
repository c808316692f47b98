"""Scoring of one case from its files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from nnunet_spine import __version__
from nnunet_spine.anatomy import BY_NNUNET_ID, sort_cranio_caudal
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.grids import LabelMap, isotropic_grid, read_label_map, to_grid, volume_center
from nnunet_spine.evaluation.pairing import CaseFiles
from nnunet_spine.evaluation.points import ReferencePoints, read_points
from nnunet_spine.io.label_ids import LabelTable, present_values
from nnunet_spine.io.masks import voxels_in, with_data_files
from nnunet_spine.jobs import Store
from nnunet_spine.scores import (
    CaseScore,
    Metric,
    Settings,
    SurplusVertebra,
    VertebraScore,
    metrics,
    score_case,
    score_centers,
)

FORMAT = 2
"""Raise when the same files and settings give other scores: finished cases of an older version are then done again."""

_BYTES_PER_VOXEL = 4  # both label maps, what is labelled in them, and distances of one vertebra; 2.5 measured
_OF_COHORT = ("miss_penalty_mm", "bootstrap_draws", "bootstrap_seed")


@dataclass(frozen=True)
class CaseJob:
    """One case to score; picklable.

    Attributes:
        files: what belongs to it.
        settings: of the scores.
        prediction_labels, reference_labels: what mask values mean.
        grid: "native" (the reference's) or "1mm" (isotropic, as VerSe's script).
    """

    files: CaseFiles
    settings: Settings
    prediction_labels: LabelTable
    reference_labels: LabelTable
    grid: str = "native"

    @property
    def case(self) -> str:
        return self.files.case

    def inputs(self) -> dict[str, Path]:
        """The files that are scored, by their keys in evaluation.json."""
        masks = with_data_files({"prediction": self.files.prediction, "reference_mask": self.files.mask})
        return masks | ({"reference_centroids": self.files.points} if self.files.points else {})

    def parameters(self) -> object:
        """What the case's scores depend on beside its files."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in _OF_COHORT}
        tables = [[sorted(t.levels.items()), sorted(t.others)] for t in (self.prediction_labels, self.reference_labels)]
        return [__version__, FORMAT, settings, tables, self.grid, [metric.key for metric in metrics.METRICS]]

    def peak_bytes(self) -> float:
        """Memory that scoring takes, at most."""
        return float(_BYTES_PER_VOXEL * max(map(voxels_in, self.inputs().values())))

    def run(self) -> CaseScore:
        """Read, match grids and score.

        Raises:
            InputError: a file is unusable, the reference is empty, or the two sides lie in different worlds.
        """
        prediction = read_label_map(self.files.prediction, self.prediction_labels, "prediction")
        if self.files.mask is None:
            return self._score_points(prediction)
        reference = read_label_map(self.files.mask, self.reference_labels, "reference")
        if not reference.labels.any():
            raise InputError("the reference mask holds no vertebra", "leave the case out, or check it", self.files.mask)
        given, notes = self._given_centers(reference)
        if self.grid == "1mm":
            shape, affine = isotropic_grid(reference.labels.shape, reference.affine, 1.0)
            reference = to_grid(reference, shape, affine, "reference")
        prediction = self._matched(prediction, reference.labels.shape, reference.affine)
        return score_case(
            prediction.labels,
            reference.labels,
            reference.affine,
            case=self.case,
            settings=self.settings,
            reference_centers_mm=given,
            notes=(*reference.notes, *prediction.notes, *notes, *_emptiness(prediction)),
        )

    def _score_points(self, prediction: LabelMap) -> CaseScore:
        points = read_points(self.files.points, prediction.labels, prediction.affine, levels_are_right=False)
        centers = points.by_kind.get(self.settings.center)
        if centers is None:
            (kind,) = points.by_kind
            raise InputError(f"its points are of another kind than asked for ({_NAMES[kind]})", f"use --center {kind}",
                             self.files.points)  # fmt: skip
        notes = ["reference has centres only"]
        if self.grid == "1mm":
            prediction = to_grid(prediction, *isotropic_grid(prediction.labels.shape, prediction.affine, 1.0))
        return score_centers(
            prediction.labels,
            prediction.affine,
            centers,
            case=self.case,
            settings=self.settings,
            notes=(*prediction.notes, *notes, *_emptiness(prediction)),
        )

    def _matched(self, prediction: LabelMap, shape: tuple[int, ...], affine: np.ndarray) -> LabelMap:
        try:
            return to_grid(prediction, shape, affine)
        except InputError as error:
            own, wanted = volume_center(prediction.labels.shape, prediction.affine), volume_center(shape, affine)
            where = f"volumes centred at {_point(own)} and {_point(wanted)} mm"
            raise InputError(f"{error.found} ({where})", error.cure, self.files.prediction) from None

    def _given_centers(self, reference: LabelMap) -> tuple[dict[int, np.ndarray] | None, list[str]]:
        if self.files.points is None:
            return None, []
        points: ReferencePoints = read_points(
            self.files.points, reference.labels, reference.affine, levels_are_right=True
        )
        centers = points.by_kind.get(self.settings.center)
        if centers is None:
            (kind,) = points.by_kind
            return None, [f"centroid file not used: {_NAMES[kind]}; --center {kind} uses them"]
        marked, seen = set(centers), present_values(reference.labels)
        notes = [
            f"reference {what}: {' '.join(sort_cranio_caudal(BY_NNUNET_ID[i].name for i in levels))}"
            for what, levels in (("centre without mask", marked - seen), ("mask without centre", seen - marked))
            if levels
        ]
        return centers, notes


_NAMES = {"body": "body centres", "mask": "centroids of whole vertebrae"}


def _point(point_mm: np.ndarray) -> str:
    return f"({', '.join(f'{x:.0f}' for x in point_mm)})"


def _emptiness(prediction: LabelMap) -> list[str]:
    return [] if prediction.labels.any() else ["prediction is empty"]


def score_to_dict(score: CaseScore) -> dict:
    """A case's score as plain dicts and lists, losslessly; values of metrics lie beside the other entries."""

    def flat(content: dict) -> dict:
        return content | content.pop("values")

    content = asdict(score)
    return flat({**content, "vertebrae": [flat(v) for v in content["vertebrae"]]})


def score_from_dict(content: dict) -> CaseScore:
    """Inverse of `score_to_dict`, also after a round trip through JSON.

    Raises:
        KeyError, TypeError: not the content of a score.
    """
    points = {"reference_center_mm", "predicted_center_mm"}

    def build(cls: type, entry: dict, values: Sequence[Metric] = ()) -> object:
        known = {f.name: entry[f.name] for f in fields(cls) if f.name != "values"}
        known = {k: tuple(v) if k in points and v is not None else v for k, v in known.items()}
        return cls(**known, **({"values": {m.key: entry[m.key] for m in values}} if values else {}))

    return CaseScore(
        case=content["case"],
        values={m.key: content[m.key] for m in metrics.scan_metrics()},
        vertebrae=tuple(build(VertebraScore, v, metrics.vertebra_metrics()) for v in content["vertebrae"]),
        surplus=tuple(build(SurplusVertebra, s) for s in content["surplus"]),
        shift=content["shift"],
        notes=tuple(content["notes"]),
    )


def score_store(folder: Path) -> Store:
    """Where finished cases are kept."""
    return Store(folder, encode=score_to_dict, decode=score_from_dict)
