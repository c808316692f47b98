"""A surface coloured by its distance to a reference: blue inside, red outside, seen from four sides."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from nnunet_spine.io import files
from nnunet_spine.meshes import Mesh

INSIDE, MIDDLE, OUTSIDE = (0.13, 0.35, 0.80), (0.95, 0.94, 0.92), (0.80, 0.11, 0.16)
"""Red, green, blue of the report's surface views (report/page/renderer.js)."""

RANGE_MM = 5.0
COLOURS = LinearSegmentedColormap.from_list("deviation", [INSIDE, MIDDLE, OUTSIDE])
# name, then what points up and towards the viewer in world RAS
_VIEWS = (
    ("from the front", (0, 0, 1), (0, 1, 0)),
    ("from the left", (0, 0, 1), (-1, 0, 0)),
    ("from behind", (0, 0, 1), (0, -1, 0)),
    ("from above", (0, 1, 0), (0, 0, 1)),
)
_KEY, _FILL = np.array([-0.35, 0.55, 0.8]), np.array([0.7, -0.2, 0.4])  # lights, as in the report
_WIDTH_IN = 11.0


def deviation_figure(mesh: Mesh, *, range_mm: float = RANGE_MM, title: str = "") -> Figure:
    """Draw a mesh with deviations from the front, the left, behind and above, in one scale.

    Args:
        mesh: with `deviation_mm`.
        range_mm: deviation of the full colours, either way; what lies beyond has them too.
        title: first line.
    """
    corners_mm = mesh.vertices_mm[mesh.faces].astype(float)  # (m, 3, 3)
    normals = np.cross(corners_mm[:, 1] - corners_mm[:, 0], corners_mm[:, 2] - corners_mm[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    scale = Normalize(-range_mm, range_mm)
    base = COLOURS(scale(mesh.deviation_mm[mesh.faces].mean(1)))[:, :3]
    turns = [np.array([np.cross(up, towards), up, towards], float) for _, up, towards in _VIEWS]
    turned = [(corners_mm - mesh.vertices_mm.mean(0)) @ turn.T for turn in turns]
    widths = [np.ptp(view[..., 0]) + 4 for view in turned]
    height = max(np.ptp(view[..., 1]) for view in turned) + 4
    figure = Figure(figsize=(_WIDTH_IN, (_WIDTH_IN - 1) * height / sum(widths) + 0.9), layout="constrained")
    panels = figure.subplots(1, len(_VIEWS), width_ratios=widths)
    for axes, (name, _, _), turn, view, width in zip(panels, _VIEWS, turns, turned, widths, strict=True):
        facing = normals @ turn.T
        seen = np.flatnonzero(facing[:, 2] > 0)
        seen = seen[np.argsort(view[seen, :, 2].mean(1))]  # the nearest last
        colours = _shaded(base[seen], facing[seen])
        flat = PolyCollection(view[seen, :, :2], facecolors=colours, edgecolors=colours, linewidths=0.3)
        axes.add_collection(flat)
        middle = (view[..., :2].reshape(-1, 2).max(0) + view[..., :2].reshape(-1, 2).min(0)) / 2
        axes.set(xlim=middle[0] + np.array([-0.5, 0.5]) * width, ylim=middle[1] + np.array([-0.5, 0.5]) * height)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(name, fontsize=9)
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), ax=panels, extend="both", fraction=0.03, pad=0.01)
    bar.set_label("mm, inside negative", fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def deviation_picture(mesh: Mesh, path: str | Path, **options) -> None:
    """Write `deviation_figure` (same arguments) to a PNG file, atomically."""
    figure = deviation_figure(mesh, **options)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _shaded(base: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Colours (m, 3) in the light of the report's surface views; `facing` are normals as the viewer sees them."""
    key, fill = (np.maximum(facing @ (light / np.linalg.norm(light)), 0)[:, None] for light in (_KEY, _FILL))
    rim = (1 - np.abs(facing[:, 2:])) ** 3
    return np.clip(base * (0.30 + 0.62 * key + 0.16 * fill) + 0.10 * rim, 0, 1)
