"""Heights of vertebral bodies by level, as boxes over a cohort."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nnunet_spine.anatomy import sort_cranio_caudal
from nnunet_spine.io import files

PLACES = {"anterior": "#4361ee", "middle": "#90be6d", "posterior": "#f77f00"}
_BOX = 0.26  # of the distance between levels


def heights_figure(heights_mm: Mapping[str, Sequence[tuple[float, float, float]]], *, title: str = "") -> Figure:
    """Draw for each level a box of the anterior, middle and posterior heights, with the number of bodies.

    Boxes go from the first to the third quartile with the median, whiskers to the last value within 1.5 times as much
    beyond; what lies farther is a point.

    Args:
        heights_mm: level -> anterior, middle and posterior height of each body.
        title: first line.
    """
    names = sort_cranio_caudal(name for name, values in heights_mm.items() if len(values))
    figure = Figure(figsize=(max(4.5, 1.5 + 0.62 * len(names)), 4.2), layout="constrained")
    axes = figure.subplots()
    for k, colour in enumerate(PLACES.values()):
        if not names:
            break
        columns = [np.asarray(heights_mm[name], float)[:, k] for name in names]
        drawn = axes.boxplot(
            columns, positions=np.arange(len(names)) + (k - 1) * _BOX, widths=0.8 * _BOX, patch_artist=True,
            manage_ticks=False, flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
            medianprops={"color": "black"}, boxprops={"facecolor": colour, "linewidth": 0.6},
            whiskerprops={"linewidth": 0.6}, capprops={"linewidth": 0.6},
        )  # fmt: skip
        for median in drawn["medians"]:
            median.set_gid("median")
    axes.set_xticks(range(len(names)), [f"{name}\n{len(heights_mm[name])}" for name in names])
    axes.set(xlim=(-0.6, max(len(names), 1) - 0.4), ylabel="height of the body (mm)", title=title)
    axes.set_xlabel("level, number of bodies")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    patches = [Patch(facecolor=colour, edgecolor="black", linewidth=0.6) for colour in PLACES.values()]
    axes.legend(patches, list(PLACES), frameon=False, fontsize=8, loc="upper left")
    return figure


def heights_picture(
    heights_mm: Mapping[str, Sequence[tuple[float, float, float]]], path: str | Path, **options
) -> None:
    """Write `heights_figure` (same arguments) to a PNG file, atomically."""
    figure = heights_figure(heights_mm, **options)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
