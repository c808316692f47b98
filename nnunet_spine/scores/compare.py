"""Compare a predicted label map with a reference: a label map, or centres only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_spine import centroids, geometry
from nnunet_spine.anatomy import Structure, structures
from nnunet_spine.errors import InputError
from nnunet_spine.label_maps import N_IDS, as_label_ids, centres, label_boxes, label_voxels, labelled_part
from nnunet_spine.scores.case import CaseScore
from nnunet_spine.scores.identification import ROUNDING_MM, identified_levels
from nnunet_spine.scores.metrics import Metric, Value, scan_metrics, vertebra_metrics
from nnunet_spine.scores.pairs import Naming, ScanPair, VertebraPair
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.shift import level_shift
from nnunet_spine.scores.surfaces import SurfaceDistances, label_surface_distances
from nnunet_spine.scores.vertebra import SurplusVertebra, VertebraScore

Points = dict[int, np.ndarray]


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    *,
    case: str = "",
    settings: Settings = Settings(),  # noqa: B008
    reference_centres_mm: Mapping[int, Sequence[float]] | None = None,
    kind: str = "vertebrae",
    notes: Sequence[str] = (),
    naming: Naming | None = None,
) -> CaseScore:
    """Compare two label maps on one grid.

    Args:
        prediction, reference: nnU-Net ids, same shape (any axis order); or values of another `kind`.
        affine: voxel index -> RAS mm, 4x4.
        case: name for the report.
        settings: see `Settings`.
        reference_centres_mm: nnU-Net id -> world RAS (3,), where an annotation gives them; they take the place of the
            reference masks' own and must be of the kind that `settings.centre` says. Levels that have no mask in the
            reference are scored by their centres only.
        kind: what the values mean, of `anatomy.KINDS`. Metrics that need centres exist for vertebrae only.
        notes: carried over.
        naming: how sure the names of the prediction are, where whoever gave them said so.

    Raises:
        InputError: different shapes, or values that are not nnU-Net ids.

    Example:
        >>> reference = np.zeros((20, 20, 40), np.uint8)
        >>> reference[5:15, 5:15, 5:15], reference[5:15, 5:15, 25:35] = 21, 20  # L2 below L1
        >>> prediction = np.where(reference == 20, 0, reference)
        >>> score = score_case(prediction, reference, np.eye(4))
        >>> [(vertebra.name, vertebra["dice"]) for vertebra in score.vertebrae]
        [('L1', 0.0), ('L2', 1.0)]
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    (pred, ref), affine = labelled_part(as_label_ids(prediction), as_label_ids(reference), affine=affine)
    index, (pred_at, ref_at) = label_voxels(pred, ref)
    overlap = np.bincount(ref_at.astype(np.intp) * N_IDS + pred_at, minlength=N_IDS**2).reshape(N_IDS, N_IDS)
    centre = settings.centre if kind == "vertebrae" else "mask"
    pred_mm = _centres(pred, affine, index, pred_at, centre)
    given = _points(reference_centres_mm or {})
    ref_mm = _centres(ref, affine, index, ref_at, centre) | given
    distances = label_surface_distances(pred.shape, index, pred_at, ref_at, affine[:3, :3])
    radius_mm = settings.identification_radius_mm
    found_as = {
        i: _most(overlap[i], settings) if overlap[i].any() else _nearest(point, pred_mm, radius_mm)
        for i, point in ref_mm.items()
    }
    lies_on = {i: _most(overlap[:, i], settings) for i in pred_mm}
    match = _Match(affine, overlap, pred_mm, ref_mm, found_as, lies_on, (pred, ref), distances, kind)
    return _assemble(match, case, settings, notes, naming)


def score_centres(
    prediction: np.ndarray,
    affine: np.ndarray,
    reference_centres_mm: Mapping[int, Sequence[float]],
    *,
    case: str = "",
    settings: Settings = Settings(),  # noqa: B008
    notes: Sequence[str] = (),
    naming: Naming | None = None,
) -> CaseScore:
    """Compare a predicted label map with reference centres, where the reference has no masks.

    Args:
        prediction: nnU-Net ids.
        affine: voxel index -> RAS mm, 4x4.
        reference_centres_mm: nnU-Net id -> world RAS (3,), of the kind that `settings.centre` says.
        case, settings, notes, naming: as in `score_case`.

    Raises:
        InputError: values that are not nnU-Net ids.

    Example:
        >>> prediction = np.zeros((20, 20, 20), np.uint8)
        >>> prediction[5:16, 5:16, 5:16] = 20
        >>> score = score_centres(prediction, np.eye(4), {20: (10.0, 10.0, 13.0)})
        >>> score.vertebrae[0]["distance_mm"]
        3.0
    """
    (pred,), affine = labelled_part(as_label_ids(prediction), affine=affine)
    index, (pred_at,) = label_voxels(pred)
    overlap = np.zeros((N_IDS, N_IDS), np.int64)
    overlap[0] = np.bincount(pred_at, minlength=N_IDS)
    pred_mm = _centres(pred, affine, index, pred_at, settings.centre)
    ref_mm = _points(reference_centres_mm)
    radius_mm = settings.identification_radius_mm
    found_as = {i: _nearest(point, pred_mm, radius_mm) for i, point in ref_mm.items()}
    lies_on = {i: _nearest(point, ref_mm, radius_mm) for i, point in pred_mm.items()}
    match = _Match(affine, overlap, pred_mm, ref_mm, found_as, lies_on, (pred, None))
    return _assemble(match, case, settings, notes, naming)


@dataclass(frozen=True)
class _Match:
    """What the two sides have in common; keys are nnU-Net ids.

    Attributes:
        overlap: overlap[i, j] counts voxels that are i in the reference and j in the prediction; [0, 0] is 0.
        found_as, lies_on: see `VertebraScore` and `SurplusVertebra`.
        maps: prediction, and reference where it has masks.
        distances: of the levels with masks on both sides.
        kind: of `anatomy.KINDS`.
    """

    affine: np.ndarray
    overlap: np.ndarray
    pred_mm: Points
    ref_mm: Points
    found_as: dict[int, int | None]
    lies_on: dict[int, int | None]
    maps: tuple[np.ndarray, np.ndarray | None]
    distances: dict[int, SurfaceDistances] = field(default_factory=dict)
    kind: str = "vertebrae"

    def name(self, value: int | None) -> str | None:
        """What a label value is called."""
        return next((s.name for s in structures(self.kind) if s.value == value), None)


def _assemble(match: _Match, case: str, settings: Settings, notes: Sequence[str], naming: Naming | None) -> CaseScore:
    centres, radius_mm = (match.ref_mm, match.pred_mm), settings.identification_radius_mm
    identified = identified_levels(*centres, radius_mm=radius_mm)
    identified_glocker = identified_levels(*centres, nearest_among="reference", radius_mm=radius_mm)
    vertebrae = tuple(
        _vertebra(match, level, (level.value in identified, level.value in identified_glocker), settings)
        for level in structures(match.kind)
        if level.value in match.ref_mm
    )
    surplus = tuple(
        _surplus(match, level)
        for level in structures(match.kind)
        if level.value in match.pred_mm and level.value not in match.ref_mm
    )
    overlap = match.overlap
    sizes = int(overlap[1:].sum()), int(overlap[:, 1:].sum()), int(overlap[1:, 1:].sum())
    scan = ScanPair(*sizes, vertebrae, surplus, settings, naming)
    masks = match.maps[1] is not None and (sizes[0] > 0 or not match.ref_mm)
    given = {"masks": masks, "centres": match.kind == "vertebrae"}
    values = {m.key: m.compute(scan) if given[m.needs] else None for m in scan_metrics()}
    pairs = [(v.name, v.found_as) for v in vertebrae if v.found_as is not None]
    shift = level_shift(pairs) if match.kind == "vertebrae" else None
    return CaseScore(case, values, vertebrae, surplus, shift, tuple(notes), match.kind)


def _vertebra(match: _Match, level: Structure, identified: tuple[bool, bool], settings: Settings) -> VertebraScore:
    i = level.value
    n_ref, n_pred, both = (int(n) for n in (match.overlap[i].sum(), match.overlap[:, i].sum(), match.overlap[i, i]))
    predicted_mm, voxel_mm3 = match.pred_mm.get(i), float(abs(np.linalg.det(match.affine[:3, :3])))

    def masks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        prediction, reference = match.maps
        return reference == i, prediction == i, match.affine

    given, pair = {"masks": n_ref > 0, "centres": match.kind == "vertebrae"}, None
    if predicted_mm is not None:
        pair = VertebraPair(
            n_ref, n_pred, both, voxel_mm3, match.distances.get(i), match.ref_mm[i], predicted_mm, *identified, masks,
            settings,
        )  # fmt: skip
    return VertebraScore(
        name=level.name,
        reference_mm3=n_ref * voxel_mm3 if n_ref else None,
        predicted_mm3=n_pred * voxel_mm3,
        found_as=match.name(match.found_as[i]),
        reference_centre_mm=_plain(match.ref_mm[i]),
        predicted_centre_mm=None if predicted_mm is None else _plain(predicted_mm),
        values={m.key: _value(m, pair, given[m.needs]) for m in vertebra_metrics()},
    )


def _value(metric: Metric, pair: VertebraPair | None, given: bool) -> Value:
    if not given:
        return None
    if pair is None:
        return None if isinstance(metric.if_missed, str) else metric.if_missed
    return metric.compute(pair)


def _surplus(match: _Match, level: Structure) -> SurplusVertebra:
    i = level.value
    return SurplusVertebra(
        name=level.name,
        predicted_mm3=_volume_mm3(match, match.overlap[:, i]),
        predicted_centre_mm=_plain(match.pred_mm[i]),
        lies_on=match.name(match.lies_on[i]),
    )


def _centres(labels: np.ndarray, affine: np.ndarray, index: np.ndarray, values: np.ndarray, centre: str) -> Points:
    if centre == "body":
        return _points({i: c.body_mm for i, c in centroids.measure(labels, affine, label_boxes(labels)).items()})
    return {i: geometry.to_world(affine, c) for i, c in centres(index, values).items()}


def _points(points: Mapping[int, Sequence[float]]) -> Points:
    return {int(i): np.asarray(point, float) for i, point in points.items()}


def _most(overlap: np.ndarray, settings: Settings) -> int | None:
    """Label with most of the voxels that `overlap` counts by label, if it has the covering share of them."""
    i = 1 + int(np.argmax(overlap[1:]))
    return i if 0 < overlap[i] >= settings.covering_share * overlap.sum() else None


def _nearest(point: np.ndarray, others: Points, radius_mm: float) -> int | None:
    distances = {i: float(np.linalg.norm(point - other)) for i, other in others.items()}
    i = min(distances, key=distances.get, default=None)
    return None if i is None or distances[i] > radius_mm + ROUNDING_MM else i


def _volume_mm3(match: _Match, voxels: np.ndarray) -> float:
    return float(voxels.sum() * abs(np.linalg.det(match.affine[:3, :3])))


def _plain(point: np.ndarray) -> tuple[float, float, float]:
    return tuple(point.tolist())
