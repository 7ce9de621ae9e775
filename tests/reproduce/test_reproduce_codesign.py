"""Co-design as stages: the hypervolume grows with every network that adds to the front."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hwflow.front import Trial
from hwflow.machine import load_machine
from hwflow.reproduce.codesign import FLOOR, own_variants, stages, volumes


def found(*pairs: tuple[int, float, float, float]) -> SimpleNamespace:
    """Return networks of one choice on machines of one choice: plan, accuracy, latency, area."""
    trials = [
        Trial(0, (plan, row), {"latency_s": latency, "area_um2": area}, accuracy)
        for row, (plan, accuracy, latency, area) in enumerate(pairs)
    ]
    scored = {trial.plan[:1]: Trial(0, trial.plan[:1], {}, trial.quality) for trial in trials}
    below = {"latency_s": 2.0, "area_um2": 4.0}
    space = SimpleNamespace(of_network=[0])
    problem = SimpleNamespace(below=below, space=space)
    return SimpleNamespace(problem=problem, pairs=trials, scored=list(scored.values()))


def test_volumes_are_of_the_box_below_the_limits_and_above_the_floor():
    top = FLOOR + (1 - FLOOR) / 2
    curve = volumes(found((0, top, 1.0, 2.0), (1, FLOOR, 1.0, 2.0), (2, 1.0, 1.0, 2.0)))
    assert curve == pytest.approx([0.5**3, 0.5**3, 0.5**2])


def test_every_mode_is_a_stage_and_the_presets_come_last():
    names = [stage.name for stage in stages("resnet20")]
    assert len(set(names)) == len(names)
    assert names[-1] == "codesign-resnet20-presets"


@pytest.mark.parametrize("name", ["bitfusion", "eyeriss", "tpu-v1-like"])
def test_variants_of_a_preset_are_others_of_no_more_area(name):
    machine = load_machine(name)
    found = list(own_variants(machine))
    shapes = {(m.array.rows.value, m.array.cols.value, m.onchip_bits) for m in found}
    assert len(shapes) == len(found) > 8
    assert (machine.array.rows.value, machine.array.cols.value, machine.onchip_bits) not in shapes
    assert all(m.area_um2() <= machine.area_um2() for m in found)
    assert any(m.pes == machine.pes for m in found), "another aspect"
