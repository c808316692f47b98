"""Scores of a predicted label map against a reference: Dice, identification, localisation, for one case and a cohort.

Label maps hold nnU-Net ids (`anatomy.BY_NNUNET_ID`), 0 is background. A vertebra's centre is the centroid of its whole
mask, on both sides; body centres lie 8-15 mm further anterior and must not be mixed with these. Everything is computed
on the given grid (VerSe's script first resamples to 1 mm). Nothing is NaN: what does not exist is None, and counted.
"""

from nnunet_spine.scores.case import CaseScore, VertebraScore, identified_levels, score_case
from nnunet_spine.scores.cohort import CohortSummary, RegionSummary, summarise_cohort
from nnunet_spine.scores.from_files import case_name, list_cases, read_labels, score_files, score_folders
from nnunet_spine.scores.labels import N_IDS, as_label_ids, centres, label_voxels
from nnunet_spine.scores.summary import Summary, summarise
from nnunet_spine.scores.tables import case_table, summary_table, to_json

__all__ = [
    "N_IDS", "CaseScore", "CohortSummary", "RegionSummary", "Summary", "VertebraScore",
    "as_label_ids", "case_name", "case_table", "centres", "identified_levels", "label_voxels", "list_cases",
    "read_labels", "score_case", "score_files", "score_folders", "summarise", "summarise_cohort", "summary_table",
    "to_json",
]  # fmt: skip
