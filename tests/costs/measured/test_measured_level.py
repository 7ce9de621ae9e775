from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from measured_fakes import fake_device, fake_measuring

import hwflow as hf
from hwflow.cost import Bits
from hwflow.costs.measured.fill import LAUNCH, fill, keyed
from hwflow.costs.measured.level import Measured, calibration_of
from hwflow.costs.measured.profile import calibrate, prepare, profile, space_layers
from hwflow.costs.table import TermTable
from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError
from hwflow.extract import extract
from hwflow.machine import load_machine


@pytest.fixture(scope="module")
def workload():
    return extract(hf.load("cifar:resnet8", input_shape=(3, 8, 8)))


@pytest.fixture
def problem(workload, tmp_path):
    model = Measured(fake_measuring())
    space = hf.prune(workload, keep=(0.5, 1.0)) + hf.quantize(workload, bits=(8,))
    device = fake_device(tmp_path)
    return hf.Problem(space, device, model, objectives=("accuracy", "latency"))


def test_a_network_takes_the_sum_of_its_layers(workload, tmp_path):
    device, model = fake_device(tmp_path), Measured(fake_measuring())
    cost = model.cost(Design(workload, device))
    table = device.latencies
    assert cost.latency_s == pytest.approx(
        sum(table[key].latency_s for la in workload if la.op != "reshape" for key in keyed([la]))
    )
    assert cost.standing["latency_s"] == "measured"
    assert cost.macs == workload.macs
    assert cost.params == workload.params
    assert "energy_j" not in cost.total


def test_equal_layers_are_measured_once(workload, tmp_path):
    device, measuring = fake_device(tmp_path), fake_measuring()
    model = Measured(measuring)
    model.cost(Design(workload, device))
    assert len(measuring.runtime.loads) == len(keyed(workload)) + 1  # and the launch
    model.cost(Design(workload, device))
    assert len(measuring.runtime.loads) == len(keyed(workload)) + 1


def test_a_killed_measurement_goes_on_with_what_is_missing(workload, tmp_path, monkeypatch):
    monkeypatch.setattr("hwflow.costs.measured.fill.CHUNK", 4)
    layers, device = keyed(workload), fake_device(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fill(device, layers, fake_measuring(dies_after=9))
    again, measuring = fake_device(tmp_path), fake_measuring()
    assert len(again.latencies) == 8
    left = {key: layer for key, layer in layers.items() if key not in again.latencies}
    fill(again, left, measuring)
    assert len(measuring.runtime.loads) == len(layers) + 1 - 8
    assert {LAUNCH, *layers} == {key for key, _ in again.latencies.items()}


def test_what_is_in_the_table_stays_as_it_is(workload, tmp_path):
    device = fake_device(tmp_path)
    layers = keyed(workload)
    fill(device, layers, fake_measuring())
    before, digest = dict(device.latencies.items()), device.digest()
    slower = fake_measuring()
    slower.ticks.now = 1.0
    fill(device, layers, slower)
    assert dict(device.latencies.items()) == before
    assert fake_device(tmp_path).digest() == digest


def test_other_settings_have_their_own_entries(workload, tmp_path):
    one = fake_device(tmp_path)
    fill(one, keyed(workload), fake_measuring())
    two = fake_device(tmp_path, threads=2)
    assert len(two.latencies) == 0
    assert one.digest() != two.digest()
    assert (one.clock, two.clock) == ("cpu", "wall")


def test_missing_layers_are_named_where_they_cannot_be_measured(workload, tmp_path):
    device = fake_device(tmp_path, processor="some phone")
    with pytest.raises(MachineError, match=r"no latency of \d+ layers: conv1.*--bundle"):
        Measured(fake_measuring()).cost(Design(workload, device))


def test_rows_over_bits_are_the_costs_of_the_workloads(problem):
    plans = [problem.space.default, *(tuple(0 for _ in problem.space.choices),)]
    plans = [problem.space.canonical(plan) for plan in plans]
    single = [problem.cost.cost(problem.space.on_paper(p, problem.design)) for p in plans]
    together = problem.costs(plans)
    for one, other in zip(single, together, strict=True):
        assert one.total == pytest.approx(other.total)
    base = problem.space.on_paper(plans[0], problem.design)
    table = problem.cost.over_bits(base, Bits.of([base.workload]))
    assert table[0].latency_s == pytest.approx(single[0].latency_s)


def test_latency_adds_up_over_terms_for_integer_programs(problem):
    calibrate(problem, 6, problem.cost.measuring)
    table = TermTable(problem)
    plan = problem.space.canonical([0] * len(problem.space))
    assert table.error([plan, problem.space.default])["latency_s"] < 1e-9


def test_a_profile_holds_every_layer_of_every_plan(problem):
    import random

    found = space_layers(problem)
    assert profile(problem, problem.cost.measuring) == {}
    rng = random.Random(3)
    for _ in range(20):
        plan = problem.space.sample(rng)
        assert keyed(problem.space.on_paper(plan, problem.design).workload).keys() <= found.keys()


def test_a_search_calibrates_a_table_that_has_no_calibration(workload, tmp_path):
    model = Measured(fake_measuring())
    device = fake_device(tmp_path)
    problem = hf.Problem(hf.prune(workload), device, model, objectives=("accuracy", "latency"))
    before = device.digest()
    prepare(problem, model.measuring)
    found = calibration_of(device)
    assert found is not None
    assert found.networks == 16
    assert device.digest() != before
    loads = len(model.measuring.runtime.loads)
    prepare(problem, model.measuring)
    assert len(model.measuring.runtime.loads) == loads
    cost = model.cost(problem.design)
    assert cost.latency_s == pytest.approx(sum(layer.latency_s for layer in cost.layers))


def test_a_search_calibrates_again_for_kinds_of_layers_that_are_new(workload, tmp_path):
    model, device = Measured(fake_measuring()), fake_device(tmp_path)
    floats = hf.Problem(hf.prune(workload), device, model, objectives=("accuracy", "latency"))
    prepare(floats, model.measuring)
    prepare(replace(floats, space=floats.space + hf.quantize(workload, (8,))), model.measuring)
    found = calibration_of(device)
    assert found.networks == 32
    assert found.slopes.keys() >= {"conv", "add", "conv-int8", "add-int8"}


def test_limits_on_what_a_device_does_not_give_are_refused(workload, tmp_path):
    with pytest.raises(HwflowError, match=r"no energy on fake.*It gives latency, macs"):
        hf.Problem(hf.prune(workload), fake_device(tmp_path), Measured())


def test_a_modelled_machine_cannot_be_measured_nor_a_device_modelled(workload, tmp_path):
    with pytest.raises(MachineError, match="eyeriss is a modelled machine"):
        Measured().cost(Design(workload, load_machine("eyeriss")))
    with pytest.raises(MachineError, match="fake is a measured device: it has no"):
        hf.Mid().cost(Design(workload, fake_device(tmp_path)))


def test_the_level_starts_without_torch():
    code = "import sys, hwflow.costs.measured.level, hwflow.costs.measured.profile; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
