"""Comparing runs: equal terms, honest curves, one box for all hypervolumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy import ToyQuality, toy_problem

from hwflow.cli import main
from hwflow.compare import Run, compare
from hwflow.cost import Limits
from hwflow.errors import HwflowError, StudyError
from hwflow.loop import search
from hwflow.solvers import Solver
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random

TIGHT = Limits(latency_s=1.2e-2)


def ran(folder: Path, solver: Solver, evaluations: int = 30, limits: Limits = TIGHT) -> Path:
    search(toy_problem(limits), ToyQuality(), solver, folder, evaluations=evaluations)
    return folder


def test_seeds_of_one_solver_are_one_contender(tmp_path: Path) -> None:
    runs = [ran(tmp_path / f"r{seed}", Random(seed=seed)) for seed in (2, 0, 1)]
    runs.append(ran(tmp_path / "n", NSGA2(population=10)))
    found = compare(runs)
    assert [one.name for one in found.contenders] == ["random", "nsga2"]
    assert [run.seed for run in found.contenders[0].runs] == [0, 1, 2]


def test_settings_tell_contenders_of_one_solver_apart(tmp_path: Path) -> None:
    runs = [ran(tmp_path / str(n), NSGA2(population=n)) for n in (8, 10)]
    assert {one.name for one in compare(runs).contenders} == {
        "nsga2 (population 8)", "nsga2 (population 10)",
    }  # fmt: skip


def test_the_curve_is_the_best_feasible_quality_so_far(tmp_path: Path) -> None:
    run = Run.read(ran(tmp_path / "r", Random(seed=0)))
    known = [t.quality for t in run.trials]
    assert run.best.tolist() == [max(known[: n + 1]) for n in range(len(known))]


def test_probes_count_as_evaluations_but_not_as_answers(tmp_path: Path) -> None:
    run = Run.read(ran(tmp_path / "g", Greedy(), 60))
    assert len(run.trials) > 20
    assert np.isnan(run.best[0])
    assert run.best[-1] == max(t.quality for t in run.trials if t.feasible)
    assert run.best[-1] < max(t.quality for t in run.trials)


def test_contenders_are_ranked_at_the_evaluations_that_all_have(tmp_path: Path) -> None:
    runs = [ran(tmp_path / "a", Random(seed=0), 40), ran(tmp_path / "b", NSGA2(population=8), 25)]
    found = compare(runs)
    assert found.evaluations == 25
    medians = [one.quality_at(25)[1] for one in found.ranking()]
    assert medians == sorted(medians, reverse=True)
    assert found.ranking()[0].quality_at(25)[1] == max(
        t.quality for run in runs for t in Run.read(run).trials[:25] if t.feasible
    )


def test_hypervolumes_share_one_box_and_never_fall(tmp_path: Path) -> None:
    runs = [ran(tmp_path / str(seed), Random(seed=seed)) for seed in (0, 1)]
    found = compare(runs)
    for run in found.contenders[0].runs:
        volumes = [value for _, value in found.volumes(run)]
        assert volumes == sorted(volumes)
        assert 0 < volumes[-1] <= 1
    both = compare([runs[0], runs[0]])
    alone = both.contenders[0].runs[0]
    assert both.hypervolume(alone) >= found.hypervolume(Run.read(runs[0])) - 1e-9


def test_plain_data_names_everything_a_plot_needs(tmp_path: Path) -> None:
    plain = compare([ran(tmp_path / "a", Random(seed=4))]).to_json()
    contender = plain["contenders"][0]
    assert contender["seeds"] == [4]
    assert contender["quality"]["least"] == contender["quality"]["largest"]
    assert len(contender["runs"][0]["best"]) == 30


def test_runs_of_different_problems_are_refused_with_the_difference(tmp_path: Path) -> None:
    tight = ran(tmp_path / "a", Random(seed=0))
    loose = ran(tmp_path / "b", Random(seed=0), limits=Limits(latency_s=1.5e-2))
    with pytest.raises(HwflowError, match="differ in their limits"):
        compare([tight, loose])


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match="Name the run folders"):
        compare([])
    with pytest.raises(StudyError, match="no run folder"):
        compare([tmp_path / "missing"])


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


def test_the_command_shows_contenders_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [ran(tmp_path / "n", NSGA2(population=8)), ran(tmp_path / "g", Greedy(), 60)]
    run("compare", *map(str, runs), "--json")
    plain = json.loads(capsys.readouterr().out)
    medians = [one["quality"]["median"] for one in plain["contenders"]]
    assert medians == sorted(medians, reverse=True)
    run("compare", *map(str, runs))
    shown = capsys.readouterr().out
    names = [one["name"] for one in plain["contenders"]]
    assert shown.index(names[0]) < shown.index(names[1])
    assert "After 30 evaluations on eyeriss" in shown
