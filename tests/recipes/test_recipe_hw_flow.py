"""HW-Flow's recipe: one agent at three levels, each level's best handed to the next."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from hwflow.errors import HwflowError, InfeasibleError
from hwflow.extract import extract
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.amc import amc
from hwflow.recipes.hw_flow import (
    AGENT,
    Refined,
    eased,
    hw_flow,
    problem_at,
    promoted,
    pruning_space,
)
from hwflow.recipes.levels import ASKED_FILE
from hwflow.study import Study

ON = "systolic-8x8"
BELOW = ("latency=70%", "energy=60%")
KEEP = (0.5, 1.0)


def run(net, data, out: Path, evaluations: int = 12, **settings: Any) -> Refined:
    return hw_flow(
        net, data, ON, out, below=BELOW, evaluations=evaluations, images=40, calibration=16,
        keep=KEEP, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(net, data, tmp_path_factory) -> Refined:
    return run(net, data, tmp_path_factory.mktemp("whole"))


def test_the_levels_come_in_order_and_share_the_evaluations(found):
    assert [stage.level for stage in found.stages] == ["coarse", "mid", "fine"]
    counts = []
    for stage in found.stages:
        with Study.read(stage.folder) as study:
            counts.append(study.evaluated)
    assert counts == [4, 2, 6]


def test_the_best_keeps_the_limits_of_the_fine_level_and_is_what_was_costed(found, net):
    problem = found.problem
    whole = problem.cost.cost(problem.design).total
    assert found.best.total["latency_s"] <= 0.7 * whole["latency_s"]
    assert found.best.total["energy_j"] <= 0.6 * whole["energy_j"]
    built = extract(found.best.build())
    assert problem.cost.costs([problem.design.with_workload(built)])[0].total == pytest.approx(
        dict(found.best.total)
    )


def test_each_level_walks_first_along_the_best_plans_of_the_one_before(found):
    coarse, mid, _ = found.stages
    assert promoted(coarse)[0] == coarse.best.plan
    first = [eased(mid.problem, plan) for plan in promoted(coarse)]
    with Study.read(mid.folder) as study:
        settings = study.settings["solver"]
    assert settings["first"] == [list(plan) for plan in first]
    assert len(settings["start"]) == 64
    assert (coarse.folder / AGENT).exists()


def test_a_plan_is_made_leaner_everywhere_alike_and_no_more_than_the_limits_ask(found):
    problem = found.problem
    plan = eased(problem, problem.space.default)
    assert not problem.below.broken(problem.costs([plan])[0].total)
    assert len({*plan}) <= 2  # two options a choice: all alike, but for those of one option
    assert eased(problem, plan) == plan
    assert eased(problem, found.best.plan) == found.best.plan


def test_what_changed_between_levels_is_said(found):
    first, second = found.shifts
    assert (first.before, first.after, second.before, second.after) == (
        "coarse", "mid", "mid", "fine"
    )  # fmt: skip
    coarse, mid, _ = found.stages
    differing = sum(a != b for a, b in zip(coarse.best.plan, mid.best.plan, strict=True))
    assert len(first.changed) == differing
    assert set(first.costs) == {"latency_s", "energy_j"}
    assert bool(first.broken) == (first.costs["latency_s"] > 0.7 or first.costs["energy_j"] > 0.6)


def test_stopped_anywhere_it_ends_with_the_same_best(found, net, data, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.evaluated == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        hw_flow(
            net, data, ON, tmp_path, below=BELOW, evaluations=12, images=40, calibration=16,
            keep=KEEP, on_trial=stop,
        )  # fmt: skip
    again = run(net, data, tmp_path)
    assert again.best.plan == found.best.plan
    assert [s.best.quality for s in again.stages] == [s.best.quality for s in found.stages]


def test_an_agent_whose_file_was_lost_is_taught_again_without_an_evaluation(
    found, net, data, tmp_path, monkeypatch
):
    whole = run(net, data, tmp_path)
    kept = (tmp_path / "coarse" / AGENT).read_bytes()
    (tmp_path / "coarse" / AGENT).unlink()
    monkeypatch.setattr(Accuracy, "score", lambda self, plan, build: pytest.fail("evaluated"))
    again = run(net, data, tmp_path)
    assert (tmp_path / "coarse" / AGENT).read_bytes() == kept
    assert again.best.plan == whole.best.plan


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("told", [True, False], ids=["by-its-file", "by-its-trials"])
@pytest.mark.parametrize(
    "settings", [{"evaluations": 18}, {"seed": 1}, {"levels": ("coarse", "fine")}], ids=str
)
def test_another_search_in_the_same_folder_is_refused_and_nothing_is_touched(
    found, net, data, tmp_path, settings, told
):
    folder = tmp_path / "run"
    shutil.copytree(found.stages[0].folder.parent, folder)
    if not told:
        (folder / ASKED_FILE).unlink()
    before = contents(folder)
    with pytest.raises(HwflowError, match=r"seed=0.*Nothing was touched.*another folder"):
        run(net, data, folder, **settings)
    assert contents(folder) == before
    assert run(net, data, folder).best.plan == found.best.plan


def test_a_new_agent_learns_in_half_of_a_short_level(found):
    with Study.read(found.stages[0].folder) as study:
        assert study.settings["solver"]["warmup"] == study.evaluated // 2 == 2


def test_at_the_coarse_level_the_tightest_share_is_one_of_the_multiplications(net, data):
    problem = problem_at("coarse", pruning_space(net, data, 16, KEEP), ON, BELOW)
    ((name, value),) = problem.below.items()
    assert name == "macs"
    assert value == pytest.approx(0.6 * problem.space.workload.macs)


def test_a_budget_out_of_reach_is_refused_before_anything_is_evaluated(net, data, tmp_path):
    with pytest.raises(InfeasibleError, match="No plan meets"):
        hw_flow(
            net, data, ON, tmp_path, below=("latency=1%",), evaluations=6, levels=("fine",),
            calibration=16, keep=KEEP,
        )  # fmt: skip
    assert not (tmp_path / "fine").exists()


def test_amc_keeps_its_share_of_the_multiplications_and_knows_no_hardware(net, data, tmp_path):
    front = amc(
        net, data, tmp_path, below=("macs=60%",), evaluations=5, warmup=2, images=40,
        calibration=16, keep=KEEP,
    )  # fmt: skip
    assert front.pick("most accurate").total["macs"] <= 0.6 * extract(net).macs
    with Study.read(tmp_path) as study:
        assert study.settings["solver"]["hardware"] is False
