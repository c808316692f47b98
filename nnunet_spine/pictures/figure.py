"""The figure of one case: cuts and projections of reference and prediction, with names, centres and scores."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from nnunet_spine import geometry, scores
from nnunet_spine.anatomy import structures
from nnunet_spine.errors import InputError
from nnunet_spine.pictures.cuts import (
    CORONAL,
    HEIGHT_PX,
    MARGIN_MM,
    SAGITTAL,
    WORKING_SPACING_MM,
    Frame,
    View,
    body_points,
    cut_positions,
    extent,
)
from nnunet_spine.pictures.marks import Spot, level_names
from nnunet_spine.pictures.pixels import CT_WINDOW_HU, PROJECTION_WINDOW_HU, left_edges, overlay
from nnunet_spine.pictures.projection import brightest, frontmost, slab
from nnunet_spine.pictures.sheet import Centre, Panel, draw

Points = Mapping[int, np.ndarray]


def case_figure(
    image: np.ndarray | None,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    affine: np.ndarray,
    *,
    title: str = "",
    score: scores.CaseScore | None = None,
    window_hu: tuple[float, float] = CT_WINDOW_HU,
    curved: bool = True,
    height_px: int = HEIGHT_PX,
    kind: str = "vertebrae",
) -> Figure:
    """Draw one case: sagittal cut, coronal cut, and coronal maximum projection of the reference and the prediction.

    In the prediction's panels "T5 0.43" is a Dice below 0.7, "T5 (is T6)" a wrong name, "+T13" a level that the
    reference does not have, "no T5" a missed one; a name in square brackets belongs to a vertebra that the cut does
    not meet. A cross is the reference's centre, a dot the prediction's. The legend explains what occurs. Panels stand
    in one row, or the prediction below the reference where that makes them larger. Without labels the cuts pass
    through the volume's middle.

    Args:
        image: CT in HU, three axes in any order and direction; None: labels on black.
        reference, prediction: nnU-Net ids, or values of another `kind`, on the same grid; either may be None. A
            reference of which the score knows the centres only has panels with these.
        affine: voxel index -> RAS mm, 4x4. Oblique volumes are shown along their own axes.
        title: first line, e.g. the case name.
        score: of the case, which also says what its labels are (`CaseScore.kind`); computed if both label maps are
            given.
        kind: what the labels are where no score is given, of `anatomy.KINDS`.
        window_hu: black and white of the CT's cuts.
        curved: let the cuts follow the vertebral bodies from row to row; otherwise plane cuts.
        height_px: largest height of all panels together.

    Raises:
        InputError: not three axes, different shapes, labels that are not nnU-Net ids, or no array at all.
    """
    maps = {name: m for name, m in (("reference", reference), ("prediction", prediction)) if m is not None}
    if image is None:
        if not maps:
            raise InputError("neither an image nor labels to draw")
        image = np.broadcast_to(np.float32(window_hu[0]), next(iter(maps.values())).shape)
    if image.ndim != 3:
        raise InputError(f"image of shape {image.shape}; expected three axes")
    if image.dtype.kind == "f" and image.dtype.itemsize not in (4, 8):  # scipy samples no other float types
        image = image.astype(np.float32)
    for name, array in maps.items():
        if array.shape != image.shape:
            raise InputError(f"image of shape {image.shape}, {name} {array.shape}; expected the same grid")
    maps = {name: scores.as_label_ids(array) for name, array in maps.items()}
    if score is None and len(maps) == 2:
        score = scores.score_case(maps["prediction"], maps["reference"], affine, case=title, kind=kind)
    kind = score.kind if score is not None else kind

    image, ras_affine = geometry.reorient(image, affine)
    maps = {name: geometry.reorient(array, affine)[0] for name, array in maps.items()}
    spacing = geometry.spacing_mm(ras_affine)
    stride = np.maximum(1, np.floor(WORKING_SPACING_MM / spacing)).astype(int)
    coarse = {name: array[tuple(slice(None, None, s) for s in stride)] for name, array in maps.items()}
    centres = _centres(score, coarse, stride, ras_affine)
    shown = [name for name in ("reference", "prediction") if name in maps or centres[name]] or ["image"]

    # the reference steers the cuts, or the prediction where the reference has no masks
    bodies = next((found for m in coarse.values() if (found := body_points(m, spacing * stride))), {})
    bodies = {label: point * stride for label, point in bodies.items()} or centres["reference"]
    box = _box(image.shape, list(coarse.values()), centres["reference"], spacing, stride)
    views = {"sagittal": SAGITTAL, "coronal": CORONAL, "projection": CORONAL}
    frame, stacked = _frame(box, spacing, len(shown), list(views.values()), height_px)

    columns = []
    for view_name, view in views.items():
        if view_name == "projection":
            pictures = _project(image, maps, coarse, frame, stride)
            heading, window = "projection", PROJECTION_WINDOW_HU
        else:
            pictures = _cut(image, maps, frame, view, cut_positions(bodies, image.shape, view, curved=curved))
            heading, window = f"{'curved ' if curved and len(bodies) > 1 else ''}{view_name}", window_hu
        seen = {
            name: {label: frame.pixel(view, point) for label, point in points.items()}
            for name, points in centres.items()
        }
        column = []
        for name in shown:
            labels = pictures[name] if name in maps else None
            rgb = overlay(pictures["image"], labels, window, kind)
            spots = _spots(seen.get(name, {}), labels, rgb.shape)
            missed_at = _spots(seen["reference"], pictures.get("reference"), rgb.shape)
            names = level_names(name, spots, score, missed_at, kind)
            column.append(Panel(view, f"{name}, {heading}", rgb, names, _centre_marks(name, seen, rgb.shape, kind)))
        columns.append(column)
    rows = [list(row) for row in zip(*columns, strict=True)]
    if not stacked:
        rows = [[panel for column in columns for panel in column]]
    return draw(rows, frame.px_per_mm, title, score)


def _centres(
    score: scores.CaseScore | None, coarse: Mapping[str, np.ndarray], stride: np.ndarray, affine: np.ndarray
) -> dict[str, dict[int, np.ndarray]]:
    """For reference and prediction, label -> voxel index of its centre: the score's, or else the mask's centroid."""
    found: dict[str, dict[int, np.ndarray]] = {"reference": {}, "prediction": {}}
    for name, array in coarse.items():
        index, (values,) = scores.label_voxels(array)
        found[name] = {label: centre * stride for label, centre in scores.centres(index, values).items()}
    if score is not None:
        values = {s.name: s.value for s in structures(score.kind)}
        for vertebra in score.vertebrae:
            label = values[vertebra.name]
            for name, world_mm in (
                ("reference", vertebra.reference_centre_mm),
                ("prediction", vertebra.predicted_centre_mm),
            ):
                if world_mm is not None:
                    found[name][label] = geometry.to_index(affine, np.array(world_mm))
    return found


def _box(
    shape: tuple[int, ...], coarse: list[np.ndarray], centres: Points, spacing: np.ndarray, stride: np.ndarray
) -> np.ndarray:
    """First and last voxel index to show along each axis, (2, 3)."""
    last = np.array(shape) - 1
    corners = [] if (found := extent(coarse, spacing * stride)) is None else [found * stride]
    if centres:  # a reference of centres may go beyond what was predicted
        points = np.array(list(centres.values()))
        corners.append(np.array([points.min(0), points.max(0)]) + MARGIN_MM / spacing)
    if not corners:
        return np.array([np.zeros(3), last])
    return np.clip([np.min([c[0] for c in corners], 0), np.max([c[1] for c in corners], 0)], 0, last)


def _frame(box: np.ndarray, spacing: np.ndarray, n_shown: int, views: list[View], height_px: int) -> tuple[Frame, bool]:
    """The frame, and whether the prediction's panels stand below the reference's."""
    side_by_side = Frame.fit(box, spacing, [[view for view in views for _ in range(n_shown)]], height_px)
    stacked = Frame.fit(box, spacing, [views] * n_shown, height_px)
    return (stacked, True) if stacked.px_per_mm > side_by_side.px_per_mm else (side_by_side, False)


def _cut(
    image: np.ndarray, maps: Mapping[str, np.ndarray], frame: Frame, view: View, across: np.ndarray
) -> dict[str, np.ndarray]:
    """Image and label maps along a cut, each (height, width)."""
    position = frame.positions(view, across)
    cuts = {name: ndimage.map_coordinates(m, position, order=0, mode="nearest") for name, m in maps.items()}
    return {"image": ndimage.map_coordinates(image, position, np.float32, order=1, mode="nearest"), **cuts}


def _project(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    coarse: Mapping[str, np.ndarray],
    frame: Frame,
    stride: np.ndarray,
) -> dict[str, np.ndarray]:
    """Projections of image and label maps from the front, each (height, width)."""
    step = int(stride[1])
    where = slab(list(coarse.values()), coarse_depth := -(-image.shape[1] // step), frame.spacing_mm[1] * step)
    where = slice(where.start * step, image.shape[1] if where.stop == coarse_depth else where.stop * step)
    low, high = np.floor(frame.box[0]).astype(int), np.ceil(frame.box[1]).astype(int) + 1
    part = (slice(low[0], high[0]), slice(None), slice(low[2], high[2]))
    position = frame.positions(CORONAL, np.zeros(image.shape[2]))[[0, 2]] - low[[0, 2], None, None]
    bright = np.asarray(brightest(image[part], where), np.float32)
    fronts = {name: frontmost(m[part], where) for name, m in maps.items()}
    return {
        "image": ndimage.map_coordinates(bright, position, order=1, mode="nearest"),
        **{name: ndimage.map_coordinates(f, position, order=0, mode="nearest") for name, f in fronts.items()},
    }


def _spots(
    centres: Mapping[int, tuple[float, float]], labels: np.ndarray | None, shape: tuple[int, ...]
) -> dict[int, Spot]:
    """Label -> where to write its name: beside its outline, or beside its centre where the panel does not show it."""
    spots = {label: Spot(*point, labels is None) for label, point in centres.items() if _inside(point, shape)}
    if labels is not None:
        spots |= {label: Spot(*edge) for label, edge in left_edges(labels).items()}
    return spots


def _centre_marks(
    shown: str, seen: Mapping[str, Mapping[int, tuple[float, float]]], shape: tuple[int, ...], kind: str
) -> list[Centre]:
    """The centres to draw in a panel: the prediction's panels show both."""
    marks, colors = [], {s.value: "#{:02x}{:02x}{:02x}".format(*s.color) for s in structures(kind)}
    for label in seen["reference"].keys() | seen["prediction"].keys():
        points = {name: seen[name].get(label) for name in ("reference", "prediction") if shown in (name, "prediction")}
        inside = {name: point for name, point in points.items() if point is not None and _inside(point, shape)}
        if inside:
            marks.append(Centre(inside.get("reference"), inside.get("prediction"), colors[label]))
    return marks


def _inside(point: tuple[float, float], shape: tuple[int, ...]) -> bool:
    return 0 <= point[0] < shape[0] and 0 <= point[1] < shape[1]
