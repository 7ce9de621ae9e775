"""The loop: limits first, nothing twice, budgets kept, the same front however it is run."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from toy import ToyQuality, facts, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError, InfeasibleError, StudyError
from hwflow.front import Trial
from hwflow.loop import Progress, search
from hwflow.loop import door as loop
from hwflow.problem import Problem
from hwflow.solvers import Evaluate
from hwflow.solvers.exhaustive import Exhaustive
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.space import Plan
from hwflow.study import STUDY_FILE, Study

WORST = (0,) * 12
BEST = (2,) * 12
TIGHT = Limits(latency_s=1.2e-2)


class Asking:
    """Asks for given lists of plans, one after the other, and keeps the answers."""

    name = "asking"
    endless = False

    def __init__(self, *requests: Sequence[Plan]) -> None:
        self.requests = requests
        self.answers: list[list[Trial]] = []

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        for request in self.requests:
            self.answers.append(evaluate(request))

    def settings(self) -> dict[str, Any]:
        return {}


def evaluated(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def with_ones(count: int) -> list[Plan]:
    """Return different plans that meet any limit of these tests."""
    return [tuple(int(i == place) for i in range(12)) for place in range(count)]


def test_a_plan_is_evaluated_once(problem: Problem, tmp_path: Path) -> None:
    log = tmp_path / "log"
    solver = Asking([WORST, BEST, WORST], [BEST, WORST])
    front = search(problem, ToyQuality(log=log), solver)
    assert len(evaluated(log)) == 2
    first, second = solver.answers
    assert [t.plan for t in first] == [WORST, BEST, WORST]
    assert second == [first[1], first[0]]
    assert [t.number for t in first] == [0, 1, 0]
    assert len(front) == 2


def test_a_plan_and_its_lists_of_numbers_are_the_same(problem: Problem, tmp_path: Path) -> None:
    log = tmp_path / "log"
    search(problem, ToyQuality(log=log), Asking([list(WORST), WORST]))  # type: ignore[list-item]
    assert len(evaluated(log)) == 1


def test_a_plan_of_another_space_is_refused(problem: Problem, quality: ToyQuality) -> None:
    with pytest.raises(HwflowError, match="has 12 entries, this has 2"):
        search(problem, quality, Asking([(0, 1)]))
    with pytest.raises(HwflowError, match="has options 0 to 2, not 7"):
        search(problem, quality, Asking([(7,) * 12]))


def test_plans_beyond_the_limits_are_recorded_but_not_evaluated(tmp_path: Path) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    solver = Asking([WORST, BEST])
    search(toy_problem(TIGHT), ToyQuality(log=log), solver, run)
    kept, refused = solver.answers[0]
    assert evaluated(log) == [",".join(map(str, WORST))]
    assert kept.quality is not None
    assert refused.quality is None
    assert refused.number == -1
    assert "allowed 12 ms" in refused.infeasible[0]
    assert Study.read(run)[BEST].infeasible == refused.infeasible


def test_infeasible_plans_do_not_spend_the_budget(tmp_path: Path) -> None:
    log = tmp_path / "log"
    search(toy_problem(TIGHT), ToyQuality(log=log), Random(), evaluations=25)
    assert len(evaluated(log)) == 25


@pytest.mark.parametrize("evaluations", [1, 7, 32, 33])
def test_the_budget_is_spent_to_the_last_plan(
    problem: Problem, tmp_path: Path, evaluations: int
) -> None:
    log = tmp_path / "log"
    search(problem, ToyQuality(log=log), Random(), tmp_path / "run", evaluations=evaluations)
    assert len(evaluated(log)) == evaluations
    assert [t.number for t in Study.read(tmp_path / "run").trials()] == list(range(evaluations))


def test_a_time_budget_ends_the_search_and_counts_all_sessions(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    run, log = tmp_path / "run", tmp_path / "log"
    search(problem, ToyQuality(log=log), Random(), run, seconds=40)
    first = len(evaluated(log))
    assert 1 <= first <= 40
    search(problem, ToyQuality(log=log), Random(), run, seconds=40)
    assert len(evaluated(log)) == first
    search(problem, ToyQuality(log=log), Random(), run, seconds=120)
    assert len(evaluated(log)) > first


@pytest.mark.parametrize(
    "budget", [{"evaluations": 0}, {"seconds": -1.0}, {"workers": 0}, {"threads": 0}]
)
def test_budgets_must_be_above_zero(
    problem: Problem, quality: ToyQuality, budget: dict[str, Any]
) -> None:
    with pytest.raises(HwflowError, match=f"{next(iter(budget))} must be above zero"):
        search(problem, quality, Random(), **budget)


def test_a_large_space_needs_a_budget(problem: Problem, quality: ToyQuality) -> None:
    with pytest.raises(HwflowError, match="needs a budget"):
        search(problem, quality, Random())


def test_a_small_space_ends_by_itself(quality: ToyQuality) -> None:
    seen: list[Progress] = []
    small = toy_problem(length=2)
    for solver in (Random(), Exhaustive(), NSGA2(population=8)):
        front = search(small, quality, solver, on_trial=seen.append)
        assert seen[-1].evaluated == 81
        assert seen[-1].stopped == "the solver has asked for every plan"
        assert (
            facts(front.trials)[0][1:] == facts(search(small, quality, Exhaustive()).trials)[0][1:]
        )


def test_a_solver_that_asks_for_nothing_new_is_ended(problem: Problem, quality: ToyQuality) -> None:
    seen: list[Progress] = []
    again = Asking(*[[WORST]] * 5000)
    search(problem, quality, again, evaluations=10, on_trial=seen.append)
    assert "nothing new" in seen[-1].stopped
    assert len(again.answers) < 5000


def test_a_search_gives_up_among_infeasible_plans(
    quality: ToyQuality, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LEAST_INFEASIBLE", 50)
    monkeypatch.setattr(loop, "INFEASIBLE_PER_EVALUATION", 10)
    monkeypatch.setattr(loop, "ENUMERABLE", 50)
    narrow = toy_problem(Limits(latency_s=6.3407e-3))
    seen: list[Progress] = []
    front = search(narrow, quality, NSGA2(population=8), evaluations=99, on_trial=seen.append)
    assert len(front) >= 1
    assert 990 < seen[-1].infeasible <= 998
    assert "plans were beyond the limits" in seen[-1].stopped


def test_a_search_that_meets_no_feasible_plan_says_how_near_it_came(quality: ToyQuality) -> None:
    narrow = toy_problem(Limits(latency_s=6.3407e-3))
    with pytest.raises(InfeasibleError, match=r"None of 2 plans .* latency is 11\.5 ms, allowed"):
        search(narrow, quality, Asking([BEST, (1,) * 12]), evaluations=2)


def test_an_impossible_limit_is_refused_before_anything_is_written(
    quality: ToyQuality, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(InfeasibleError) as caught:
        search(toy_problem(Limits(latency_s=1e-9)), quality, Random(), out, evaluations=3)
    assert caught.value.exit_code == 3
    assert not out.exists()


@pytest.mark.parametrize("solver", [NSGA2(seed=4, population=10), Random(seed=4)])
def test_workers_do_not_change_the_trials(tmp_path: Path, solver: Any) -> None:
    found = []
    for workers in (1, 2):
        run = tmp_path / f"run{workers}"
        quality = ToyQuality(noise=0.05)
        search(toy_problem(TIGHT), quality, solver, run, evaluations=30, workers=workers, seed=9)
        found.append(facts(Study.read(run).trials()))
    assert found[0] == found[1]
    assert len(found[0]) >= 30


def test_the_seed_decides_the_noise(problem: Problem) -> None:
    noisy = ToyQuality(noise=0.05)
    one, same, other = (
        search(problem, noisy, Asking([WORST]), seed=seed).trials[0] for seed in (1, 1, 2)
    )
    assert one.quality == same.quality
    assert one.quality != other.quality
    assert one.seed != other.seed


class Wandering(Asking):
    """Draws from the global generator, which evaluations seed for themselves."""

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        random.seed(11)
        for _ in range(100):
            evaluate([tuple(random.randrange(3) for _ in range(12))])


def test_evaluations_do_not_disturb_the_generator_of_a_solver(
    problem: Problem, tmp_path: Path
) -> None:
    noisy = ToyQuality(noise=0.05)
    run = tmp_path / "run"
    for evaluations in (5, 12):
        front = search(problem, noisy, Wandering(), run, evaluations=evaluations)
    assert facts(front.trials) == facts(search(problem, noisy, Wandering(), evaluations=12).trials)


def test_a_solver_that_does_not_replay_still_gets_numbers_of_its_own(
    problem: Problem, quality: ToyQuality, tmp_path: Path
) -> None:
    plans = with_ones(6)
    search(problem, quality, Asking(plans[:3]), tmp_path / "run")
    search(problem, quality, Asking([plans[4]], [plans[1]], [plans[5]]), tmp_path / "run")
    trials = Study.read(tmp_path / "run").trials()
    assert sorted(t.number for t in trials) == [0, 1, 2, 3, 5]
    assert {t.plan for t in trials} == {*plans[:3], plans[4], plans[5]}


@pytest.mark.parametrize(
    ("value", "workers"), [(math.nan, 1), (math.inf, 1), (-math.inf, 1), (math.nan, 2)]
)
def test_a_quality_that_is_no_number_is_refused(
    problem: Problem, tmp_path: Path, value: float, workers: int
) -> None:
    plans = with_ones(4)
    run = tmp_path / "run"
    bad = ToyQuality(bad=plans[2], bad_value=value)
    with pytest.raises(HwflowError, match=rf"trial #2 is {value} .*weight_bits:conv2 = 4"):
        search(problem, bad, Asking(plans), run, workers=workers)
    recorded = {t.number for t in Study.read(run).trials()}
    assert 2 not in recorded
    assert recorded >= {0, 1}


class Failing(ToyQuality):
    """Fails as a user's own code may fail."""

    def score(self, plan: Plan, build: Any) -> float:
        raise ZeroDivisionError("in the user's metric")


def test_the_users_own_error_is_not_hidden(problem: Problem) -> None:
    with pytest.raises(ZeroDivisionError, match="user's metric"):
        search(problem, Failing(), Asking([WORST]))


class Swallowing(Asking):
    """Catches every Exception, as a careless plug-in may."""

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        while True:
            try:
                evaluate(with_ones(10))
            except Exception:
                continue


def test_no_solver_swallows_the_end(problem: Problem, quality: ToyQuality) -> None:
    assert len(search(problem, quality, Swallowing(), evaluations=5)) >= 1


def test_progress_is_told_after_every_trial(tmp_path: Path, quality: ToyQuality) -> None:
    seen: list[Progress] = []
    run = tmp_path / "run"
    for evaluations in (10, 20):
        front = search(
            toy_problem(TIGHT), quality, NSGA2(), run, evaluations=evaluations, on_trial=seen.append
        )
    counts = [progress.evaluated for progress in seen]
    assert counts == sorted(counts)
    assert set(counts) == set(range(21))
    last = seen[-1]
    assert last.budget == 20
    assert last.stopped == "the budget of 20 evaluations is spent"
    assert last.hypervolume == pytest.approx(front.hypervolume())
    assert last.best == max(t.value("accuracy") for t in front)
    assert last.infeasible == Study.read(run).infeasible
    assert seen[0].best is None
    assert last.seconds_left == 0
    assert seen[-3].seconds_left is not None


def test_the_front_carries_its_space_and_the_run_its_provenance(
    problem: Problem, quality: ToyQuality, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    front = search(problem, quality, Asking([WORST]), run, provenance={"host": "here"})
    assert front.trials[0].space is problem.space
    study = Study.read(run)
    assert study.provenance == {"host": "here"}
    assert study.settings["quality"]["name"] == "toy accuracy"
    assert study.settings["limits"] == {}


def test_other_settings_are_refused(problem: Problem, quality: ToyQuality, tmp_path: Path) -> None:
    run = tmp_path / "run"
    search(problem, quality, Random(), run, evaluations=2)
    before = (run / STUDY_FILE).read_bytes()
    for change, word in (
        ({"seed": 3}, "seed was 0"),
        ({"threads": 2}, "threads was 1"),
        ({"quality": ToyQuality(noise=0.5)}, "quality.digest"),
        ({"solver": Random(seed=8)}, "solver.seed was 0, now it is 8"),
        ({"problem": toy_problem(TIGHT)}, "limits.latency_s"),
        ({"problem": toy_problem(options=(2, 3, 4))}, "options"),
    ):
        given = {"problem": problem, "quality": quality, "solver": Random()} | change
        with pytest.raises(StudyError, match=word):
            search(**given, out=run, evaluations=2)
    assert (run / STUDY_FILE).read_bytes() == before


class Probing:
    """A solver that looks at the original network, which is beyond the limits."""

    name = "probing"
    endless = False

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        rich, lean = problem.space.default, (0,) * len(problem.space)
        self.refused = evaluate([rich])[0]
        self.probed = evaluate.probe([rich])[0]
        self.again = evaluate([rich])[0]
        self.kept = evaluate([lean])[0]

    def settings(self) -> dict[str, Any]:
        return {}


def test_a_probe_is_evaluated_beyond_the_limits_but_never_reaches_the_front(tmp_path: Path) -> None:
    solver, problem = Probing(), toy_problem(Limits(latency_s=1.2e-2))
    front = search(problem, ToyQuality(), solver, tmp_path / "run")
    assert solver.refused.quality is None
    assert solver.probed.quality == ToyQuality().score(problem.space.default, problem.space.apply)
    assert solver.again.quality is None
    assert solver.refused.infeasible == solver.probed.infeasible != ()
    assert [trial.plan for trial in front] == [solver.kept.plan]
    with Study.read(tmp_path / "run") as study:
        assert (study.evaluated, len(study)) == (2, 2)


def test_probes_count_in_the_budget_and_are_not_made_twice(tmp_path: Path) -> None:
    problem, log = toy_problem(Limits(latency_s=1.2e-2)), tmp_path / "log"
    quality = ToyQuality(log=log)
    with pytest.raises(InfeasibleError):
        search(problem, quality, Probing(), tmp_path / "run", evaluations=1)
    assert len(log.read_text().splitlines()) == 1
    search(problem, quality, Probing(), tmp_path / "run", evaluations=2)
    assert len(log.read_text().splitlines()) == 2
