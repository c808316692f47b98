"""One HTML page per evaluation: numbers, distributions, cases to look at, slices and surfaces. Needs no network."""

from nnunet_spine.report.build import Report, ReportOptions, build_report

__all__ = ["Report", "ReportOptions", "build_report"]
