"""Pages: one self-contained HTML file about a search, a cost, or how far levels agree."""

from hwflow.report.cost_page import CostData, render_cost, write_cost_page
from hwflow.report.data import ReportData
from hwflow.report.levels_page import render_levels, write_levels_page
from hwflow.report.page import render, write_report

__all__ = [
    "CostData",
    "ReportData",
    "render",
    "render_cost",
    "render_levels",
    "write_cost_page",
    "write_levels_page",
    "write_report",
]
