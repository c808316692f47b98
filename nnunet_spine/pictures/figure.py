"""The figure: panels side by side with names and scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy import ndimage

from nnunet_spine import geometry, scores
from nnunet_spine.anatomy import BY_NNUNET_ID
from nnunet_spine.errors import InputError
from nnunet_spine.pictures.cuts import (
    HEIGHT_PX,
    VIEWS,
    WORKING_SPACING_MM,
    Frame,
    View,
    body_points,
    cut_positions,
    extent,
)
from nnunet_spine.pictures.pixels import CT_WINDOW_HU, left_edges, overlay, spread

MIN_WIDTH_PX = 1000
HEADER_PX, GAP_PX, EDGE_PX = 84, 6, 8
NAME_PX, TEXT_PX, TITLE_PX = 14, 16, 20
DPI = 100

GREY, GREEN, RED = "#b0b0b0", "#7bd88f", "#ff6b6b"


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
        wrong = {*score.surplus_names, *(v.name for v in score.vertebrae if not v.identified)}
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
    for word, levels in (("missed", score.missed), ("surplus", score.surplus_names)):
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
        rows = spread(np.array([n.row for n in names]), 1.15 * NAME_PX, NAME_PX / 2, h - NAME_PX / 2)
        for name, row in zip(names, rows, strict=True):
            column = max(name.column - 4, NAME_PX * 0.75 * len(name.text))  # stay inside the panel
            write(left + column, HEADER_PX + row, name.text, name.color, NAME_PX, ha="right", weight="bold")
        left += w + GAP_PX
    figure.figimage(pixels, 0, 0, origin="upper")
    return figure
