"""HW-FlowQ's recipe: one genetic search at three levels, each level's front handed to the next."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hwflow.cost import Limits
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.extract import extract
from hwflow.front import Front, Trial
from hwflow.problem import Problem
from hwflow.quality.sensitivity_table import Sensitivity
from hwflow.recipes.hw_flowq import (
    PROMOTED,
    Refined,
    Stage,
    default_costs,
    hw_flowq,
    problem_at,
    promoted,
    quantization_space,
    shift,
)
from hwflow.solvers.surrogate import incumbent, rank_correlation, refined, seeds
from hwflow.study import Study

ON = "simd-16"
BELOW = ("latency=80%", "energy=80%")
BITS = (2, 4, 8)


def run(net, data, out: Path, **more) -> Refined:
    return hw_flowq(
        net, data, ON, out, bits=BITS, below=BELOW, evaluations=24, population=6, images=40,
        calibration=16, qualities=out / "qualities.db", **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(net, data, tmp_path_factory) -> Refined:
    return run(net, data, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def space(net, data):
    return quantization_space(net, data, BITS, 16)


def test_the_levels_come_in_order_and_share_the_evaluations(found):
    assert [stage.level for stage in found.stages] == ["coarse", "mid", "fine"]
    counts, known, free = [], set(), []
    for stage in found.stages:
        with Study.read(stage.folder) as study:
            plans = [t.plan for t in study.trials() if t.quality is not None]
        first = stage.problem.space.uniform() if not known else plans[:6]  # the population
        free.append(len(known.intersection(first)))
        counts.append(len(plans) - free[-1])
        known |= set(plans)
    assert counts == [10, 5, 10]
    assert free[0] == 0 < min(free[1:])  # networks of earlier levels cost nothing, nor count


def test_every_network_of_the_front_keeps_the_limits_in_shares_of_eight_bits(found):
    whole = default_costs(found.problem)
    assert found.front.trials
    for trial in found.front:
        assert trial.total["latency_s"] <= 0.8 * whole["latency_s"]
        assert trial.total["energy_j"] <= 0.8 * whole["energy_j"]


def test_what_is_built_is_what_was_costed(found):
    trial = found.front.pick("most accurate")
    built = found.problem.design.with_workload(extract(trial.build()))
    total = found.problem.cost.costs([built])[0].total
    assert total == pytest.approx({name: total[name] for name in total})
    for name in ("latency_s", "energy_j", "bit_ops"):
        assert total[name] == pytest.approx(trial.total[name])


def test_each_level_begins_with_the_front_of_the_one_before_within_its_own_limits(found):
    before, after = found.stages[:2]
    with Study.read(after.folder) as study:
        first = [tuple(plan) for plan in study.settings["solver"]["first"]]
    assert first == list(promoted(after.problem, before.front, 6))
    assert 1 <= len(first) <= round(PROMOTED * 6)
    for plan in first:
        assert not after.problem.below.broken(after.problem.costs([plan])[0].total)


def test_coarse_counts_operations_below_the_tightest_share(space):
    problem = problem_at("coarse", space, ON, ("latency=80%", "energy=60%"))
    assert problem.objectives == ("accuracy", "bit_ops", "model_bytes")
    ((name, value),) = problem.below.items()
    assert name == "bit_ops"
    assert value == pytest.approx(0.6 * default_costs(problem)["bit_ops"])


def test_without_limits_coarse_has_none_and_absolute_ones_become_shares(space):
    assert not problem_at("coarse", space, ON).below.items()
    mid = default_costs(problem_at("mid", space, ON))
    limit = f"latency={0.7 * mid['latency_s']!r}s"
    problem = problem_at("coarse", space, ON, (limit,))
    assert dict(problem.below.items())["bit_ops"] == pytest.approx(
        0.7 * default_costs(problem)["bit_ops"]
    )


def test_a_single_cost_is_searched_for_beside_the_accuracy(space):
    assert problem_at("mid", space, ON, single="latency").objectives == ("accuracy", "latency_s")
    assert problem_at("coarse", space, ON, single="latency").objectives == ("accuracy", "bit_ops")
    assert problem_at("fine", space, ON).objectives == ("accuracy", "energy_j", "latency_s")


def test_how_the_front_moved_is_said(found):
    first, second = found.shifts
    assert (first.before, first.after, second.before, second.after) == (
        "coarse", "mid", "mid", "fine"
    )  # fmt: skip
    for one in found.shifts:
        assert 0 <= one.survived <= one.undominated <= one.feasible <= one.plans
        assert 0 <= one.covered <= 1.5


def test_a_front_that_the_next_level_keeps_as_it_is_covers_all_of_it(found):
    last = found.stages[-1]
    same = shift(last, replace(last, level="again"))
    assert (same.plans, same.feasible, same.undominated, same.survived) == (len(last.front),) * 4
    assert same.covered == pytest.approx(1.0)


def test_a_front_beyond_the_new_limits_covers_nothing(space, tmp_path):
    free = problem_at("mid", space, ON)
    trial = Trial(0, space.default, default_costs(free), 0.9)
    small = space.uniform()[0]
    total = {name: float(v[0]) for name, v in free.totals([small]).items()}
    tight = Problem(space, ON, free.cost, Limits(latency_s=total["latency_s"]), free.objectives)
    before = Stage("mid", free, Front.of([trial], free.objectives), tmp_path)
    after = Stage("fine", tight, Front.of([Trial(0, small, total, 0.5)], free.objectives), tmp_path)
    moved = shift(before, after)
    assert (moved.plans, moved.feasible, moved.survived, moved.covered) == (1, 0, 0, 0.0)


def test_levels_and_machines_share_their_accuracies(net, data, found, tmp_path):
    kept = found.stages[0].folder.parent / "qualities.db"
    other = hw_flowq(
        net, data, "bismo", tmp_path, bits=BITS, evaluations=3, population=3, images=40,
        calibration=16, levels=("mid",), qualities=kept,
    )  # fmt: skip
    with Study.read(found.stages[0].folder) as study:
        known = {trial.plan: trial.seconds for trial in study.trials() if trial.quality is not None}
    with Study.read(other.stages[0].folder) as study:
        shared = [trial for trial in study.trials() if trial.plan in known]
    assert shared
    assert all(trial.seconds == known[trial.plan] for trial in shared)


def test_another_search_in_the_same_folder_is_refused(net, data, found):
    folder = found.stages[0].folder.parent
    with pytest.raises(HwflowError, match=r"evaluations=24, seed=0.*asked for are .*seed=1"):
        run(net, data, folder, seed=1)


def test_limits_out_of_reach_are_refused_before_anything_is_evaluated(net, data, tmp_path):
    with pytest.raises(InfeasibleError, match="No plan meets"):
        hw_flowq(
            net, data, ON, tmp_path, bits=BITS, below=("latency=1%",), evaluations=6,
            levels=("mid",), calibration=16,
        )  # fmt: skip
    assert not (tmp_path / "mid").exists()


def test_a_seeded_search_begins_with_what_the_program_makes_of_single_changes(net, data, tmp_path):
    found = hw_flowq(
        net, data, ON, tmp_path, bits=(2, 8), evaluations=6, population=6, images=20, seeded=10,
        calibration=16, levels=("mid",),
    )  # fmt: skip
    with Study.read(found.stages[0].folder) as study:
        first = study.settings["solver"]["first"]
    assert 1 <= len(first) <= 3
    assert (tmp_path / "sensitivity.json").exists()


def seeded(net, data, out):
    return hw_flowq(
        net, data, ON, out, bits=(2, 8), evaluations=20, population=8, images=20, seeded=10,
        calibration=16, levels=("coarse", "mid"),
    )  # fmt: skip


def test_the_result_of_a_seeded_search_says_what_single_changes_were_worth(net, data, tmp_path):
    found = seeded(net, data, tmp_path)
    assert len(found.tables) == 2
    for told, stage, one in zip(found.tables, found.stages, found.correlations, strict=True):
        assert one == pytest.approx(rank_correlation(told, stage.ranked()))
    assert {gap.trial.plan for gap in found.gaps} <= {trial.plan for trial in found.front}
    assert found.gaps
    assert all(0 <= gap.gap <= gap.proven for gap in found.gaps)


def test_a_poor_table_is_measured_again_around_the_incumbent_of_the_level_before(
    net, data, tmp_path, monkeypatch
):
    monkeypatch.setattr("hwflow.recipes.hw_flowq.refined", partial(refined, trusted=2.0))
    found = seeded(net, data, tmp_path)
    coarse, mid = found.stages
    table = Sensitivity.read(tmp_path / "sensitivity-mid.json")
    assert table.base == incumbent(coarse.problem, coarse.ranked())
    assert found.tables == (Sensitivity.read(tmp_path / "sensitivity.json").table(), table.table())
    with Study.read(mid.folder) as study:
        first = {tuple(plan) for plan in study.settings["solver"]["first"]}
    assert set(seeds(mid.problem, table.table(), 4)) <= first
    again = seeded(net, data, tmp_path)
    assert [trial.plan for trial in again.front] == [trial.plan for trial in found.front]


def test_without_single_changes_the_result_says_nothing_of_them(found):
    assert (found.tables, found.correlations, found.gaps) == ((), (), [])
