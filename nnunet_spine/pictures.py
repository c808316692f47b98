"""One picture per case: sagittal and coronal cuts through the spine, reference beside prediction, levels named.

Sagittal views have anterior on the left, coronal views the patient's right; superior is up. All panels of a picture
share one scale. Cuts follow the vertebral bodies from row to row, so that a curved spine stays in view.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cc3d
import edt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy import ndimage

from nnunet_spine import files, geometry, scores
from nnunet_spine.anatomy import BY_NNUNET_ID, LEVELS
from nnunet_spine.errors import InputError

CT_WINDOW_HU = (-300.0, 1200.0)
MARGIN_MM = 60.0  # context shown around the vertebrae
FILL_ALPHA, OUTLINE_ALPHA = 0.3, 0.9

WORKING_SPACING_MM = 2.0  # finding the bodies on a finer grid moves the cut by less than a voxel
FRAGMENT = 0.2  # a label below this share of the median vertebra's volume steers neither cut nor frame

HEIGHT_PX, MIN_WIDTH_PX = 1000, 1000
MAX_ASPECT = 2.4  # all panels together are at most this much wider than `height_px`
MAX_PX_PER_MM = 6.0
HEADER_PX, GAP_PX, EDGE_PX = 84, 6, 8
NAME_PX, TEXT_PX, TITLE_PX = 14, 16, 20
DPI = 100

GREY, GREEN, RED = "#b0b0b0", "#7bd88f", "#ff6b6b"


@dataclass(frozen=True)
class View:
    """A viewing direction in a RAS array: the axis across the cut, the axis from right to left, and the two sides."""

    name: str
    across: int
    along: int
    left: str
    right: str


SAGITTAL = View("sagittal", across=0, along=1, left="A", right="P")
CORONAL = View("coronal", across=1, along=0, left="R", right="L")
VIEWS = (SAGITTAL, CORONAL)


# --- where to cut ----------------------------------------------------------------------------------------------------


def body_points(labels: np.ndarray, spacing_mm: np.ndarray) -> dict[int, np.ndarray]:
    """A point in the thickest part of each vertebra, its body (C1: between the lateral masses).

    The centroid weighted by the tenth power of the distance to the surface; lower powers drift towards the arch.
    Fragments (`FRAGMENT`) are left out.

    Args:
        labels: label map, three axes.
        spacing_mm: voxel size, (3,).

    Returns:
        Label -> continuous voxel index (3,); empty without labels.
    """
    index, (values,) = scores.label_voxels(labels)
    if not len(index):
        return {}
    low, high = index.min(0), index.max(0)
    box = np.ascontiguousarray(labels[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))])
    depth_mm = edt.edt(box, anisotropy=tuple(np.asarray(spacing_mm, float)), black_border=True)
    points = scores.centres(index, values, depth_mm[tuple((index - low).T)].astype(float) ** 10)
    counts = np.bincount(values)
    smallest = FRAGMENT * np.median(counts[list(points)])
    return {i: point for i, point in points.items() if counts[i] >= smallest}


def cut_positions(points: Mapping[int, np.ndarray], shape: tuple[int, ...], view: View, *, curved: bool) -> np.ndarray:
    """Index across the cut for each axial slice of a RAS array, (shape[2],).

    Args:
        points: label -> voxel index (x, y, z).
        shape: of the array.
        view: direction.
        curved: follow the points, constant above the first and below the last; otherwise the plane of their median.

    Returns:
        The volume's middle where there are no points.
    """
    if not points:
        return np.full(shape[2], (shape[view.across] - 1) / 2)
    xyz = np.array(sorted(points.values(), key=lambda point: point[2]))
    if not curved:
        return np.full(shape[2], np.median(xyz[:, view.across]))
    return np.interp(np.arange(shape[2]), xyz[:, 2], xyz[:, view.across])


def extent(labels: list[np.ndarray], spacing_mm: np.ndarray, margin_mm: float = MARGIN_MM) -> np.ndarray | None:
    """First and last index along each axis of the vertebrae of all maps with a margin around, (2, 3) float.

    Fragments (`FRAGMENT`) are ignored. The result may reach beyond the array; None without labels.
    """
    corners = []
    for array in labels:
        index, (values,) = scores.label_voxels(array)
        if len(index):
            counts = np.bincount(values)
            whole = counts[values] >= FRAGMENT * np.median(counts[counts > 0])
            corners += [index[whole].min(0), index[whole].max(0)]
    if not corners:
        return None
    margin = margin_mm / np.asarray(spacing_mm)
    return np.array([np.min(corners, 0) - margin, np.max(corners, 0) + margin])


@dataclass(frozen=True)
class Frame:
    """Which part of a RAS array the panels show, and how large.

    Attributes:
        box: first and last voxel index shown along each axis, (2, 3).
        spacing_mm: voxel size, (3,).
        px_per_mm: scale.
    """

    box: np.ndarray
    spacing_mm: np.ndarray
    px_per_mm: float

    @classmethod
    def fit(cls, box: np.ndarray, spacing_mm: np.ndarray, n_columns: int, height_px: int = HEIGHT_PX) -> "Frame":
        """The largest scale at which panels, `n_columns` per view, are at most `height_px` high and not too wide."""
        size_mm = (box[1] - box[0] + 1) * spacing_mm
        width_mm = n_columns * sum(size_mm[view.along] for view in VIEWS)
        px_per_mm = min(height_px / size_mm[2], MAX_ASPECT * height_px / width_mm, MAX_PX_PER_MM)
        return cls(box, spacing_mm, px_per_mm)

    def size(self, view: View) -> tuple[int, int]:
        """Height and width of a panel in pixels."""
        size_px = (self.box[1] - self.box[0] + 1) * self.spacing_mm * self.px_per_mm
        return max(1, round(float(size_px[2]))), max(1, round(float(size_px[view.along])))

    def positions(self, view: View, across: np.ndarray) -> np.ndarray:
        """Voxel index for each pixel of a panel, (3, height, width); `across` as from `cut_positions`."""
        height, width = self.size(view)
        step = 1 / (self.px_per_mm * self.spacing_mm)
        # superior is up, and anterior or right is left: pixels start at the high end, half a voxel beyond its centre
        z = self.box[1, 2] + 0.5 - (np.arange(height) + 0.5) * step[2]
        along = self.box[1, view.along] + 0.5 - (np.arange(width) + 0.5) * step[view.along]
        position = np.empty((3, height, width))
        position[2] = z[:, None]
        position[view.along] = along[None, :]
        position[view.across] = np.interp(z, np.arange(len(across)), across)[:, None]
        return position

    def pixel(self, view: View, index: np.ndarray) -> tuple[float, float]:
        """Row and column at which a voxel (3,) is seen."""
        px = (self.box[1] + 0.5 - index) * self.spacing_mm * self.px_per_mm - 0.5
        return float(px[2]), float(px[view.along])


# --- pixels ----------------------------------------------------------------------------------------------------------


def overlay(hu: np.ndarray, labels: np.ndarray | None, window_hu: tuple[float, float] = CT_WINDOW_HU) -> np.ndarray:
    """Windowed CT with labels as a light fill and a strong outline in their fixed colours.

    Args:
        hu: CT, (height, width).
        labels: nnU-Net ids, (height, width); None: CT alone.
        window_hu: black and white.

    Returns:
        uint8 RGB, (height, width, 3).
    """
    low, high = window_hu
    grey = np.clip((np.nan_to_num(hu, nan=low) - low) / (high - low), 0, 1) * 255
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    if labels is not None:
        colors = np.zeros((scores.N_IDS, 3))
        colors[[level.nnunet_id for level in LEVELS]] = [level.color for level in LEVELS]
        alpha = np.where(outline(labels), OUTLINE_ALPHA, FILL_ALPHA * (labels > 0))[..., None]
        rgb = rgb * (1 - alpha) + colors[labels] * alpha
    return np.rint(rgb).astype(np.uint8)


def outline(labels: np.ndarray) -> np.ndarray:
    """Labelled pixels with a different value among their four neighbours, bool (height, width)."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (inner > 0) & np.any([inner != n for n in neighbours], axis=0)


def left_edges(panel: np.ndarray) -> dict[int, tuple[float, float]]:
    """(row, column) beside each label of a panel: mean row and first column of its leftmost piece, the body.

    Pieces below a third of the label's largest do not count.
    """
    pieces = cc3d.connected_components(np.ascontiguousarray(panel), connectivity=8)
    found: dict[int, list[tuple[int, float, float]]] = {}
    for piece, where in enumerate(ndimage.find_objects(pieces), start=1):
        rows, columns = np.nonzero(pieces[where] == piece)
        label = int(panel[where][rows[0], columns[0]])
        found.setdefault(label, []).append((len(rows), where[0].start + float(rows.mean()), float(where[1].start)))
    edges = {}
    for label, candidates in found.items():
        smallest = max(size for size, _, _ in candidates) / 3
        _, row, column = min((c for c in candidates if c[0] >= smallest), key=lambda c: c[2])
        edges[label] = (row, column)
    return edges


def spread(rows: np.ndarray, gap: float) -> np.ndarray:
    """Move positions apart to at least `gap`, in their order, with the least squared movement (pooled neighbours)."""
    order = np.argsort(rows, kind="stable")
    blocks: list[tuple[float, int]] = []
    for k, row in enumerate(np.asarray(rows, float)[order]):
        total, n = row - k * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / n:
            total, n = total + blocks[-1][0], n + blocks[-1][1]
            blocks.pop()
        blocks.append((total, n))
    levelled = np.concatenate([np.full(n, total / n) for total, n in blocks]) if blocks else np.empty(0)
    moved = np.empty(len(order))
    moved[order] = levelled + gap * np.arange(len(order))
    return moved


# --- the figure ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Name:
    """A level's name in a panel, to be written to the left of a pixel."""

    text: str
    row: float
    column: float
    color: str


def level_names(
    spots: Mapping[str, Mapping[int, tuple[float, float, bool]]], shown: str, score: scores.CaseScore | None
) -> list[Name]:
    """What to write in a panel that shows the map `shown`.

    Args:
        spots: for each label map, label -> (row, column, whether the cut meets it).
        shown: "reference" or "prediction".
        score: of the case; None: names only.
    """
    wrong, missed = set(), set()
    if shown == "prediction" and score is not None:
        wrong = {*score.surplus, *(v.name for v in score.vertebrae if not v.identified)}
        missed = set(score.missed)
    names = []
    for label, (row, column, met) in spots[shown].items():
        level = BY_NNUNET_ID[label]
        text = level.name if met else f"({level.name})"
        if level.name in wrong:
            names.append(Name(f"{text} ✗", row, column, RED))
        else:
            names.append(Name(text, row, column, legible(level.color)))
    for label, (row, column, _) in spots.get("reference", {}).items():
        if BY_NNUNET_ID[label].name in missed:
            names.append(Name(f"no {BY_NNUNET_ID[label].name}", row, column, GREY))
    return names


def legible(color: tuple[int, int, int]) -> str:
    """A lighter shade for writing on a dark ground, as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*(round(0.5 * c + 0.5 * 255) for c in color))


def describe(score: scores.CaseScore) -> str:
    """The second line of the title."""
    parts = [
        f"Dice {_number(score.dice, '.3f')}",
        f"binary Dice {_number(score.binary_dice, '.3f')}",
        f"identified {score.n_identified} of {len(score.vertebrae)}",
        f"localisation error {_number(score.localisation_error_mm, '.1f')} mm",
    ]
    for word, levels in (("missed", score.missed), ("surplus", score.surplus)):
        if levels:
            parts.append(f"{word} {' '.join(levels[:6])}{' ...' if len(levels) > 6 else ''}")
    return "   ".join(parts)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def case_figure(
    image: np.ndarray,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    affine: np.ndarray,
    *,
    title: str = "",
    score: scores.CaseScore | None = None,
    window_hu: tuple[float, float] = CT_WINDOW_HU,
    curved: bool = True,
    height_px: int = HEIGHT_PX,
) -> Figure:
    """Draw one case: sagittal reference and prediction, coronal reference and prediction.

    In the prediction's panels a name with a cross is a wrong or surplus level, "no T5" a missed one; a name in brackets
    belongs to a vertebra that the cut does not meet. Without labels the cuts pass through the volume's middle.

    Args:
        image: CT in HU, three axes in any order and direction.
        reference, prediction: nnU-Net ids on the same grid; either may be None and then has no panels.
        affine: voxel index -> RAS mm, 4x4. Oblique volumes are shown along their own axes.
        title: first line, e.g. the case name.
        score: of the case; computed if both label maps are given.
        window_hu: black and white of the CT.
        curved: let the cuts follow the vertebral bodies from row to row; otherwise plane cuts.
        height_px: largest height of the panels.

    Raises:
        InputError: not three axes, different shapes, or labels that are not nnU-Net ids.
    """
    if image.ndim != 3:
        raise InputError(f"image of shape {image.shape}; expected three axes")
    if image.dtype.kind == "f" and image.dtype.itemsize not in (4, 8):  # scipy samples no other float types
        image = image.astype(np.float32)
    maps = {name: m for name, m in (("reference", reference), ("prediction", prediction)) if m is not None}
    for name, array in maps.items():
        if array.shape != image.shape:
            raise InputError(f"image of shape {image.shape}, {name} {array.shape}; expected the same grid")
    maps = {name: scores.as_label_ids(array) for name, array in maps.items()}
    if score is None and len(maps) == 2:
        score = scores.score_case(maps["prediction"], maps["reference"], affine, case=title)

    image, ras_affine = geometry.reorient(image, affine)
    maps = {name: geometry.reorient(array, affine)[0] for name, array in maps.items()}
    spacing = geometry.spacing_mm(ras_affine)
    stride = np.maximum(1, np.floor(WORKING_SPACING_MM / spacing)).astype(int)
    coarse = {name: array[tuple(slice(None, None, s) for s in stride)] for name, array in maps.items()}

    # the reference steers the cuts, or the prediction where there is no reference
    bodies = next((found for m in coarse.values() if (found := body_points(m, spacing * stride))), {})
    bodies = {label: point * stride for label, point in bodies.items()}
    last = np.array(image.shape) - 1
    box = extent(list(coarse.values()), spacing * stride)
    box = np.array([[0, 0, 0], last]) if box is None else np.clip(box * stride, 0, last)
    frame = Frame.fit(box, spacing, max(1, len(maps)), height_px)

    cut = "curved " if curved and len(bodies) > 1 else ""
    panels = []
    for view in VIEWS:
        position = frame.positions(view, cut_positions(bodies, image.shape, view, curved=curved))
        hu = ndimage.map_coordinates(image, position, np.float32, order=1, mode="nearest")
        cuts = {name: ndimage.map_coordinates(m, position, order=0, mode="nearest") for name, m in maps.items()}
        spots = {name: _spots(frame, view, cuts[name], coarse[name], stride) for name in cuts}
        for name in maps or ("image",):
            names = level_names(spots, name, score) if name in maps else []
            panels.append(Panel(view, f"{name}, {cut}{view.name}", overlay(hu, cuts.get(name), window_hu), names))
    return draw(panels, frame.px_per_mm, title, score)


def _spots(
    frame: Frame, view: View, cut: np.ndarray, coarse: np.ndarray, stride: np.ndarray
) -> dict[int, tuple[float, float, bool]]:
    """Label -> (row, column, whether the cut meets it); labels outside the cut are seen at their centroids."""
    index, (values,) = scores.label_voxels(coarse)
    projected = {i: frame.pixel(view, c * stride) for i, c in scores.centres(index, values).items()}
    inside = {i: spot for i, spot in projected.items() if 0 <= spot[0] < cut.shape[0] and 0 <= spot[1] < cut.shape[1]}
    return {**{i: (*s, False) for i, s in inside.items()}, **{i: (*s, True) for i, s in left_edges(cut).items()}}


@dataclass(frozen=True)
class Panel:
    """One finished panel: heading, RGB pixels (height, width, 3), and names to write."""

    view: View
    heading: str
    rgb: np.ndarray
    names: list[Name]


def draw(panels: list[Panel], px_per_mm: float, title: str, score: scores.CaseScore | None) -> Figure:
    """Set panels of equal height side by side under a header, pixel by pixel."""
    height = panels[0].rgb.shape[0]
    total = sum(p.rgb.shape[1] for p in panels) + GAP_PX * (len(panels) - 1)
    width, left = max(total, MIN_WIDTH_PX), max(0, (MIN_WIDTH_PX - total) // 2)
    figure = Figure(figsize=(width / DPI, (height + HEADER_PX) / DPI), dpi=DPI, facecolor="black")
    FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, color: str = "white", px: float = TEXT_PX, **style) -> None:
        figure.text(
            x / width, 1 - y / (height + HEADER_PX), text, color=color, fontsize=px * 72 / DPI,
            family="DejaVu Sans", path_effects=[withStroke(linewidth=2.5, foreground="black")],
            **{"ha": "left", "va": "center_baseline", "parse_math": False, **style},
        )  # fmt: skip

    write(EDGE_PX, 20, title, px=TITLE_PX, weight="bold")
    if score is not None:
        right = score.all_labels_correct
        write(
            width - EDGE_PX, 20, "all labels correct" if right else "labels wrong", GREEN if right else RED, ha="right"
        )
        write(EDGE_PX, 46, describe(score))

    pixels = np.zeros((height, width, 3), np.uint8)
    for panel in panels:
        h, w = panel.rgb.shape[:2]
        pixels[:, left : left + w] = panel.rgb
        write(left + w / 2, HEADER_PX - 14, panel.heading, GREY, ha="center")
        write(left + EDGE_PX, HEADER_PX + h - 16, panel.view.left)
        write(left + w - EDGE_PX, HEADER_PX + h - 16, panel.view.right, ha="right")
        bar_mm = next((mm for mm in (50, 20, 10) if mm * px_per_mm < w / 2), 5)
        bar = round(bar_mm * px_per_mm)
        start = left + (w - bar) // 2
        pixels[-6:-3, start : start + bar] = 255
        write(start + bar / 2, HEADER_PX + h - 16, f"{bar_mm} mm", ha="center")
        names = panel.names
        for name, row in zip(names, spread(np.array([n.row for n in names]), 1.15 * NAME_PX), strict=True):
            column = max(name.column - 4, NAME_PX * 0.75 * len(name.text))  # stay inside the panel
            write(left + column, HEADER_PX + row, name.text, name.color, NAME_PX, ha="right", weight="bold")
        left += w + GAP_PX
    figure.figimage(pixels, 0, 0, origin="upper")
    return figure


# --- files -----------------------------------------------------------------------------------------------------------


def case_picture(
    image: np.ndarray,
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    affine: np.ndarray,
    path: str | Path,
    **options,
) -> None:
    """Write `case_figure` (same arguments) to a PNG file, atomically.

    Raises:
        InputError: as `case_figure`, or the file cannot be written.
    """
    figure = case_figure(image, reference, prediction, affine, **options)
    with files.atomic_path(path) as temporary:
        figure.canvas.print_png(temporary)


def case_picture_from_files(
    image_path: str | Path,
    prediction_path: str | Path | None,
    path: str | Path,
    *,
    reference_path: str | Path | None = None,
    title: str | None = None,
    **options,
) -> None:
    """Read a case and write its picture.

    Args:
        image_path: CT in HU, NIfTI.
        prediction_path, reference_path: label maps of nnU-Net ids on the CT's grid, or None.
        path: PNG to write.
        title: first line; None: the case name, from the prediction, the reference, or the image.
        options: see `case_figure`.

    Raises:
        InputError: a file is unreadable, its grid is more than 0.1 mm off the CT's, or the PNG cannot be written.
    """
    image, affine = files.read_nifti(image_path)

    def labels(path: str | Path | None) -> np.ndarray | None:
        return None if path is None else scores.read_labels(path, image.shape, affine)[0]

    if title is None:
        title = scores.case_name(prediction_path or reference_path or image_path)
    case_picture(image, labels(reference_path), labels(prediction_path), affine, path, title=title, **options)
