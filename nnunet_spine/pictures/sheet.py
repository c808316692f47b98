"""Setting panels, names and legends on a black sheet, pixel by pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from nnunet_spine import scores
from nnunet_spine.pictures.cuts import View
from nnunet_spine.pictures.marks import GREEN, GREY, RED, WHITE, Name, describe, legend
from nnunet_spine.pictures.pixels import spread

MIN_WIDTH_PX = 1000
HEADER_PX, HEADING_PX, FOOTER_PX, GAP_PX, EDGE_PX = 58, 24, 30, 6, 8
NAME_PX, TEXT_PX, TITLE_PX = 14, 16, 20
DPI = 100


@dataclass(frozen=True)
class Centre:
    """A vertebra's centres in a panel as (row, column): in the reference, in the prediction, or both."""

    reference: tuple[float, float] | None
    prediction: tuple[float, float] | None
    color: str


@dataclass(frozen=True)
class Panel:
    """One finished panel: heading, RGB pixels (height, width, 3), names to write and centres to draw."""

    view: View
    heading: str
    rgb: np.ndarray
    names: list[Name]
    centres: list[Centre] = field(default_factory=list)


def layout(rows: Sequence[Sequence[tuple[int, int]]]) -> tuple[tuple[int, int], list[list[tuple[int, int]]]]:
    """Where panels lie on a sheet.

    Args:
        rows: (height, width) of each panel, row by row; one height per row.

    Returns:
        (height, width) of the sheet, and (top, left) of each panel.
    """
    widths = [sum(w for _, w in row) + GAP_PX * (len(row) - 1) for row in rows]
    width, top, corners = max(MIN_WIDTH_PX, *widths), HEADER_PX, []
    for row, total in zip(rows, widths, strict=True):
        left, top = (width - total) // 2, top + HEADING_PX
        corners.append([])
        for _, w in row:
            corners[-1].append((top, left))
            left += w + GAP_PX
        top += row[0][0]
    return (top + FOOTER_PX, width), corners


def draw(rows: list[list[Panel]], px_per_mm: float, title: str, score: scores.CaseScore | None) -> Figure:
    """Set rows of panels under a title and above a legend."""
    (height, width), corners = layout([[p.rgb.shape[:2] for p in row] for row in rows])
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="black")
    FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, color: str = WHITE, px: float = TEXT_PX, **style) -> None:
        figure.text(
            x / width, 1 - y / height, text, color=color, fontsize=px * 72 / DPI, family="DejaVu Sans",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
            **{"ha": "left", "va": "center_baseline", "parse_math": False, **style},
        )  # fmt: skip

    def mark(x: float, y: float, **style) -> None:
        figure.add_artist(Line2D([x / width], [1 - y / height], **style))

    def measure(text: str, px: float = NAME_PX, weight: str = "normal") -> float:
        font = FontProperties(family="DejaVu Sans", size=px * 72 / DPI, weight=weight)
        return figure.canvas.get_renderer().get_text_width_height_descent(text, font, False)[0]

    write(EDGE_PX, 18, title, px=TITLE_PX, weight="bold")
    if score is not None:
        right = score.all_labels_correct
        write(
            width - EDGE_PX, 18, "all labels correct" if right else "labels wrong", GREEN if right else RED, ha="right"
        )
        write(EDGE_PX, 44, describe(score))

    pixels = np.zeros((height, width, 3), np.uint8)
    for row, row_corners in zip(rows, corners, strict=True):
        for panel, (top, left) in zip(row, row_corners, strict=True):
            h, w = panel.rgb.shape[:2]
            pixels[top : top + h, left : left + w] = panel.rgb
            size = NAME_PX * min(1.0, w / measure(panel.heading))
            write(left + w / 2, top - 10, panel.heading, GREY, size, ha="center")
            write(left + EDGE_PX, top + h - 16, panel.view.left)
            write(left + w - EDGE_PX, top + h - 16, panel.view.right, ha="right")
            _scale_bar(panel, top, left, px_per_mm, pixels, write)
            for centre in panel.centres:
                _draw_centre(centre, top, left, mark)
            _write_names(panel, top, left, write, measure)
    _write_legend([panel for row in rows for panel in row], height, write, mark, measure)
    figure.figimage(pixels, 0, 0, origin="upper")
    return figure


def _scale_bar(panel: Panel, top: int, left: int, px_per_mm: float, pixels: np.ndarray, write) -> None:
    h, w = panel.rgb.shape[:2]
    bar_mm = next((mm for mm in (50, 20, 10) if mm * px_per_mm < w / 2), 5)
    bar = round(bar_mm * px_per_mm)
    start = left + (w - bar) // 2
    pixels[top + h - 6 : top + h - 3, start : start + bar] = 255
    write(start + bar / 2, top + h - 16, f"{bar_mm} mm", ha="center")


def _draw_centre(centre: Centre, top: int, left: int, mark) -> None:
    for point, style in ((centre.reference, _cross()), (centre.prediction, _dot(centre.color))):
        if point is not None:
            mark(left + point[1] + 0.5, top + point[0] + 0.5, **style)


def _cross() -> dict:
    return {"marker": "+", "color": WHITE, "markersize": 6, "markeredgewidth": 1.2}


def _dot(color: str) -> dict:
    return {"marker": "o", "color": color, "markersize": 4.5, "markeredgecolor": WHITE, "markeredgewidth": 0.8}


def _write_names(panel: Panel, top: int, left: int, write, measure) -> None:
    h, w = panel.rgb.shape[:2]
    rows = spread(np.array([n.row for n in panel.names]), 1.15 * NAME_PX, NAME_PX / 2, h - 24 - NAME_PX / 2)
    for name, row in zip(panel.names, rows, strict=True):
        column = min(w, max(name.column - 4, measure(name.text, weight="bold") + 3))  # stay inside the panel
        write(left + column, top + row, name.text, name.color, NAME_PX, ha="right", weight="bold")


def _write_legend(panels: list[Panel], height: int, write, mark, measure) -> None:
    x, y = EDGE_PX, height - FOOTER_PX / 2
    centres = [centre for panel in panels for centre in panel.centres]
    for word, style, there in (
        ("reference centre", _cross(), any(c.reference for c in centres)),
        ("predicted centre", _dot(GREY), any(c.prediction for c in centres)),
    ):
        if there:
            mark(x + 5, y, **style)
            write(x + 14, y, word, GREY, NAME_PX)
            x += 14 + measure(word) + 3 * EDGE_PX
    for kind in legend([name for panel in panels for name in panel.names]):
        write(x, y, kind.example, kind.color, NAME_PX, weight="bold")
        x += measure(kind.example, weight="bold") + EDGE_PX
        write(x, y, kind.meaning, GREY, NAME_PX)
        x += measure(kind.meaning) + 3 * EDGE_PX
