"""The report: one self-contained HTML file about a finished or running search."""

from hwflow.report.data import ReportData
from hwflow.report.page import render, write_report

__all__ = ["ReportData", "render", "write_report"]
