"""Scores of a predicted label map against a reference, for one case and a cohort.

Per vertebra: Dice, IoU, surface distances, distance of the centres, identification by two rules, and what it was found
as. Label maps hold nnU-Net ids (`anatomy.BY_NNUNET_ID`), 0 is background. Everything is computed on the given grid
(VerSe's script first resamples to 1 mm). Nothing is NaN: what does not exist is None, and counted.
"""

from nnunet_spine.label_maps import N_IDS, as_label_ids, centres, label_voxels
from nnunet_spine.scores import metrics
from nnunet_spine.scores.case import CaseScore
from nnunet_spine.scores.cohort import CohortSummary, GroupSummary, summarise_cohort
from nnunet_spine.scores.compare import score_case, score_centres
from nnunet_spine.scores.identification import identified_levels
from nnunet_spine.scores.metrics import Metric, find_metric
from nnunet_spine.scores.pairs import Naming, ScanPair, VertebraPair
from nnunet_spine.scores.settings import CENTRE_DEFINITIONS, HD95_RULES, Settings
from nnunet_spine.scores.shift import level_shift, wrong_name_runs
from nnunet_spine.scores.summary import Rate, Summary, summarise
from nnunet_spine.scores.surfaces import SurfaceDistances, surface, surface_distances
from nnunet_spine.scores.vertebra import SurplusVertebra, VertebraScore

__all__ = [
    "CENTRE_DEFINITIONS", "HD95_RULES", "N_IDS", "CaseScore", "CohortSummary", "GroupSummary", "Metric", "Naming",
    "Rate", "ScanPair", "Settings", "Summary", "SurfaceDistances", "SurplusVertebra", "VertebraPair", "VertebraScore",
    "as_label_ids", "centres", "find_metric", "identified_levels", "label_voxels", "level_shift", "metrics",
    "score_case", "score_centres", "summarise", "summarise_cohort", "surface", "surface_distances", "wrong_name_runs",
]  # fmt: skip
