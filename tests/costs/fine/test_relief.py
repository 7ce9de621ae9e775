from __future__ import annotations

import json
from functools import cache

import pytest

from hwflow.cost import Cost
from hwflow.costs.fine import Fine
from hwflow.costs.fine.relief import Gain, Relief, percent, relief
from hwflow.costs.fine.remedies import remedies
from hwflow.design import Design
from hwflow.machine import load_machine
from hwflow.testing.toy import toy_workload
from hwflow.workload import Workload


def design(name: str) -> Design:
    return Design(toy_workload(), load_machine(name))


@cache
def found(name: str = "eyeriss") -> Relief:
    return relief(Fine(), design(name))


def cost(name: str, workload: Workload, key: str | None = None) -> Cost:
    """Cost anew, with a level of its own, on the machine that a remedy changes."""
    machine = load_machine(name)
    if key is not None:
        (changed,) = [r.machine for r in remedies(machine) if r.key == key]
        assert changed is not None
        machine = changed
    return Fine().cost(Design(workload, machine))


@pytest.mark.parametrize("name", ["eyeriss", "systolic-16x16"])
def test_gains_are_those_of_costing_the_changed_machine(name: str) -> None:
    got, workload = found(name), toy_workload()
    before = cost(name, workload)
    keys = [r.key for r in remedies(load_machine(name)) if r.machine is not None]
    assert len(keys) >= 5
    for key in keys:
        after = cost(name, workload, key)
        (total,) = [g for g in got.total if g.key == key]
        assert total.latency_s == pytest.approx(after.total["latency_s"])
        assert total.energy_saved == pytest.approx(
            1 - after.total["energy_j"] / before.total["energy_j"], abs=1e-12
        )
        for layer in got.layers:
            (gain,) = [g for g in layer.gains if g.key == key]
            old, new = ({x.name: x for x in c.layers}[layer.name] for c in (before, after))
            assert gain.latency_s == pytest.approx(new.latency_s)
            assert gain.latency_saved == pytest.approx(1 - new.latency_s / old.latency_s, abs=1e-12)


@pytest.mark.parametrize(("key", "operand"), [("weight bits", "w"), ("activation bits", "a")])
def test_half_the_bits_are_those_of_costing_them(key: str, operand: str) -> None:
    workload, machine = toy_workload(), load_machine("eyeriss")
    macs = [layer.name for layer in workload.mac_layers]
    for name in macs:
        weights = {name: 8} if operand == "w" else {}
        source = workload[name].inputs[0]
        tensors = {source: 8} if operand == "a" else {}
        alone = Fine().cost(Design(workload.with_bits(weights, tensors), machine))
        (layer,) = [x for x in found().layers if x.name == name]
        (gain,) = [g for g in layer.gains if g.key == key]
        assert gain.doing == f"8-bit {'weights' if operand == 'w' else 'inputs'}"
        assert gain.latency_s == pytest.approx({x.name: x for x in alone.layers}[name].latency_s)
    tensors = {n: 8 for n, g in workload.bit_groups.items() if g != workload.bit_groups["head"]}
    all_weights = dict.fromkeys(macs, 8)
    halved = workload.with_bits(*((all_weights, {}) if operand == "w" else ({}, tensors)))
    (total,) = [g for g in found().total if g.key == key]
    assert total.energy_j == pytest.approx(Fine().cost(Design(halved, machine)).total["energy_j"])


def test_operands_of_one_bit_are_not_halved() -> None:
    workload = toy_workload()
    one = workload.with_bits({layer.name: 1 for layer in workload.mac_layers}, {})
    got = relief(Fine(), Design(one, load_machine("eyeriss")))
    assert all("weight bits" not in {g.key for g in layer.gains} for layer in got.layers)
    assert "weight bits" not in {g.key for g in got.total}
    assert "activation bits" in {g.key for g in got.total}


def test_what_saves_most_comes_first() -> None:
    for gains in (found().total, *(layer.gains for layer in found().layers)):
        saved = [gain.latency_saved for gain in gains]
        assert saved == sorted(saved, reverse=True)
    for layer in found().layers:
        assert layer.best is None or layer.best == layer.gains[0]


def test_a_search_for_energy_ranks_by_energy() -> None:
    got = relief(Fine("energy"), design("eyeriss"))
    saved = [gain.energy_saved for gain in got.total]
    assert saved == sorted(saved, reverse=True)
    assert [gain.saved for gain in got.total] == saved


@pytest.mark.parametrize("name", ["eyeriss", "systolic-16x16"])
def test_what_binds_takes_longest(name: str) -> None:
    for layer, report in zip(found(name).layers, Fine().report(design(name)), strict=True):
        assert layer.cycles["total"] == report.score.cycles
        longest = max(v for k, v in layer.cycles.items() if k != "total")
        assert layer.cycles[layer.binds] == longest
        if layer.binds != "ends":
            assert layer.binds == report.score.bound_by


@pytest.mark.parametrize("name", ["eyeriss", "systolic-16x16", "bitfusion"])
def test_shares_of_the_array_multiply_to_its_utilization(name: str) -> None:
    for layer, report in zip(found(name).layers, Fine().report(design(name)), strict=True):
        use = layer.use
        assert use.active * use.filled * use.busy == pytest.approx(report.score.utilization)
        assert use.idle == pytest.approx(1 - report.score.utilization)
        assert 0 < use.filled <= 1
        assert 0 < use.busy <= 1
        assert use.rows.used * use.columns.used == report.score.active_pes


def test_the_sentence_says_what_binds_what_helps_and_by_how_much() -> None:
    for layer in found().layers:
        start = {"compute": "Arithmetic", "port": "The port of GLB", "dram": "DRAM",
                 "ends": "First load"}[layer.binds]  # fmt: skip
        assert layer.sentence.startswith(f"{start} bind")
        if layer.best:
            assert layer.best.words in layer.sentence
    assert found().sentence.startswith(f"For the whole network: {found().total[0].words}")


def test_words_of_a_gain_agree_in_number() -> None:
    gain = Gain("x", "8-bit weights", 1, 1, 0.35, 0.1, 0.35)
    assert gain.words == "8-bit weights save 35 %"
    halved = Gain("x", "halving the bits of weights", 1, 1, 0.35, 0.1, 0.35)
    assert halved.words == "halving the bits of weights saves 35 %"
    assert percent(0.004) == "0.4 %"


def test_json_has_the_gains_and_the_array() -> None:
    plain = json.loads(json.dumps([layer.to_json() for layer in found().layers]))
    first = plain[0]
    assert {"binds", "cycles_by", "array", "gains", "best", "sentence"} <= set(first)
    assert first["gains"][0]["key"] == found().layers[0].gains[0].key
    assert 0 <= first["array"]["idle"] < 1
    assert found().to_json()["gains"][0]["latency_saved"] == found().total[0].latency_saved
