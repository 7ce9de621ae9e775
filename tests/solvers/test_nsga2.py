"""NSGA-II: finds what random search misses, keeps limits, repeats itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_plans import DEPENDENT
from toy import BitPart, ToyCost, ToyQuality, chain, facts, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.loop import search
from hwflow.loop.progress import Progress
from hwflow.problem import Problem
from hwflow.solvers.exhaustive import Exhaustive
from hwflow.solvers.nsga2 import NSGA2, StepOrReset
from hwflow.solvers.random import Random
from hwflow.space import Plan, Space


class Recording:
    """An `evaluate` that keeps what it was asked for, with the toy quality."""

    def __init__(self, problem: Problem, most: int) -> None:
        self.problem, self.most = problem, most
        self.asked: list[Plan] = []

    def __call__(self, plans: list[Plan]) -> list[Trial]:
        self.asked += plans
        if len(self.asked) > self.most:
            raise StopIteration
        return [self._trial(plan) for plan in plans]

    def _trial(self, plan: Plan) -> Trial:
        total = {name: float(v[0]) for name, v in self.problem.totals([plan]).items()}
        broken = self.problem.below.broken(total)
        quality = None if broken else ToyQuality().score(plan, self.problem.space.apply)
        return Trial(0, plan, total, quality)


def asked(problem: Problem, solver: NSGA2, most: int = 200) -> list[Plan]:
    door = Recording(problem, most)
    with pytest.raises(StopIteration):
        solver.run(problem, door)
    return door.asked


def test_it_begins_with_the_plans_that_need_no_luck() -> None:
    problem = toy_problem()
    first = asked(problem, NSGA2(population=10))[:10]
    assert first[0] == problem.space.default
    assert set(problem.space.uniform()) <= set(first)


def test_it_begins_with_a_plan_that_meets_narrow_limits() -> None:
    names = [layer.name for layer in chain(4)]
    unlike = (BitPart(tuple(names[:2]), (2, 8)), BitPart(tuple(names[2:]), (4, 8)))
    problem = Problem(Space(chain(4), unlike), "eyeriss", ToyCost())
    least = problem.totals([(0,) * 8])["energy_j"][0]  # no value is open to every choice
    narrow = replace(problem, below=Limits(energy_j=float(least)))
    assert len(search(narrow, ToyQuality(), NSGA2(population=6), evaluations=1)) == 1


def test_no_plan_is_asked_for_twice() -> None:
    plans = asked(toy_problem(), NSGA2(population=20), most=600)
    assert len(set(plans)) == len(plans)


def test_plans_are_canonical() -> None:
    problem = Problem(DEPENDENT, "eyeriss", ToyCost())
    door = Recording(problem, 1000)
    NSGA2(population=4).run(problem, door)
    assert all(DEPENDENT.canonical(plan) == plan for plan in door.asked)
    assert len(door.asked) == len(set(door.asked)) == 8


def test_the_seed_decides() -> None:
    problem = toy_problem()
    assert asked(problem, NSGA2(seed=1)) == asked(problem, NSGA2(seed=1))
    assert asked(problem, NSGA2(seed=1)) != asked(problem, NSGA2(seed=2))


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("population", [2, 5, 40])
def test_spaces_smaller_than_a_population_are_exhausted(length: int, population: int) -> None:
    problem, seen = toy_problem(length=length), list[Progress]()
    front = search(problem, ToyQuality(), NSGA2(population=population), on_trial=seen.append)
    exact = search(problem, ToyQuality(), Exhaustive())
    assert seen[-1].evaluated == problem.space.size
    assert [t.plan for t in front] == [t.plan for t in exact]


def test_a_space_without_choices_has_one_trial() -> None:
    problem = Problem(Space(chain()), "eyeriss", ToyCost())
    assert len(search(problem, ToyQuality(), NSGA2())) == 1


@pytest.mark.parametrize("options", [(4,), (4, 8)])
def test_choices_with_few_options(options: tuple[int, ...]) -> None:
    problem = toy_problem(length=2, options=options)
    seen: list[Progress] = []
    search(problem, ToyQuality(), NSGA2(population=4), on_trial=seen.append)
    assert seen[-1].evaluated == len(options) ** 4


def volume(solver: NSGA2 | Random, problem: Problem, evaluations: int) -> float:
    """Estimate the share of a fixed box that the front dominates, by counting random spots."""
    worst = problem.totals([problem.space.default])
    corner = np.array([-0.5, *(worst[name][0] for name in problem.cost_names)])
    ideal = np.array([-0.95, *(0.0 for _ in problem.cost_names)])
    front = search(problem, ToyQuality(), solver, evaluations=evaluations)
    spots = ideal + np.random.default_rng(0).random((5_000, len(ideal))) * (corner - ideal)
    return float((front.points()[:, None, :] <= spots).all(axis=2).any(axis=0).mean())


def test_it_beats_random_search_in_a_large_space() -> None:
    problem = toy_problem(length=16, options=(1, 2, 3, 4, 6, 8))
    ours = [volume(NSGA2(seed=seed), problem, 250) for seed in range(2)]
    theirs = [volume(Random(seed=seed), problem, 250) for seed in range(2)]
    assert min(ours) > 1.1 * max(theirs)


def test_limits_are_kept_and_infeasible_plans_lead_towards_them() -> None:
    narrow = Limits(latency_s=7.5e-3)  # met by few plans: nearly all layers at 2 bits
    seen: list[Progress] = []
    front = search(
        toy_problem(narrow), ToyQuality(), NSGA2(population=20), evaluations=60,
        on_trial=seen.append,
    )  # fmt: skip
    assert all(trial.value("latency") <= 7.5e-3 for trial in front)
    assert seen[-1].evaluated == 60
    by_chance: list[Progress] = []
    search(toy_problem(narrow), ToyQuality(), Random(), evaluations=5, on_trial=by_chance.append)
    assert seen[-1].infeasible / 60 < 0.5 * by_chance[-1].infeasible / 5


@pytest.mark.parametrize("objectives", [("accuracy",), ("energy",), ("accuracy", "latency")])
def test_any_objectives(objectives: tuple[str, ...]) -> None:
    problem = Problem(toy_problem(length=2).space, "eyeriss", ToyCost(), objectives=objectives)
    front = search(problem, ToyQuality(), NSGA2(population=10), evaluations=81)
    exact = search(problem, ToyQuality(), Exhaustive())
    np.testing.assert_allclose(np.sort(front.points(), axis=0), np.sort(exact.points(), axis=0))


def mutated(space: Space, genes: np.ndarray, chance: float, step: float) -> np.ndarray:
    operator = StepOrReset(space, chance, step)
    return operator._do(None, genes, random_state=np.random.default_rng(0))


def test_a_step_goes_to_a_neighbouring_option() -> None:
    space = toy_problem(options=(1, 2, 3, 4, 6, 8)).space
    genes = np.random.default_rng(1).integers(0, 6, size=(500, len(space)))
    moved = mutated(space, genes, 1.0, 1.0)
    assert (np.abs(moved - genes) == 1).all()
    assert moved.min() >= 0
    assert moved.max() <= 5


def test_a_reset_goes_to_any_other_option() -> None:
    space = toy_problem(options=(1, 2, 3, 4)).space
    genes = np.zeros((2000, len(space)), int)
    moved = mutated(space, genes, 1.0, 0.0)
    counts = np.bincount(moved.ravel(), minlength=4) / moved.size
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], 1 / 3, atol=0.02)


def test_choices_without_order_are_never_stepped() -> None:
    choices = [SimpleNamespace(options=(0, 1, 2, 3), ordered=ordered) for ordered in (True, False)]
    space = SimpleNamespace(choices=choices, __len__=lambda: 2)
    operator = StepOrReset(space, 1.0, 1.0)  # type: ignore[arg-type]
    genes = np.zeros((300, 2), int)
    moved = operator._do(None, genes, random_state=np.random.default_rng(0))
    assert set(moved[:, 0]) == {1}
    assert set(moved[:, 1]) == {1, 2, 3}


def test_changes_come_as_often_as_asked() -> None:
    space = toy_problem().space
    genes = np.ones((4000, len(space)), int)
    changed = (mutated(space, genes, 0.25, 0.5) != genes).mean()
    assert changed == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "settings", [{"population": 1}, {"crossover": 1.5}, {"mutation": -0.1}, {"step": 2.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(HwflowError, match=f"NSGA2.* {next(iter(settings))}"):
        NSGA2(**settings)  # type: ignore[arg-type]


def test_all_its_settings_are_recorded() -> None:
    settings = NSGA2(seed=4, population=12).settings()
    assert settings == {
        "seed": 4, "population": 12, "crossover": 0.9, "mutation": None, "step": 0.5
    }  # fmt: skip


def test_it_finds_most_of_the_true_front_again_and_again() -> None:
    problem = toy_problem(length=3)
    front = search(problem, ToyQuality(), NSGA2(seed=0, population=12), evaluations=60)
    again = search(problem, ToyQuality(), NSGA2(seed=0, population=12), evaluations=60)
    assert facts(front.trials) == facts(again.trials)
    exact = search(problem, ToyQuality(), Exhaustive())
    assert front.hypervolume(exact.reference) > 0.75 * exact.hypervolume()


def test_too_many_given_plans_are_thinned_out_evenly_and_leave_the_uniform_ones() -> None:
    problem = toy_problem()
    given = tuple((*(1, 0) * 5, *last) for last in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])
    first = asked(problem, NSGA2(population=8, first=given))[:8]
    assert set(problem.space.uniform()) <= set(first)
    assert [given.index(plan) for plan in first if plan in given] == [0, 1, 2, 4, 5]
    few = asked(problem, NSGA2(population=4, first=given))[:4]
    assert [given.index(plan) for plan in few if plan in given] == [0, 5]


def test_what_is_asked_for_first_is_the_first_population():
    problem, asked = toy_problem(length=3), []

    def evaluate(plans):
        asked.append(list(plans))
        raise KeyboardInterrupt

    solver = NSGA2(seed=2, population=12)
    with pytest.raises(KeyboardInterrupt):
        solver.run(problem, evaluate)
    assert asked == [solver.first_population(problem)]
    assert len(set(asked[0])) == 12


def test_given_plans_stand_in_the_first_population_and_in_the_settings():
    problem = toy_problem()
    given = ((1, 0) * 6, (2, 1) * 6)
    door = Recording(problem, 15)
    with pytest.raises(StopIteration):
        NSGA2(seed=1, population=8, first=given).run(problem, door)
    assert set(given) <= set(door.asked[:8])
    assert "first" not in NSGA2().settings()
    assert NSGA2(first=given).settings()["first"] == [list(plan) for plan in given]
