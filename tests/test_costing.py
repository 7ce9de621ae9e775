"""`hwflow cost` without the screen: options, the user's cache, reports, saved mappings."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sketch_nets import small

from hwflow import costing
from hwflow.costing import Options
from hwflow.costs.fine import compiled
from hwflow.costs.fine.cache import user_file
from hwflow.errors import HwflowError
from hwflow.machine import load_machine

EYERISS = load_machine("eyeriss")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_level_is_mid_and_fine_for_given_mappings() -> None:
    assert Options().name == "mid"
    assert Options(mapping=Path("a.yaml")).name == "fine"
    assert Options(level="chip", mapping=Path("a.yaml")).name == "chip"


def test_levels_without_a_search_have_no_reports_and_refuse_its_options(tmp_path: Path) -> None:
    found = costing.run(small(), EYERISS, Options())
    assert (found.level, found.reports, found.certificate) == ("mid", (), "")
    assert "certificate" not in found.to_json()
    for option in (
        Options("mid", objective="energy"), Options("coarse", full=True),
        Options("mid", mapping=tmp_path / "a.yaml"), Options("mid", time_limit=1.0),
        Options("mid", view="gemm"),
    ):  # fmt: skip
        with pytest.raises(HwflowError, match=r"--\S+: the \w+ level knows no mappings. Add"):
            costing.run(small(), EYERISS, option)
    with pytest.raises(HwflowError, match="the mid level has no mappings"):
        costing.save_mappings(found, tmp_path / "a.yaml")


def test_the_fine_level_keeps_its_mappings_for_the_next_process() -> None:
    found = costing.run(small(), EYERISS, Options("fine"))
    with sqlite3.connect(user_file()) as file:
        assert file.execute("SELECT count(*) FROM mappings").fetchone() == (2,)
    assert costing.run(small(), EYERISS, Options("fine")).cost.total == found.cost.total
    assert not found.notes[-1].startswith("Mappings are not kept")


def test_no_cache_leaves_nothing_on_disk() -> None:
    costing.run(small(), EYERISS, Options("fine", cached=False))
    assert not user_file().exists()


def test_a_cache_that_cannot_be_opened_is_a_note() -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text("not a data base" * 100)
    found = costing.run(small(), EYERISS, Options("fine"))
    assert found.cost.latency_s > 0
    assert found.notes[-1].startswith("Mappings are not kept for the next time. Cannot use")


def test_a_cache_that_fails_later_is_a_note() -> None:
    costing.run(small(), EYERISS, Options("fine"))
    with sqlite3.connect(user_file()) as file:
        file.execute("UPDATE mappings SET found = 'no json'")
    found = costing.run(small(), EYERISS, Options("fine"))
    assert found.cost.latency_s > 0
    assert "failed" in found.notes[-1]
    assert "Delete it" in found.notes[-1]


def test_reports_stand_beside_the_layers_costs() -> None:
    found = costing.run(small(), EYERISS, Options("fine"))
    layers = {layer["name"]: layer for layer in found.to_json()["layers"]}
    assert layers["conv"]["gap"] == 0
    assert {"mapping", "cycles", "latency_s", "bytes_by_memory"} <= set(layers["conv"])
    assert "mapping" not in layers["pool"]
    assert found.certificate == found.to_json()["certificate"]
    assert found.certificate.endswith("proven optimal in the default mapspace of eyeriss.")


def test_objective_and_mapspace_reach_the_search() -> None:
    least = {
        goal: costing.run(small(), EYERISS, Options("fine", objective=goal, cached=False))
        for goal in ("latency", "energy", "edp")
    }
    assert least["energy"].cost.energy_j <= least["latency"].cost.energy_j
    assert least["latency"].cost.latency_s <= least["energy"].cost.latency_s
    assert "Mappings of least edp" in least["edp"].certificate
    full = costing.run(small(), EYERISS, Options("fine", full=True, cached=False))
    assert "full mapspace" in full.certificate
    assert full.cost.latency_s <= least["latency"].cost.latency_s * (1 + 1e-12)
    with pytest.raises(HwflowError, match="objective 'speed'"):
        costing.run(small(), EYERISS, Options("fine", objective="speed"))


def test_saved_mappings_are_replayed_to_the_same_cost(tmp_path: Path) -> None:
    searched = costing.run(small(), EYERISS, Options("fine", cached=False))
    costing.save_mappings(searched, tmp_path / "a.yaml")
    again = costing.run(small(), EYERISS, Options(mapping=tmp_path / "a.yaml", cached=False))
    assert again.cost.total == pytest.approx(searched.cost.total)
    assert again.certificate == ""


def test_saved_parameters_of_the_chip_are_replayed_too(tmp_path: Path) -> None:
    options = Options("chip", objective="energy", cached=False)
    searched = costing.run(small(), EYERISS, options)
    costing.save_mappings(searched, tmp_path / "a.yaml")
    again = costing.run(small(), EYERISS, Options(mapping=tmp_path / "a.yaml", cached=False))
    assert again.cost.total == pytest.approx(searched.cost.total)


def test_parameters_alone_leave_the_other_convolutions_to_the_chip_model(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("layers: {conv: '8,1,8,4,1,1,1'}")
    found = costing.run(small(2), EYERISS, Options(mapping=tmp_path / "a.yaml", cached=False))
    plain = {layer["name"]: layer for layer in found.to_json()["layers"]}
    assert plain["conv"]["gap"] is None
    assert plain["conv1"]["passes"]["m"] >= 1
    assert "passes" not in plain["fc"]


def test_compiling_is_announced_once_and_only_when_it_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    options = Options("fine", before_compiling=lambda: said.append("now"))
    costing.run(small(), EYERISS, options)
    assert said == []  # the kernels are compiled already, or have just been
    ready = iter((False, True, True))
    monkeypatch.setattr(compiled, "is_compiled", lambda: next(ready))
    costing.run(small(3), load_machine("simd-16"), options)
    assert said == ["now"]


def test_a_view_is_chosen_for_one_run() -> None:
    assert costing.with_view(EYERISS, None) is EYERISS
    machine = costing.with_view(EYERISS, "gemm")
    assert (machine.view, EYERISS.view) == ("gemm", "convolution")
    plain, unfolded = (
        costing.run(small(), one, Options("fine", cached=False)).cost.dram_bytes
        for one in (EYERISS, machine)
    )
    assert unfolded > plain
    with pytest.raises(HwflowError, match="Unknown view 'im2col'"):
        costing.with_view(EYERISS, "im2col")


def test_densities_come_from_a_file(tmp_path: Path) -> None:
    workload = small()
    assert costing.with_densities(workload, None) is workload
    (tmp_path / "d.csv").write_text("layer,density\nconv,0.25\n")
    sparse = costing.with_densities(workload, tmp_path / "d.csv")
    dense_j, sparse_j = (
        costing.run(w, EYERISS, Options()).cost.energy_j for w in (workload, sparse)
    )
    assert dense_j - sparse_j == pytest.approx(0.75 * workload["conv"].macs * 2e-12)
