"""What a pruning plan costs on paper, alone and among others."""

import random

import pytest
from random_nets import network

import hwflow as hf
from hwflow.edits.prune import channel_step, prune
from hwflow.edits.quantize import quantize
from hwflow.machine import load_machine


@pytest.mark.parametrize("level", [hf.Coarse, hf.Mid, hf.Fine])
@pytest.mark.parametrize("bits", [False, True])
def test_a_plan_costs_the_same_alone_and_among_others(level, bits):
    net = network("residual", "depthwise")
    space = prune(net, (0.5,), branches=True)
    problem = hf.Problem(space + quantize(net, (4, 8)) if bits else space, "systolic-8x8", level())
    rng = random.Random(0)
    plans = [problem.space.sample(rng) for _ in range(3)]
    together = problem.totals(plans)
    for row, plan in enumerate(plans):
        alone, (cost,) = problem.totals([plan]), problem.costs([plan])
        assert alone.keys() == together.keys() == cost.total.keys()
        for name, values in together.items():
            assert float(alone[name][0]) == float(values[row]) == float(cost.total[name])
    assert len({*together["macs"].tolist()}) > 1


@pytest.mark.parametrize(
    ("machine", "step"),
    [("systolic-16x16", 16), ("systolic-8x8", 8), ("eyeriss", 1), ("npu-camera", 32), ("bismo", 8)],
)
def test_the_step_is_the_width_of_the_axis_of_output_channels_alone(machine, step):
    assert channel_step(load_machine(machine)) == step
