"""Compare a predicted label map with a reference: a label map, or centres only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_spine import centroids, geometry
from nnunet_spine.anatomy import BY_NNUNET_ID, LEVELS, Level
from nnunet_spine.errors import InputError
from nnunet_spine.label_maps import N_IDS, as_label_ids, centres, label_boxes, label_voxels, labelled_part
from nnunet_spine.scores.case import CaseScore, SurplusVertebra, VertebraScore
from nnunet_spine.scores.identification import ROUNDING_MM, identified_levels
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.shift import level_shift
from nnunet_spine.scores.surfaces import SurfaceScore, label_surface_distances, score_surfaces

Points = dict[int, np.ndarray]


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    *,
    case: str = "",
    settings: Settings = Settings(),  # noqa: B008
    reference_centers_mm: Mapping[int, Sequence[float]] | None = None,
    notes: Sequence[str] = (),
) -> CaseScore:
    """Compare two label maps on one grid.

    Args:
        prediction, reference: nnU-Net ids, same shape (any axis order).
        affine: voxel index -> RAS mm, 4x4.
        case: name for the report.
        settings: see `Settings`.
        reference_centers_mm: nnU-Net id -> world RAS (3,), where an annotation gives them; they take the place of the
            reference masks' own and must be of the kind that `settings.center` says. Levels that have no mask in the
            reference are scored by their centres only.
        notes: carried over.

    Raises:
        InputError: different shapes, or values that are not nnU-Net ids.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    (pred, ref), affine = labelled_part(as_label_ids(prediction), as_label_ids(reference), affine=affine)
    index, (pred_at, ref_at) = label_voxels(pred, ref)
    overlap = np.bincount(ref_at.astype(np.intp) * N_IDS + pred_at, minlength=N_IDS**2).reshape(N_IDS, N_IDS)
    pred_mm = _centers(pred, affine, index, pred_at, settings.center)
    given = _points(reference_centers_mm or {})
    ref_mm = _centers(ref, affine, index, ref_at, settings.center) | given
    distances = label_surface_distances(pred.shape, index, pred_at, ref_at, geometry.spacing_mm(affine))
    surfaces = {i: score_surfaces(*both, settings.nsd_tolerance_mm) for i, both in distances.items()}
    radius_mm = settings.identification_radius_mm
    found_as = {
        i: _most(overlap[i], settings) if overlap[i].any() else _nearest(point, pred_mm, radius_mm)
        for i, point in ref_mm.items()
    }
    lies_on = {i: _most(overlap[:, i], settings) for i in pred_mm}
    return _assemble(_Match(affine, overlap, pred_mm, ref_mm, found_as, lies_on, surfaces), case, settings, notes)


def score_centers(
    prediction: np.ndarray,
    affine: np.ndarray,
    reference_centers_mm: Mapping[int, Sequence[float]],
    *,
    case: str = "",
    settings: Settings = Settings(),  # noqa: B008
    notes: Sequence[str] = (),
) -> CaseScore:
    """Compare a predicted label map with reference centres, where the reference has no masks.

    Args:
        prediction: nnU-Net ids.
        affine: voxel index -> RAS mm, 4x4.
        reference_centers_mm: nnU-Net id -> world RAS (3,), of the kind that `settings.center` says.
        case, settings, notes: as in `score_case`.

    Raises:
        InputError: values that are not nnU-Net ids.
    """
    (pred,), affine = labelled_part(as_label_ids(prediction), affine=affine)
    index, (pred_at,) = label_voxels(pred)
    overlap = np.zeros((N_IDS, N_IDS), np.int64)
    overlap[0] = np.bincount(pred_at, minlength=N_IDS)
    pred_mm = _centers(pred, affine, index, pred_at, settings.center)
    ref_mm = _points(reference_centers_mm)
    radius_mm = settings.identification_radius_mm
    found_as = {i: _nearest(point, pred_mm, radius_mm) for i, point in ref_mm.items()}
    lies_on = {i: _nearest(point, ref_mm, radius_mm) for i, point in pred_mm.items()}
    return _assemble(_Match(affine, overlap, pred_mm, ref_mm, found_as, lies_on), case, settings, notes)


@dataclass(frozen=True)
class _Match:
    """What the two sides have in common; keys are nnU-Net ids.

    Attributes:
        overlap: overlap[i, j] counts voxels that are i in the reference and j in the prediction; [0, 0] is 0.
        found_as, lies_on: see `VertebraScore` and `SurplusVertebra`.
        surfaces: of the levels with masks on both sides.
    """

    affine: np.ndarray
    overlap: np.ndarray
    pred_mm: Points
    ref_mm: Points
    found_as: dict[int, int | None]
    lies_on: dict[int, int | None]
    surfaces: dict[int, SurfaceScore] = field(default_factory=dict)


def _assemble(match: _Match, case: str, settings: Settings, notes: Sequence[str]) -> CaseScore:
    centers, radius_mm = (match.ref_mm, match.pred_mm), settings.identification_radius_mm
    identified = identified_levels(*centers, radius_mm=radius_mm)
    identified_glocker = identified_levels(*centers, nearest_among="reference", radius_mm=radius_mm)
    vertebrae = tuple(
        _vertebra(match, level, level.nnunet_id in identified, level.nnunet_id in identified_glocker)
        for level in LEVELS
        if level.nnunet_id in match.ref_mm
    )
    surplus = tuple(
        _surplus(match, level)
        for level in LEVELS
        if level.nnunet_id in match.pred_mm and level.nnunet_id not in match.ref_mm
    )
    shift = level_shift((v.name, v.found_as) for v in vertebrae if v.found_as is not None)
    return CaseScore(case, _binary_dice(match), vertebrae, surplus, shift, tuple(notes))


def _vertebra(match: _Match, level: Level, identified: bool, identified_glocker: bool) -> VertebraScore:
    i = level.nnunet_id
    n_ref, n_pred, both = match.overlap[i].sum(), match.overlap[:, i].sum(), match.overlap[i, i]
    center, surface, missed = match.ref_mm[i], match.surfaces.get(i), i not in match.pred_mm
    return VertebraScore(
        name=level.name,
        reference_mm3=_volume_mm3(match, match.overlap[i]) if n_ref else None,
        predicted_mm3=_volume_mm3(match, match.overlap[:, i]),
        dice=float(2 * both / (n_ref + n_pred)) if n_ref else None,
        iou=float(both / (n_ref + n_pred - both)) if n_ref else None,
        assd_mm=surface.assd_mm if surface else None,
        hd_mm=surface.hd_mm if surface else None,
        hd95_mm=surface.hd95_mm if surface else None,
        nsd=surface.nsd if surface else 0.0 if n_ref else None,
        distance_mm=None if missed else float(np.linalg.norm(match.pred_mm[i] - center)),
        identified=identified,
        identified_glocker=identified_glocker,
        found_as=_name(match.found_as[i]),
        reference_center_mm=_plain(center),
        predicted_center_mm=None if missed else _plain(match.pred_mm[i]),
    )


def _surplus(match: _Match, level: Level) -> SurplusVertebra:
    i = level.nnunet_id
    return SurplusVertebra(
        name=level.name,
        predicted_mm3=_volume_mm3(match, match.overlap[:, i]),
        predicted_center_mm=_plain(match.pred_mm[i]),
        lies_on=_name(match.lies_on[i]),
    )


def _binary_dice(match: _Match) -> float | None:
    """None too where the reference has no voxels but centres."""
    n_ref, n_pred = match.overlap[1:].sum(), match.overlap[:, 1:].sum()
    if n_ref + n_pred == 0 or (n_ref == 0 and match.ref_mm):
        return None
    return float(2 * match.overlap[1:, 1:].sum() / (n_ref + n_pred))


def _centers(labels: np.ndarray, affine: np.ndarray, index: np.ndarray, values: np.ndarray, center: str) -> Points:
    if center == "body":
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


def _name(label: int | None) -> str | None:
    return None if label is None else BY_NNUNET_ID[label].name
