"""One HTML page per evaluation: numbers, distributions, cases to look at, slices and surfaces; one per comparison of
methods. They need no network."""

from nnunet_spine.report.build import Report, ReportOptions, build_report
from nnunet_spine.report.comparison import build_comparison, is_comparison

__all__ = ["Report", "ReportOptions", "build_comparison", "build_report", "is_comparison"]
