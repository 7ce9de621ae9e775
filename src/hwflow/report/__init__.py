"""Pages: one self-contained HTML file about a search, a cost, levels, or searches side by side."""

from hwflow.report.compare_page import render_comparison, write_compare_page
from hwflow.report.compare_svg import render_svg, write_compare_svg
from hwflow.report.cost_page import CostData, render_cost, write_cost_page
from hwflow.report.data import ReportData
from hwflow.report.fronts_page import render_fronts, write_fronts_page
from hwflow.report.fronts_svg import (
    render_bits_svg,
    render_fronts_svg,
    write_bits_svg,
    write_fronts_svg,
)
from hwflow.report.levels_page import render_levels, write_levels_page
from hwflow.report.page import render, write_report

__all__ = [
    "CostData",
    "ReportData",
    "render",
    "render_bits_svg",
    "render_comparison",
    "render_cost",
    "render_fronts",
    "render_fronts_svg",
    "render_levels",
    "render_svg",
    "write_bits_svg",
    "write_compare_page",
    "write_compare_svg",
    "write_cost_page",
    "write_fronts_page",
    "write_fronts_svg",
    "write_levels_page",
    "write_report",
]
