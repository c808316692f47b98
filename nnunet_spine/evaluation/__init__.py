"""Evaluation of label maps in files: pairing, grids, label tables, workers, and the tables of the results.

The scores themselves are in `nnunet_spine.scores`. What a result folder holds is described in `record`
(evaluation.json) and `write` (the other files).
"""

from nnunet_spine.evaluation.case_job import CaseJob, score_from_dict, score_to_dict
from nnunet_spine.evaluation.evaluate import Request, evaluate, read_groups
from nnunet_spine.evaluation.grids import LabelMap, read_label_map, to_grid
from nnunet_spine.evaluation.layouts import paper_tables
from nnunet_spine.evaluation.method import Method
from nnunet_spine.evaluation.paired import paired_differences
from nnunet_spine.evaluation.pairing import CaseFiles, Pairs, case_name, pair
from nnunet_spine.evaluation.points import ReferencePoints, points_beside_mask, points_beside_prediction
from nnunet_spine.evaluation.record import CaseArrays, Evaluation, load, read_case, to_dict, write_record
from nnunet_spine.evaluation.table import Table, to_csv, to_latex, to_markdown
from nnunet_spine.evaluation.tables import definitions, metric_tables
from nnunet_spine.evaluation.write import case_table, comparable, overview, write_comparison, write_evaluation
from nnunet_spine.io.label_evidence import recognise_table
from nnunet_spine.io.label_ids import LabelTable, find_table, read_table

__all__ = [
    "CaseArrays", "CaseFiles", "CaseJob", "Evaluation", "LabelMap", "LabelTable", "Method", "Pairs",
    "ReferencePoints", "Request", "Table", "case_name", "case_table", "comparable", "definitions", "evaluate",
    "find_table", "load", "metric_tables", "overview", "pair", "paired_differences", "paper_tables",
    "points_beside_mask", "points_beside_prediction", "read_case", "read_groups", "read_label_map", "read_table",
    "recognise_table", "score_from_dict", "score_to_dict", "to_csv", "to_dict", "to_grid", "to_latex", "to_markdown",
    "write_comparison", "write_evaluation", "write_record",
]  # fmt: skip
