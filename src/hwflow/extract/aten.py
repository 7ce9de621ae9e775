"""What each ATen operator is as a layer: one rule by operator name."""

from __future__ import annotations

from hwflow.extract import aten_pointwise, aten_products, aten_views
from hwflow.extract.call import Rule

RULES: dict[str, Rule] = {
    name: rule
    for table in (aten_products.RULES, aten_views.RULES, aten_pointwise.RULES)
    for names, rule in table.items()
    for name in names.split()
}
"""Operator name without library and overload -> rule."""
