"""Every preset costs ordinary layers at every level, and the levels keep their order."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sketches import Sketch

from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.machine import load_machine, machine_names
from hwflow.workload import Workload

MACS = 9 * (16 * 3 * 1024 + 16 * 16 * 1024 + 32 * 16 * 256 + 32 * 256) + 64 * 32 * 256 + 64 * 10


@cache
def small_network() -> Workload:
    """Layers of ResNet-20's sizes, a strided and a depthwise one, and a classifier."""
    net = Sketch((1, 3, 32, 32))
    top = net.conv("first", "x", 16, 3)
    top = net.conv("plain", top, 16, 3)
    top = net.conv("strided", top, 32, 3, 2)
    top = net.conv("depthwise", top, 32, 3, groups=32)
    top = net.conv("pointwise", top, 64, 1)
    top = net.pool("pool", "avg_pool", top, 1)
    return net.done("small", net.linear("fc", net.flat("flat", top), 10))


def at_bits(bits: int) -> Workload:
    net = small_network()
    weights = {layer.name: bits for layer in net.mac_layers}
    tensors = [name for name in net.bit_groups if name not in net.outputs]
    return net.with_bits(weights, dict.fromkeys(tensors, bits))


@pytest.mark.parametrize("name", machine_names())
def test_a_preset_costs_ordinary_layers_at_every_level(name: str) -> None:
    design = Design(at_bits(8), load_machine(name))
    coarse, mid, fine = (model().cost(design) for model in (Coarse, Mid, Fine))
    for found in (coarse, mid, fine):
        assert np.isfinite(found.latency_s)
        assert found.latency_s > 0
        assert found.energy_j > 0
        assert found.macs == MACS
    for less, more in zip(mid.layers, fine.layers, strict=True):
        assert less.latency_s <= more.latency_s * (1 + 1e-9)
        assert less.dram_bytes <= more.dram_bytes * (1 + 1e-9)
        assert less.energy_j <= more.energy_j * (1 + 1e-9)


@pytest.mark.parametrize("name", machine_names())
def test_fewer_bits_never_cost_a_preset_more(name: str) -> None:
    machine = load_machine(name)
    wide, narrow = (Fine().cost(Design(at_bits(bits), machine)) for bits in (8, 4))
    assert narrow.energy_j < wide.energy_j
    assert narrow.latency_s <= wide.latency_s
