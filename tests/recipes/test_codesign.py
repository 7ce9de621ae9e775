"""Co-design: modes against brute force, what never reaches the quality, what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from toy import BitPart, ToyQuality, chain

from hwflow.cost import Limits
from hwflow.costs.mid import Mid
from hwflow.edits.resize import resize
from hwflow.errors import HwflowError, InfeasibleError, MachineError
from hwflow.front import Front, Trial
from hwflow.loop import Progress
from hwflow.machine import load_machine
from hwflow.plans import distinct_plans
from hwflow.problem import Problem
from hwflow.recipes import machine_search
from hwflow.recipes.codesign import MODES, Codesigned, Mode, codesign_space
from hwflow.recipes.machine_search import Machines, Nested
from hwflow.space import Space
from hwflow.study import Study

VARY = {"array.rows": (2, 4, 16), "GLB.size": ("1 KiB", "128 KiB")}
BELOW = ("latency=70%", "area=60%")
WORKLOAD = chain(2)


def networks() -> Space:
    """Sixteen networks."""
    return Space(WORKLOAD, (BitPart(("conv0", "conv1"), (4, 8)),))


def whole() -> Problem:
    return Problem(
        networks() + resize(WORKLOAD, "bitfusion", VARY), "bitfusion", Mid(),
        objectives=("accuracy", "latency", "area"),
    )  # fmt: skip


def run(mode: Mode, out: Path, below: Sequence[str] = BELOW, **options: object) -> Codesigned:
    settings = {"evaluations": 200, "population": 8, "seed": 1} | options
    quality = settings.pop("quality", ToyQuality())
    return codesign_space(
        networks(), quality, "bitfusion", VARY, out, mode=mode, below=below, cost=Mid(), **settings
    )


def exhaustive(problem: Problem) -> Front:
    """Every pair of a network and a machine, costed one by one."""
    own, trials = len(problem.space.of_network), []
    for number, plan in enumerate(distinct_plans(problem.space)):
        total = {name: float(v[0]) for name, v in problem.totals([plan]).items()}
        quality = ToyQuality().score(plan[:own], lambda plan: None)
        broken = tuple(problem.below.broken(total))
        trials.append(Trial(number, plan, total, quality, infeasible=broken))
    return Front.of(trials, problem.objectives)


def points(front: Front) -> list[tuple[float, ...]]:
    return sorted(map(tuple, front.points().round(15).tolist()))


@pytest.mark.parametrize("mode", ["nested", "joint"])
def test_with_evaluations_for_all_the_front_is_the_exhaustive_one(
    mode: Mode, tmp_path: Path
) -> None:
    found = run(mode, tmp_path)
    best = exhaustive(found.problem)
    assert len(best) > 2
    assert points(found.front) == points(best)
    assert points(found.as_found) == points(best)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_keeps_the_limits_and_its_budget(mode: Mode, tmp_path: Path) -> None:
    found = run(mode, tmp_path, evaluations=6)
    assert 1 <= found.evaluations <= 6
    assert len(found.scored) == found.evaluations
    assert found.costed > 0
    for trial in (*found.front, *found.as_found):
        assert not found.problem.below.broken(dict(trial.total))
        assert trial.quality == ToyQuality().score(trial.plan[:4], lambda plan: None)
        single = found.problem.costs([trial.plan])[0].total
        assert trial.total == pytest.approx(single)


def test_networks_without_an_accelerator_are_never_scored(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = run("nested", tmp_path, ("latency=45%", "area=60%"), quality=ToyQuality(log=log))
    scored = {tuple(map(int, line.split(","))) for line in log.read_text().split()}
    problem, space = found.problem, found.problem.space
    pairs = list(distinct_plans(space))
    latency, area = (problem.totals(pairs)[name] for name in ("latency_s", "area_um2"))
    limits = dict(problem.below.items())
    met = (latency <= limits["latency_s"]) & (area <= limits["area_um2"])
    able = {plan[:4] for plan, fine in zip(pairs, met, strict=True) if fine}
    assert 0 < len(able) < 16
    assert scored == able
    assert found.refused == 16 - len(able)


def test_joint_scores_a_network_once_for_all_machines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = run("joint", tmp_path, (), quality=ToyQuality(log=log))
    lines = log.read_text().split()
    assert len(lines) == len(set(lines)) == found.evaluations == 16
    assert len(found.problem.space) == 6


def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    quality = ToyQuality(log=log)
    run("nested", tmp_path, (), evaluations=4, quality=quality)
    again = run("nested", tmp_path, (), evaluations=8, quality=quality)
    alone = run("nested", tmp_path / "alone", (), evaluations=8)
    assert len(log.read_text().split()) == 8
    assert points(again.front) == points(alone.front)


def test_other_machines_are_another_search(tmp_path: Path) -> None:
    run("nested", tmp_path, (), evaluations=2)
    with pytest.raises(HwflowError, match=r"cost\.digest was"):
        codesign_space(
            networks(), ToyQuality(), "bitfusion", {"array.rows": (2, 4)}, tmp_path,
            mode="nested", evaluations=2, population=8, seed=1, cost=Mid(),
        )  # fmt: skip


def test_machines_are_searched_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_search, "COSTED", 5)
    problem = whole()
    machines = Machines(problem, every=1)
    own = problem.space.of_network.default
    some = machines.for_network(own)
    assert 5 <= len(some) <= problem.space.of_machine.size
    assert machines.for_network(own) is some
    assert set(some) <= set(distinct_plans(problem.space.of_machine))


def test_searched_machines_have_the_front_of_all_when_all_are_costed(tmp_path: Path) -> None:
    problem = whole()
    own = problem.space.of_network.default

    def front(plans: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        totals = problem.totals([(*own, *plan) for plan in plans])
        trials = [
            Trial(row, plan, {n: float(v[row]) for n, v in totals.items()}, 0.0)
            for row, plan in enumerate(plans)
        ]
        return points(Front.of(trials, problem.cost_names))

    searched = Machines(problem, every=1).for_network(own)
    assert front(searched) == front(Machines(problem).for_network(own))


def test_a_network_costs_what_its_best_machines_cost() -> None:
    problem = whole()
    nested = Nested.of(problem, Machines(problem))
    totals = nested.totals(list(distinct_plans(problem.space.of_network)))
    for row, own in enumerate(distinct_plans(problem.space.of_network)):
        each = problem.totals([own + m for m in distinct_plans(problem.space.of_machine)])
        assert totals["latency_s"][row] == each["latency_s"].min()
        assert totals["area_um2"][row] == each["area_um2"].min()


def test_machine_first_takes_accelerators_along_the_front(tmp_path: Path) -> None:
    found = run("machine-first", tmp_path, ("latency=1000%",))
    areas = sorted({trial.total["area_um2"] for trial in found.as_found})
    assert all(low < high for low, high in pairwise(areas))
    assert len(list(tmp_path.glob("machine-*"))) in (2, 3, 4)


def test_limits_out_of_reach_are_said_before_anything_is_scored(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for mode in MODES:
        with pytest.raises(InfeasibleError, match=r"[Rr]aise"):
            run(mode, tmp_path / mode, ("latency=1ns",), quality=ToyQuality(log=log))
    assert not log.exists()


def test_a_mode_that_finds_nothing_within_the_limits_says_so(tmp_path: Path) -> None:
    limits = ("latency=45%", "area=60%")
    assert len(run("nested", tmp_path / "nested", limits).front)
    with pytest.raises(InfeasibleError, match=r"None of the 1 networks .* sequential .* nested"):
        run("sequential", tmp_path, limits, evaluations=1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("evaluations", [3, 6, 11])
def test_every_mode_scores_as_many_networks_as_were_asked_for(
    mode: Mode, evaluations: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options = {"evaluations": evaluations, "population": 4}
    found = run(mode, tmp_path, ("latency=200%",), quality=ToyQuality(log=log), **options)
    assert found.evaluations == len(set(log.read_text().split())) == evaluations
    assert len(log.read_text().split()) == evaluations
    run(mode, tmp_path, ("latency=200%",), quality=ToyQuality(log=log), **options)
    assert len(log.read_text().split()) == evaluations, "again: nothing is scored twice"


def test_machine_first_searches_each_machine_from_a_seed_of_its_own(tmp_path: Path) -> None:
    run("machine-first", tmp_path, (), evaluations=8, seed=3)
    seeds = []
    for folder in sorted(tmp_path.glob("machine-*")):
        with Study.read(folder) as study:
            seeds.append(study.settings["solver"]["seed"])
    assert seeds == [12, 13, 14, 15][: len(seeds)]
    assert len(seeds) > 1


def test_progress_counts_networks(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run("machine-first", tmp_path, (), evaluations=8, population=4, on_trial=seen.append)
    assert {progress.budget for progress in seen} == {8}
    assert max(progress.evaluated for progress in seen) == 8


def test_machines_for_a_network_beyond_the_limits_have_the_nearest_among_them() -> None:
    problem = replace(whole(), below=Limits(latency_s=1e-12))
    machines = Machines(problem, every=1)
    own = problem.space.of_network.default
    found = problem.totals([(*own, *machine) for machine in machines.for_network(own)])
    each = problem.totals([(*own, *m) for m in distinct_plans(problem.space.of_machine)])
    assert found["latency_s"].min() == each["latency_s"].min()


def test_unknown_modes_are_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match="Did you mean 'nested'"):
        run("nestd", tmp_path)  # type: ignore[arg-type]


def test_a_machine_without_area_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    machine = load_machine("bitfusion")
    endless = machine.memory[1].model_copy(update={"size": "unlimited"})
    bare = machine.model_copy(update={"memory": (machine.memory[0], endless)})
    with pytest.raises(MachineError, match=r"GLB\.size or GLB\.area"):
        codesign_space(
            networks(), ToyQuality(), bare, {"array.rows": (8,)}, tmp_path, cost=Mid(),
            evaluations=2,
        )  # fmt: skip
    free = replace(whole(), on=bare, objectives=("accuracy", "latency"))
    assert "area_um2" in Mid().cost(free.design).total
    assert np.isfinite(free.totals([free.space.default])["latency_s"]).all()
