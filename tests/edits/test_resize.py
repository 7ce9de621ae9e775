"""Resize: another machine on paper, the same network, a square that holds."""

from __future__ import annotations

import pytest
from toy import chain

from hwflow.cost import Limits
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.edits.resize import Resize, resize
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import load_machine
from hwflow.machine.varied import varied
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.testing import check_edit

EYERISS = load_machine("eyeriss")
VARY = {"array.rows": (6, 12, 24), "GLB.size": ("54 KiB", "216 KiB"), "engine": ("bitfusion",)}


def test_the_machines_own_values_are_the_default() -> None:
    space = resize(chain(), "eyeriss", VARY)
    values = space.values(space.default)
    assert values["machine:array.rows"] == 12
    assert values["machine:engine"] == "eyeriss"
    assert space.on_paper(space.default, Design(chain(), EYERISS)).machine == EYERISS


def test_a_plan_changes_the_machine_and_not_the_network() -> None:
    space = resize(chain(), "eyeriss", VARY)
    plan = space.plan({"machine:array.rows": 24, "machine:engine": "bitfusion"})
    design = space.on_paper(plan, Design(chain(), EYERISS))
    assert design.machine == varied(EYERISS, {"array.rows": 24, "engine": "bitfusion"})
    assert design.workload == chain()


def test_the_square_holds() -> None:
    network = load("cifar:resnet20", num_classes=10)
    check_edit(Resize((("array.cols", 7),)), network)


def test_costs_follow_the_machine() -> None:
    space = resize(chain(), "eyeriss", {"array.cols": (7, 14, 28)})
    problem = Problem(space, "eyeriss", Fine())
    latency = problem.totals([space.plan({"machine:array.cols": n}) for n in (7, 14, 28)])
    slow, own, fast = latency["latency_s"].tolist()
    assert slow > own >= fast


def test_limits_hold_for_machines_too() -> None:
    space = resize(chain(), "eyeriss", {"array.cols": (7, 14, 28)})
    problem = Problem(space, "eyeriss", Mid(), Limits(latency_s=1.0))
    costs = problem.costs([space.default])
    assert not problem.below.broken(costs[0].total)


def test_paths_and_values_are_checked_when_the_space_is_made() -> None:
    with pytest.raises(MachineError, match=r"array\.rows"):
        resize(chain(), "eyeriss", {"array.row": (8,)})
    with pytest.raises(MachineError, match="no unit"):
        resize(chain(), "eyeriss", {"GLB.size": (64,)})
    with pytest.raises(HwflowError, match="No values"):
        resize(chain(), "eyeriss", {"array.rows": ()})
