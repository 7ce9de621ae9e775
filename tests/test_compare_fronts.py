"""Fronts side by side: shares of the default plan's cost, bits by choice, costs taken anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toy import ToyQuality, toy_problem

from hwflow.compare import fronts
from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.loop import search
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "eyeriss"
    front = search(toy_problem(), ToyQuality(), NSGA2(0, population=8), folder, evaluations=24)
    return folder, front


def test_costs_are_shares_of_the_default_plan_on_the_same_machine(run):
    folder, front = run
    (found,) = fronts([folder])
    problem = toy_problem()
    whole = problem.totals([problem.space.default])
    assert found.numbers == tuple(trial.number for trial in front)
    for name in ("latency_s", "energy_j"):
        assert found.shares[name] == pytest.approx(
            [trial.total[name] / float(whole[name][0]) for trial in front]
        )
    assert max(found.shares["energy_j"]) <= 1
    assert (found.machine, found.level, found.evaluations) == ("eyeriss", "toy", 24)


def test_bits_are_the_values_of_the_choices_network_by_network(run):
    folder, front = run
    (found,) = fronts([f"engine={folder}"])
    assert found.name == "engine"
    assert set(found.bits) == {choice.name for choice in toy_problem().space.choices}
    assert found.bits["weight_bits:conv2"] == tuple((2, 4, 8)[trial.plan[2]] for trial in front)


def test_a_front_that_is_costed_again_is_that_of_the_other_problem(run):
    folder, _ = run
    problem = replace(toy_problem(Limits(latency_s=1.5e-2)), objectives=("accuracy", "latency"))
    (found,) = fronts([folder], [problem])
    whole = float(problem.totals([problem.space.default])["latency_s"][0])
    assert max(found.shares["latency_s"]) * whole <= 1.5e-2
    assert list(found.quality) == sorted(found.quality)
    assert list(found.shares["latency_s"]) == sorted(found.shares["latency_s"])


def test_a_run_without_its_default_plan_is_refused_with_the_way_out(tmp_path):
    search(toy_problem(), ToyQuality(), Random(0), tmp_path / "r", evaluations=4)
    with pytest.raises(HwflowError, match="has not costed its default plan"):
        fronts([tmp_path / "r"])
