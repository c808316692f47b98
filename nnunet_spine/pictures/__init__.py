"""One picture per case: cuts and projections of the spine, reference beside prediction, levels named, errors marked.

Sagittal views have anterior on the left, coronal views the patient's right; superior is up. All panels of a picture
share one scale. Cuts follow the vertebral bodies from row to row, so that a curved spine stays in view.
"""

from nnunet_spine.pictures.cuts import CORONAL, SAGITTAL, VIEWS, Frame, View, body_points, cut_positions, extent
from nnunet_spine.pictures.figure import case_figure
from nnunet_spine.pictures.marks import Name, Spot, describe, legend, level_names, prediction_notes
from nnunet_spine.pictures.pixels import FILL_ALPHA, OUTLINE_ALPHA, left_edges, outline, overlay, spread
from nnunet_spine.pictures.projection import brightest, frontmost, slab
from nnunet_spine.pictures.sheet import layout
from nnunet_spine.pictures.to_files import case_picture, case_picture_from_files

__all__ = [
    "CORONAL", "FILL_ALPHA", "OUTLINE_ALPHA", "SAGITTAL", "VIEWS",
    "Frame", "Name", "Spot", "View",
    "body_points", "brightest", "case_figure", "case_picture", "case_picture_from_files", "cut_positions", "describe",
    "extent", "frontmost", "layout", "left_edges", "legend", "level_names", "outline", "overlay", "prediction_notes",
    "slab", "spread",
]  # fmt: skip
