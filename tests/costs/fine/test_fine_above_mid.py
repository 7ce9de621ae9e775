"""Mid's traffic, latency and energy never exceed Fine's: Mid assumes what no mapping can beat."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_layers import BITS, convs, others

from hwflow.costs.fine import Fine
from hwflow.costs.fine.result import Objective
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.extract import extract
from hwflow.machine import load_machine, machine_names
from hwflow.models import load
from hwflow.workload import Workload

QUIET = [HealthCheck.too_slow]
LAYERS = st.one_of(convs(), others())
GOALS = st.sampled_from(("latency", "energy", "edp"))
PAIRS = ((1, 1), (2, 8), (8, 2), (4, 4), (5, 7), (8, 8), (16, 16))


def with_bits(workload: Workload, weight: int, read: int, out: int) -> Workload:
    """Return a network with one width for all weights, inputs and outputs of layers."""
    weights = {layer.name: weight for layer in workload if layer.is_mac}
    inputs = {source.name: read for source in workload.inputs}
    return workload.with_bits(weights, {**inputs, **{layer.name: out for layer in workload}})


def check(workload: Workload, name: str, goal: Objective, full: bool = False) -> None:
    """Compare every layer; MACs are the same at every level."""
    design, model = Design(workload, load_machine(name)), Fine(goal, full=full)
    if not holds_a_weight(design):
        with pytest.raises(WorkloadError, match="the weights scratchpad lacks"):
            model.cost(design)
        return
    fine, mid = model.cost(design), Mid().cost(design)
    assert fine.macs == mid.macs
    for above, below in zip(fine.layers, mid.layers, strict=True):
        for metric in ("dram_bytes", "latency_s", "energy_j"):
            least = getattr(below, metric) * (1 - 1e-9)
            assert getattr(above, metric) >= least, (above.name, metric)


def holds_a_weight(design: Design) -> bool:
    """Say whether a PE's own scratchpad of weights takes one: tpu-v1-like has 8 bits."""
    pad = getattr(design.machine.scratchpads, "weights", None)
    widths = [design.machine.width(layer.weight_bits) for layer in design.workload.mac_layers]
    return pad is None or max(widths, default=0) <= pad.bits


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(LAYERS, st.sampled_from(machine_names()), BITS, BITS, BITS, GOALS)
def test_mid_is_never_above_fine(
    workload: Workload, name: str, weight: int, read: int, out: int, goal: Objective
) -> None:
    check(with_bits(workload, weight, read, out), name, goal)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", machine_names())
def test_mid_is_never_above_fine_on_many_layers_of_each_preset(name: str) -> None:
    @settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
    @given(LAYERS, BITS, BITS, BITS, GOALS, st.booleans())
    def every(
        workload: Workload, weight: int, read: int, out: int, goal: Objective, full: bool
    ) -> None:
        check(with_bits(workload, weight, read, out), name, goal, full)

    every()


@pytest.fixture(scope="module", params=["cifar:resnet20", "torchvision:mobilenet_v2"])
def network(request: pytest.FixtureRequest) -> Workload:
    return extract(load(request.param))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", machine_names())
def test_mid_is_never_above_fine_on_real_networks(network: Workload, name: str) -> None:
    for weight, read in PAIRS:
        check(with_bits(network, weight, read, read), name, "latency")
