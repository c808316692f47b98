"""One picture per case: sagittal and coronal cuts through the spine, reference beside prediction, levels named.

Sagittal views have anterior on the left, coronal views the patient's right; superior is up. All panels of a picture
share one scale. Cuts follow the vertebral bodies from row to row, so that a curved spine stays in view.
"""

from nnunet_spine.pictures.cuts import CORONAL, SAGITTAL, VIEWS, Frame, View, body_points, cut_positions, extent
from nnunet_spine.pictures.figure import GAP_PX, HEADER_PX, MIN_WIDTH_PX, case_figure, describe, level_names
from nnunet_spine.pictures.pixels import FILL_ALPHA, OUTLINE_ALPHA, left_edges, outline, overlay, spread
from nnunet_spine.pictures.to_files import case_picture, case_picture_from_files

__all__ = [
    "CORONAL", "FILL_ALPHA", "GAP_PX", "HEADER_PX", "MIN_WIDTH_PX", "OUTLINE_ALPHA", "SAGITTAL", "VIEWS",
    "Frame", "View",
    "body_points", "case_figure", "case_picture", "case_picture_from_files", "cut_positions", "describe", "extent",
    "left_edges", "level_names", "outline", "overlay", "spread",
]  # fmt: skip
