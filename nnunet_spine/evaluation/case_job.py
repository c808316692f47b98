"""Scoring of one case from its files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from nnunet_spine import __version__
from nnunet_spine.anatomy import BY_NNUNET_ID, sort_cranio_caudal
from nnunet_spine.errors import InputError
from nnunet_spine.evaluation.grids import (
    LabelMap,
    isotropic_grid,
    match,
    read_label_map,
    to_grid,
    volume_centre,
)
from nnunet_spine.evaluation.pairing import CaseFiles
from nnunet_spine.evaluation.points import Grid, points_beside_mask, points_beside_prediction
from nnunet_spine.io.images import image_grid
from nnunet_spine.io.label_folders import structure_files
from nnunet_spine.io.label_ids import LabelTable, present_values
from nnunet_spine.io.masks import voxels_in, with_data_files
from nnunet_spine.io.naming_report import read_naming_report, report_beside
from nnunet_spine.jobs import Store
from nnunet_spine.plausibility import flags_of, level_findings
from nnunet_spine.scores import (
    CaseScore,
    Metric,
    Naming,
    Settings,
    SurplusVertebra,
    VertebraScore,
    metrics,
    score_case,
    score_centres,
)

FORMAT = 5
"""Raise when the same files and settings give other scores: finished cases of an older version are then done again."""

_NAMING = "naming"
_BYTES_PER_VOXEL = 4  # both label maps, what is labelled in them, and distances of one vertebra; 2.5 measured
_OF_COHORT = ("miss_penalty_mm", "bootstrap_draws", "bootstrap_seed")


@dataclass(frozen=True)
class CaseJob:
    """One case to score; picklable.

    Attributes:
        files: what belongs to it.
        settings: of the scores.
        prediction_labels, reference_labels: what mask values mean.
        kind: of dataset that both tables are brought to, see `label_ids.common_kind`.
        grid: "native" (the reference's) or "1mm" (isotropic, as VerSe's script).
        accept: keys of `plausibility.KEYS` that note a contradiction and do not stop the case.
        points_grid: "prediction" if the numbers of centroid files belong to the prediction's grid where neither a
            reference mask nor a CT is given; "auto": see `points.points_beside_prediction`.
    """

    files: CaseFiles
    settings: Settings
    prediction_labels: LabelTable
    reference_labels: LabelTable
    kind: str = "vertebrae"
    grid: str = "native"
    points_grid: str = "auto"
    accept: tuple[str, ...] = ()

    @property
    def case(self) -> str:
        return self.files.case

    def inputs(self) -> dict[str, Path]:
        """The files that are scored, by their keys in evaluation.json."""
        files = {}
        for key, place in {"prediction": self.files.prediction, "reference_mask": self.files.mask}.items():
            if place and place.is_dir():  # one file per vertebra
                files |= {f"{key} {level}": path for level, path in structure_files(place).items()}
            else:
                files |= with_data_files({key: place})
        if report := report_beside(self.files.prediction):
            files |= {_NAMING: report}
        if self.files.points:
            files |= {"reference_centroids": self.files.points}
            files |= with_data_files({"image": self.files.image})  # whose grid the points may belong to
        return files

    def parameters(self) -> object:
        """What the case's scores depend on beside its files."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in _OF_COHORT}
        tables = [[sorted(t.levels.items()), sorted(t.others)] for t in (self.prediction_labels, self.reference_labels)]
        return [
            __version__,
            FORMAT,
            settings,
            tables,
            self.kind,
            self.grid,
            self.points_grid,
            sorted(self.accept),
            [m.key for m in metrics.METRICS],
        ]

    def peak_bytes(self) -> float:
        """Memory that scoring takes, at most."""
        return float(_BYTES_PER_VOXEL * max(voxels_in(file) for key, file in self.inputs().items() if key != _NAMING))

    def run(self) -> CaseScore:
        """Read, match grids and score.

        The prediction comes onto the reference's own grid first, then both onto another one, if asked for: two
        resamplings from different grids would decide ties differently on the two sides.

        Raises:
            InputError: a file is unusable, or the two sides lie in different worlds.
        """
        if self.files.points and self.kind != "vertebrae":
            raise InputError(f"centres of vertebrae beside masks of {self.kind}", "leave them out", self.files.points)
        prediction = read_label_map(self.files.prediction, self.prediction_labels, "prediction", self.kind, self.accept)
        if self.files.mask is None:
            return self._score_points(prediction)
        reference = read_label_map(self.files.mask, self.reference_labels, "reference", self.kind, self.accept)
        given, notes = self._given_centres(reference)
        prediction = self._matched(prediction, reference)
        if self.grid == "1mm":
            shape, affine = isotropic_grid(reference.labels.shape, reference.affine, 1.0)
            reference = to_grid(reference, shape, affine, "reference")
            prediction = to_grid(prediction, shape, affine)
        score = score_case(
            prediction.labels,
            reference.labels,
            reference.affine,
            case=self.case,
            settings=self.settings,
            reference_centres_mm=given,
            kind=self.kind,
            notes=(*reference.notes, *prediction.notes, *notes, *_emptiness(prediction, reference)),
            naming=self._naming(),
        )
        return replace(score, notes=(*score.notes, *_out_of_place(score)))

    def _score_points(self, prediction: LabelMap) -> CaseScore:
        points = points_beside_prediction(
            self.files.points, prediction, self._image_grid(), trusted=self.points_grid == "prediction"
        )
        centres = points.by_kind.get(self.settings.centre)
        if centres is None:
            (kind,) = points.by_kind
            raise InputError(f"its points are of another kind than asked for ({_NAMES[kind]})", f"use --centre {kind}",
                             self.files.points)  # fmt: skip
        notes = ["reference has centres only", *points.notes]
        if self.grid == "1mm":
            prediction = to_grid(prediction, *isotropic_grid(prediction.labels.shape, prediction.affine, 1.0))
        return score_centres(
            prediction.labels,
            prediction.affine,
            centres,
            case=self.case,
            settings=self.settings,
            notes=(*prediction.notes, *notes, *_emptiness(prediction)),
            naming=self._naming(),
        )

    def _naming(self) -> Naming | None:
        """What `relabel` said of the prediction."""
        path = report_beside(self.files.prediction)
        if path is None:
            return None
        report = read_naming_report(path)
        return Naming(report.probability, bool(report.ambiguous))

    def _grid_image(self) -> Path | None:
        """The scan whose grid the numbers of a centroid file may belong to."""
        return self.files.image if self.files.points else None

    def _image_grid(self) -> Grid | None:
        image = self._grid_image()
        return None if image is None else Grid(*image_grid(image), f"the CT {image.name}")

    def _matched(self, prediction: LabelMap, reference: LabelMap) -> LabelMap:
        try:
            return match(prediction, reference, self.accept)
        except InputError as error:
            own, wanted = (volume_centre(m.labels.shape, m.affine) for m in (prediction, reference))
            where = f"volumes centred at {_point(own)} and {_point(wanted)} mm"
            raise InputError(f"{error.found} ({where})", error.cure, self.files.prediction) from None

    def _given_centres(self, reference: LabelMap) -> tuple[dict[int, np.ndarray] | None, list[str]]:
        if self.files.points is None:
            return None, []
        points = points_beside_mask(self.files.points, reference, self._image_grid())
        centres = points.by_kind.get(self.settings.centre)
        if centres is None:
            (kind,) = points.by_kind
            return None, [f"centroid file not used: {_NAMES[kind]}; --centre {kind} uses them"]
        marked, seen = set(centres), present_values(reference.labels)
        notes = [
            f"reference {what}: {' '.join(sort_cranio_caudal(BY_NNUNET_ID[i].name for i in levels))}"
            for what, levels in (("centre without mask", marked - seen), ("mask without centre", seen - marked))
            if levels
        ]
        return centres, [*points.notes, *notes]


_NAMES = {"body": "body centres", "mask": "centroids of whole vertebrae"}


def _point(point_mm: np.ndarray) -> str:
    return f"({', '.join(f'{x:.0f}' for x in point_mm)})"


def _out_of_place(score: CaseScore) -> list[str]:
    """What is odd about the places of the levels; it changes no score, so it is noted and stops nothing."""
    centres = {v.name: v.reference_centre_mm for v in score.vertebrae}
    return [f"reference: {flag}" for flag in flags_of(level_findings(centres))]


def _emptiness(prediction: LabelMap, reference: LabelMap | None = None) -> list[str]:
    maps = {"prediction": prediction, "reference": reference}
    return [f"{role} is empty" for role, m in maps.items() if m is not None and not m.labels.any()]


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
    points = {"reference_centre_mm", "predicted_centre_mm"}

    def build(cls: type, entry: dict, values: Sequence[Metric] = ()) -> object:
        known = {f.name: entry[f.name] for f in fields(cls) if f.name != "values"}
        known = {k: tuple(v) if k in points and v is not None else v for k, v in known.items()}
        return cls(**known, **({"values": {m.key: entry[m.key] for m in values}} if values else {}))

    return CaseScore(
        case=content["case"],
        kind=content["kind"],
        values={m.key: content[m.key] for m in metrics.scan_metrics()},
        vertebrae=tuple(build(VertebraScore, v, metrics.vertebra_metrics()) for v in content["vertebrae"]),
        surplus=tuple(build(SurplusVertebra, s) for s in content["surplus"]),
        shift=content["shift"],
        notes=tuple(content["notes"]),
    )


def score_store(folder: Path) -> Store:
    """Where finished cases are kept."""
    return Store(folder, encode=score_to_dict, decode=score_from_dict)
