"""Stages without data: what they keep, and a small network from the zoo to the runtime."""

from __future__ import annotations

import json

import pytest

from hwflow.reproduce import Settings, any_graph, hardware_side
from hwflow.reproduce.stages import kept


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(tmp_path, tmp_path, "nowhere", quick=True)


def test_a_result_is_made_once_and_its_file_is_whole(tmp_path):
    file, calls = tmp_path / "deep" / "row.json", []

    def make() -> dict[str, object]:
        calls.append(1)
        return {"row": 1}

    assert kept(file, make) == kept(file, make) == json.loads(file.read_text()) == {"row": 1}
    assert len(calls) == 1
    assert [p.name for p in file.parent.iterdir()] == ["row.json"]


def test_networks_that_were_done_are_not_done_again(settings, monkeypatch):
    done = []

    def apart(name: str) -> dict[str, object]:
        done.append(name)
        return {"network": name}

    monkeypatch.setattr(any_graph, "apart", apart)
    first = any_graph.any_graph_stage(settings)
    assert any_graph.any_graph_stage(settings) == first
    assert done == list(any_graph.QUICK)
    assert [row["network"] for row in first["results"]] == done


def test_a_network_that_cannot_be_loaded_is_a_row_with_its_fault(monkeypatch):
    row = any_graph.one("resnet5000")
    assert "resnet5000" in row["fault"]
    assert "NOT EXPLAINED" not in row["fault"]


def test_shares_of_what_binds_the_latency_add_up_to_one():
    rows = [
        {"bound_by_after": "compute", "latency_s_after": 3.0},
        {"bound_by_after": "dram", "latency_s_after": 1.0},
        {"bound_by_after": "none", "latency_s_after": 0.0},
    ]
    assert hardware_side.bounds(rows, "after") == {"compute": 0.75, "dram": 0.25}


@pytest.mark.slow
def test_a_small_network_is_pruned_exported_and_equal_in_the_runtime(settings):
    row = any_graph.one("squeezenet1_1")
    assert row["half_reached"] is True
    assert row["after"]["latency_s"] <= 0.5 * row["before"]["latency_s"]
    assert row["onnx"]["agreement"] == 1.0
