"""Fine as a cost model: cached, and clear about what cannot be costed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from random_layers import conv

from hwflow.cost import Bits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import Cache, user_file
from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError, WorkloadError
from hwflow.machine import Accelerator, load_machine
from hwflow.workload import Input, Layer, Workload


def net(count: int = 3) -> Workload:
    """Equal convolutions in a chain, an add at the end."""
    layers, source = [], "x"
    shape = (1, 16, 10, 10)
    for index in range(count):
        layers.append(Layer(
            f"conv{index}", "conv", (source,), (shape,), shape, out_channels=16, in_channels=16,
            out_size=(10, 10), kernel=(3, 3), padding=(1,) * 4, input_bits=(32,), params=2304,
        ))  # fmt: skip
        source = f"conv{index}"
    layers.append(Layer("add", "add", (source, "x"), (shape, shape), shape, input_bits=(32, 32)))
    return Workload("net", tuple(layers), (Input("x", shape),), ("add",))


def test_equal_layers_are_searched_once() -> None:
    fine = Fine()
    found = fine.cost(Design(net(), load_machine("eyeriss")))
    assert len(fine.cache) == 1
    assert len({layer.latency_s for layer in found.layers[:3]}) == 1


def test_many_bits_at_once_cost_what_each_costs_alone() -> None:
    design, rng = Design(net(), load_machine("simd-16")), np.random.default_rng(3)
    bits = Bits(rng.choice([2, 4, 8], (6, 4)), rng.choice([4, 8], (6, 5)))
    fine = Fine("edp")
    together = fine.over_bits(design, bits)
    for row in range(len(bits)):
        names = [layer.name for layer in design.workload]
        weights = dict(zip(names, bits.weights[row].tolist(), strict=True))
        tensors = dict(zip(["x", *names], bits.tensors[row].tolist(), strict=True))
        alone = fine.cost(design.with_workload(design.workload.with_bits(weights, tensors)))
        assert alone.total == pytest.approx(together[row].total)


def test_fewer_bits_never_cost_more() -> None:
    for name in ("eyeriss", "simd-16", "bismo"):
        design, fine = Design(net(1), load_machine(name)), Fine()
        bits = Bits(np.array([[b, 32] for b in (2, 4, 8)]), np.array([[b] * 3 for b in (2, 4, 8)]))
        costs = fine.over_bits(design, bits)
        for metric in ("latency_s", "dram_bytes"):
            values = costs.total[metric]
            assert (np.diff(values) >= -1e-12 * values[1:]).all()


def test_the_report_adds_up() -> None:
    design = Design(net(), load_machine("eyeriss"))
    fine = Fine("energy")
    cost, report = fine.cost(design), fine.report(design)
    assert [entry.name for entry in report] == ["conv0", "conv1", "conv2"]
    for entry, layer in zip(report, cost.layers, strict=False):
        plain = entry.to_json()
        assert sum(plain["energy_by_part"].values()) == pytest.approx(layer.energy_j)
        assert sum(plain["bytes_by_memory"]["dram"].values()) == pytest.approx(layer.dram_bytes)
        assert plain["cycles"] == pytest.approx(layer.latency_s * design.machine.clock_hz)
        assert plain["bound_by"] == layer.bound_by
        assert plain["gap"] == 0
        assert 1 <= plain["active_pes"] <= design.machine.pes
        assert "GLB" in plain["mapping"] or "DRAM" in plain["mapping"]


def test_objectives_seek_what_they_say() -> None:
    design = Design(conv(64, 32, 28, 3, pad=1), load_machine("eyeriss-isca16"))
    by = {goal: Fine(goal).cost(design) for goal in ("latency", "energy", "edp")}
    product = {goal: cost.latency_s * cost.energy_j for goal, cost in by.items()}
    assert by["latency"].latency_s == min(cost.latency_s for cost in by.values())
    assert by["energy"].energy_j == min(cost.energy_j for cost in by.values())
    assert product["edp"] == min(product.values())


def test_a_file_keeps_mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, design = tmp_path / "deep" / "fine.sqlite", Design(net(), load_machine("eyeriss"))
    first = Fine(cache=path).cost(design)
    monkeypatch.setattr(Fine, "_searched", lambda *_: pytest.fail("searched again"))
    assert Fine(cache=path).cost(design).total == first.total
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM mappings").fetchone() == (1,)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are not the mappings you are looking for, " * 50)
    with pytest.raises(HwflowError, match=r"Cannot use .*notes\.txt as a cache"):
        Cache(path)


def test_the_users_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert user_file().parent == Path("/elsewhere/hwflow")


def test_settings_are_part_of_the_digest() -> None:
    kinds = [Fine(), Fine("energy"), Fine(full=True)]
    assert len({fine.digest() for fine in kinds}) == 3
    with pytest.raises(HwflowError, match="objective 'speed'"):
        Fine("speed")  # type: ignore[arg-type]


def changed(name: str, **update: object) -> Accelerator:
    plain = load_machine(name).model_dump(mode="json", by_alias=True)
    return Accelerator.model_validate({**plain, **update})


def test_a_layer_that_cannot_be_mapped_names_the_memory_and_the_bytes() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    plain["memory"][1]["size"] = {"value": "20 B", "source": "test"}
    machine = Accelerator.model_validate(plain)
    with pytest.raises(WorkloadError, match=r"'conv0': .*K16 C16.*GLB lacks 18 bytes"):
        Fine().cost(Design(net(), machine))


def test_a_scratchpad_without_room_is_named() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    plain["scratchpads"]["weights"] |= {
        "size": {"value": "1 B", "source": "test"}, "word": {"value": 8, "source": "test"},
    }  # fmt: skip
    machine = Accelerator.model_validate(plain)
    with pytest.raises(WorkloadError, match=r"weights scratchpad lacks 1 bytes"):
        Fine().cost(Design(net(), machine))


def test_machines_of_other_shapes_are_refused() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    extra = {**plain["memory"][1], "name": "L1"}
    machine = changed("eyeriss", memory=[*plain["memory"], extra],
                      array={**plain["array"], "between": ["GLB", "L1"]})  # fmt: skip
    with pytest.raises(MachineError, match=r"L1 and scratchpads lie in each PE.*mid level"):
        Fine().cost(Design(net(), machine))
