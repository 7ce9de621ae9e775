"""An agent that goes on from another level: its weights, and the plans it walks along first."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.loop import search
from hwflow.solvers.ddpg import DDPG
from hwflow.study import Study

pytestmark = pytest.mark.filterwarnings("ignore:The agent has learnt nothing")

SMALL = {"hidden": (16, 16), "warmup": 4, "batch": 8}


def plans_of(folder: Path) -> list[tuple[int, ...]]:
    with Study.read(folder) as study:
        return [trial.plan for trial in study.trials() if trial.quality is not None]


def test_what_an_agent_learnt_is_written_and_changes_what_the_next_one_does(tmp_path: Path) -> None:
    kept = tmp_path / "agent.safetensors"
    problem = toy_problem(length=3)
    taught = DDPG(**SMALL, keep=kept, actor_rate=1e-2)
    search(problem, ToyQuality(), taught, tmp_path / "a", evaluations=12)
    assert any(name.startswith("actor.") for name in load_file(kept))
    eager = SMALL | {"warmup": 0, "sigma": 0.0}
    fresh = DDPG(**eager)
    search(problem, ToyQuality(), fresh, tmp_path / "b", evaluations=4)
    search(problem, ToyQuality(), DDPG(**eager, start=kept), tmp_path / "c", evaluations=4)
    assert plans_of(tmp_path / "b") != plans_of(tmp_path / "c")


def test_plans_given_first_are_walked_along_first(tmp_path: Path) -> None:
    problem = toy_problem(length=3)
    first = tuple((*tuple(0 for _ in problem.space.default[:-1]), n) for n in (0, 1))
    search(problem, ToyQuality(), DDPG(**SMALL, first=first), tmp_path / "a", evaluations=6)
    assert plans_of(tmp_path / "a")[1:3] == [problem.space.canonical(plan) for plan in first]


def test_plans_given_first_are_clipped_to_the_limits(tmp_path: Path) -> None:
    free = toy_problem(length=3)
    limit = 0.9 * float(free.totals([free.space.default])["latency_s"][0])
    problem = toy_problem(Limits(latency_s=limit), length=3)
    solver = DDPG(**SMALL, first=(problem.space.default,))
    search(problem, ToyQuality(), solver, tmp_path / "a", evaluations=1)
    (plan,) = plans_of(tmp_path / "a")
    assert problem.totals([plan])["latency_s"][0] <= limit


def test_another_agent_to_begin_with_is_another_study(tmp_path: Path) -> None:
    kept = tmp_path / "agent.safetensors"
    problem = toy_problem(length=2)
    search(problem, ToyQuality(), DDPG(**SMALL, keep=kept), evaluations=6)
    settings = DDPG(**SMALL, start=kept).settings()
    assert len(settings["start"]) == 64
    assert settings != DDPG(**SMALL).settings()


def test_a_search_that_begins_with_an_agent_goes_on_after_a_stop(tmp_path: Path) -> None:
    kept = tmp_path / "agent.safetensors"
    problem = toy_problem(length=3)
    search(problem, ToyQuality(), DDPG(**SMALL, keep=kept), evaluations=6)
    solver = DDPG(**SMALL, start=kept, first=(problem.space.default,))
    whole = search(problem, ToyQuality(), solver, tmp_path / "a", evaluations=12)
    search(problem, ToyQuality(), solver, tmp_path / "b", evaluations=5)
    again = search(problem, ToyQuality(), solver, tmp_path / "b", evaluations=12)
    assert [t.plan for t in again.trials] == [t.plan for t in whole.trials]


def test_an_agent_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "agent.safetensors"
    problem = toy_problem(length=2)
    search(problem, ToyQuality(), DDPG(**SMALL, keep=kept), evaluations=6)
    with pytest.raises(HwflowError, match="does not fit: it is of another kind"):
        search(problem, ToyQuality(), DDPG(**SMALL, start=kept, hardware=False), evaluations=6)


def test_an_agent_of_a_state_of_another_size_is_refused(tmp_path: Path) -> None:
    kept, problem = tmp_path / "agent.safetensors", toy_problem(length=2)
    search(problem, ToyQuality(), DDPG(**SMALL, keep=kept), evaluations=6)
    shorter = {
        name: value[:, 1:].contiguous() if name.endswith(".0.weight") else value
        for name, value in load_file(kept).items()
    }
    save_file(shorter, kept)  # as agents were before the state had its last entry
    with pytest.raises(HwflowError, match="other layer sizes or another state"):
        search(problem, ToyQuality(), DDPG(**SMALL, start=kept), evaluations=6)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match=r"none\.safetensors cannot be read"):
        DDPG(start=tmp_path / "none.safetensors").settings()


@pytest.mark.parametrize("place", ["/proc/none/agent.safetensors", ".", "file/agent.safetensors"])
def test_a_file_that_cannot_be_written_is_refused_before_the_search(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HwflowError, match=r"agent cannot be kept in .*\(keep\)"):
        DDPG(keep=tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_made_later_may_keep_an_agent(tmp_path: Path) -> None:
    DDPG(keep=tmp_path / "new" / "run" / "agent.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_agent_that_begins_with_another_and_has_no_warm_up_may_learn_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    kept, problem = tmp_path / "agent.safetensors", toy_problem(length=2)
    search(problem, ToyQuality(), DDPG(**SMALL, keep=kept), evaluations=4)
    assert len(recwarn) == 1
    eager = DDPG(**SMALL | {"warmup": 0}, start=kept, first=(problem.space.default,) * 4)
    search(problem, ToyQuality(), eager, evaluations=2)
    assert len(recwarn) == 1
