"""Compare a predicted label map with a reference: a label map, or centres only."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from nnunet_spine import centroids, geometry
from nnunet_spine.anatomy import BY_NNUNET_ID, LEVELS
from nnunet_spine.errors import InputError
from nnunet_spine.scores.case import CaseScore, SurplusVertebra, VertebraScore
from nnunet_spine.scores.identification import ROUNDING_MM, identified_levels
from nnunet_spine.scores.labels import N_IDS, as_label_ids, centres, label_voxels
from nnunet_spine.scores.settings import Settings
from nnunet_spine.scores.shift import level_shift
from nnunet_spine.scores.surfaces import score_surfaces, surface_distances


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
            reference masks' own and must be of the kind that `settings.center` says. Levels without a mask are scored
            by their centres only.
        notes: carried over.

    Raises:
        InputError: different shapes, or values that are not nnU-Net ids.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"prediction of shape {prediction.shape}, reference {reference.shape}; expected the same grid")
    pred, ref = as_label_ids(prediction), as_label_ids(reference)
    _, (pred_at, ref_at) = label_voxels(pred, ref)
    # joint[i, j]: voxels that are i in the reference and j in the prediction; (0, 0) stays empty
    joint = np.bincount(ref_at.astype(np.intp) * N_IDS + pred_at, minlength=N_IDS**2).reshape(N_IDS, N_IDS)
    given = {i: np.asarray(point, float) for i, point in (reference_centers_mm or {}).items()}
    ref_mm = _centers(ref, affine, settings.center) | given
    pred_mm = _centers(pred, affine, settings.center)
    surfaces = {}
    for i, box in _joint_boxes(pred, ref).items():
        if i in pred_mm and joint[i].sum():
            distances = surface_distances(pred[box] == i, ref[box] == i, geometry.spacing_mm(affine))
            surfaces[i] = score_surfaces(*distances, settings.nsd_tolerance_mm)
    found_as = {i: _most(joint[i], settings.covering_share * joint[i].sum()) for i in ref_mm if joint[i].any()}
    lies_on = {i: _most(joint[:, i], settings.covering_share * joint[:, i].sum()) for i in pred_mm}
    size = joint[1:].sum() + joint[:, 1:].sum()
    found = {
        i: _nearest(ref_mm[i], pred_mm, settings.identification_radius_mm) if not joint[i].any() else found_as[i]
        for i in ref_mm
    }
    return _assemble(
        case, joint, surfaces, ref_mm, pred_mm, found, lies_on, affine, settings, notes,
        float(2 * joint[1:, 1:].sum() / size) if size else None,
    )  # fmt: skip


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
    pred = as_label_ids(prediction)
    ref_mm = {i: np.asarray(point, float) for i, point in reference_centers_mm.items()}
    pred_mm = _centers(pred, affine, settings.center)
    joint = np.zeros((N_IDS, N_IDS), int)
    joint[0] = np.bincount(pred.ravel(order="K"), minlength=N_IDS)
    found = {i: _nearest(ref_mm[i], pred_mm, settings.identification_radius_mm) for i in ref_mm}
    lies_on = {i: _nearest(pred_mm[i], ref_mm, settings.identification_radius_mm) for i in pred_mm}
    return _assemble(case, joint, {}, ref_mm, pred_mm, found, lies_on, affine, settings, notes, None)


def _assemble(case, joint, surfaces, ref_mm, pred_mm, found_as, lies_on, affine, settings, notes, binary_dice):
    radius_mm = settings.identification_radius_mm
    identified = identified_levels(ref_mm, pred_mm, radius_mm=radius_mm)
    glocker = identified_levels(ref_mm, pred_mm, nearest_among="reference", radius_mm=radius_mm)
    voxel_mm3 = abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3])))
    vertebrae = []
    for level in LEVELS:
        if (i := level.nnunet_id) not in ref_mm:
            continue
        n_ref, n_pred, both = int(joint[i].sum()), int(joint[:, i].sum()), int(joint[i, i])
        surface = surfaces.get(i)
        vertebrae.append(
            VertebraScore(
                name=level.name,
                reference_mm3=n_ref * voxel_mm3 if n_ref else None,
                predicted_mm3=n_pred * voxel_mm3,
                dice=2 * both / (n_ref + n_pred) if n_ref else None,
                iou=both / (n_ref + n_pred - both) if n_ref else None,
                assd_mm=surface.assd_mm if surface else None,
                hd_mm=surface.hd_mm if surface else None,
                hd95_mm=surface.hd95_mm if surface else None,
                nsd=surface.nsd if surface else 0.0 if n_ref else None,
                distance_mm=float(np.linalg.norm(pred_mm[i] - ref_mm[i])) if i in pred_mm else None,
                identified=i in identified,
                identified_glocker=i in glocker,
                found_as=_name(found_as[i]),
                reference_center_mm=tuple(ref_mm[i].tolist()),
                predicted_center_mm=tuple(pred_mm[i].tolist()) if i in pred_mm else None,
            )
        )
    surplus = tuple(
        SurplusVertebra(level.name, int(joint[:, i].sum()) * voxel_mm3, tuple(pred_mm[i].tolist()), _name(lies_on[i]))
        for level in LEVELS
        if (i := level.nnunet_id) in pred_mm and i not in ref_mm
    )
    shift = level_shift((v.name, v.found_as) for v in vertebrae if v.found_as is not None)
    return CaseScore(case, binary_dice, tuple(vertebrae), surplus, shift, tuple(notes))


def _centers(labels, affine, center):
    if center == "body":
        return {i: np.array(c.body_mm) for i, c in centroids.measure(labels, affine).items()}
    index, (values,) = label_voxels(labels)
    return {i: geometry.to_world(affine, c) for i, c in centres(index, values).items()}


def _joint_boxes(pred, ref):
    boxes = ndimage.find_objects(np.maximum(pred, ref)), ndimage.find_objects(pred), ndimage.find_objects(ref)
    out = {}
    for i in range(1, N_IDS):
        found = [b[i - 1] for b in boxes[1:] if len(b) >= i and b[i - 1] is not None]
        if found:
            out[i] = tuple(slice(min(b[k].start for b in found), max(b[k].stop for b in found)) for k in range(3))
    return out


def _most(counts, least):
    i = 1 + int(np.argmax(counts[1:]))
    return i if counts[i] >= least and counts[i] else None


def _nearest(point, others, radius_mm):
    distances = {i: float(np.linalg.norm(point - other)) for i, other in others.items()}
    i = min(distances, key=distances.get, default=None)
    return i if i is not None and distances[i] <= radius_mm + ROUNDING_MM else None


def _name(i):
    return None if i is None else BY_NNUNET_ID[i].name
