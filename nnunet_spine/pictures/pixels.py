"""Pixels of a panel: window, label colours, outlines, and where names go."""

import cc3d
import numpy as np
from scipy import ndimage

from nnunet_spine import scores
from nnunet_spine.anatomy import structures

CT_WINDOW_HU = (-300.0, 1200.0)
PROJECTION_WINDOW_HU = (0.0, 1400.0)  # the brightest voxel of a slab of soft tissue is already some 200 HU
FILL_ALPHA, OUTLINE_ALPHA = 0.3, 0.9


def overlay(
    hu: np.ndarray,
    labels: np.ndarray | None,
    window_hu: tuple[float, float] = CT_WINDOW_HU,
    kind: str = "vertebrae",
) -> np.ndarray:
    """Windowed CT with labels as a light fill and a strong outline in their fixed colours.

    Args:
        hu: CT, (height, width).
        labels: nnU-Net ids, (height, width); None: CT alone.
        window_hu: black and white.
        kind: what the labels mean, of `anatomy.KINDS`.

    Returns:
        uint8 RGB, (height, width, 3).
    """
    low, high = window_hu
    grey = np.clip((np.nan_to_num(hu, nan=low) - low) / (high - low), 0, 1) * 255
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    if labels is not None:
        colors = np.zeros((scores.N_IDS, 3))
        for structure in structures(kind):
            colors[structure.value] = structure.color
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


def spread(rows: np.ndarray, gap: float, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Move positions apart to at least `gap`, in their order, with the least squared movement (pooled neighbours).

    They stay within `low` to `high`; where there is no room for all, the last ones go beyond `high`.
    """
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
    # Clipping the levels of an isotonic fit gives the fit within bounds.
    levelled = np.maximum(np.minimum(levelled, high - gap * (len(order) - 1)), low)
    moved[order] = levelled + gap * np.arange(len(order))
    return moved
