"""What the command line shows: tables and the progress of a search. The library never prints."""

from hwflow.screen.bars import SearchBar, counting_bar, measuring_bar, search_bar, tuning_bar
from hwflow.screen.base import err, out
from hwflow.screen.built import built_lines, built_table, latency_table
from hwflow.screen.costs import (
    layer_table,
    machine_table,
    show_costing,
    show_levels,
    show_relief,
    show_times,
    total_table,
)
from hwflow.screen.searches import compare_table, front_table, show_comparison, worth_lines

__all__ = [
    "SearchBar",
    "built_lines",
    "built_table",
    "compare_table",
    "counting_bar",
    "err",
    "front_table",
    "latency_table",
    "layer_table",
    "machine_table",
    "measuring_bar",
    "out",
    "search_bar",
    "show_comparison",
    "show_costing",
    "show_levels",
    "show_relief",
    "show_times",
    "total_table",
    "tuning_bar",
    "worth_lines",
]
