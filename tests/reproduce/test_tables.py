"""Tables of results for the docs."""

from __future__ import annotations

import json

from hwflow.reproduce.tables import percent, points, results, table


def test_a_table_has_its_heads_a_rule_and_its_rows():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"


def test_quick_results_are_left_out_and_the_rest_is_in_order(tmp_path):
    for name, quick in (("b", False), ("a", False), ("c", True)):
        (tmp_path / f"tune-{name}.json").write_text(json.dumps({"n": name, "quick": quick}))
    (tmp_path / "other.json").write_text("{}")
    assert [row["n"] for row in results(tmp_path, "tune-*.json")] == ["a", "b"]


def test_shares_are_percent_and_what_is_missing_is_said():
    assert percent(0.1234) == "12.3 %"
    assert percent(None) == "not reached"


def test_points_are_a_drop_with_its_interval_or_a_gain():
    test = {"drop": 0.013, "half_width_95": 0.0054}
    assert points(test) == "+1.30 ± 0.54"
    assert points(test, 1, sign=-1) == "-1.3 ± 0.5"
