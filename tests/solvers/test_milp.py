"""Integer programming as a solver: exact where losses add up, corrected where costs do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymoo.indicators.hv import HV
from scipy.stats import spearmanr
from toy import ToyCost, ToyQuality, facts, toy_problem

from hwflow.cost import Bits, Cost, Costs, Limits
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.front import Front
from hwflow.loop import search
from hwflow.problem import Problem
from hwflow.solvers.additive import Additive, Scores
from hwflow.solvers.exhaustive import Exhaustive
from hwflow.solvers.milp import MILP
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.solvers.steps import swapped
from hwflow.space import Builder, Plan
from hwflow.study import Study
from hwflow.testing import check_solver

TIGHT = Limits(latency_s=1.2e-2)


def best(problem: Problem, solver: object, evaluations: int | None = None) -> float:
    front = search(problem, ToyQuality(), solver, evaluations=evaluations)  # type: ignore[arg-type]
    return max(trial.quality or 0.0 for trial in front)


@pytest.mark.parametrize("cost", [None, Mid()])
def test_it_keeps_the_promises_of_a_solver(cost: Mid | None) -> None:
    check_solver(lambda seed: MILP(seed=seed, next_best=5), cost=cost)


def test_the_first_answer_is_the_best_plan_where_losses_add_up() -> None:
    problem = toy_problem(TIGHT, length=3)
    probes = 1 + 2 * len(problem.space)
    assert best(problem, MILP(), probes + 2) == pytest.approx(best(problem, Exhaustive()))


def test_it_beats_random_and_genetic_search_at_equal_evaluations() -> None:
    problem = toy_problem(TIGHT)
    found = best(problem, MILP(rungs=0, diverse=2, next_best=2), 60)
    for seed in range(2):
        assert found > best(problem, Random(seed=seed), 60)
    assert found > best(problem, NSGA2(population=20), 60)


def test_several_limits_are_kept_at_once() -> None:
    free = toy_problem(length=3)
    totals = free.totals([free.space.default])
    below = Limits(
        latency_s=0.6 * float(totals["latency_s"][0]), energy_j=0.4 * float(totals["energy_j"][0])
    )
    problem = toy_problem(below, length=3)
    assert best(problem, MILP(), 16) == pytest.approx(best(problem, Exhaustive()))


def volume(front: Front, problem: Problem) -> float:
    """Hypervolume from the default plan's costs and no accuracy, in units of these."""
    totals = problem.totals([problem.space.default])
    worst = [float(totals[name][0]) for name in problem.cost_names]
    points = np.array([[-(t.quality or 0), *(t.value(n) for n in problem.cost_names)]
                       for t in front])  # fmt: skip
    return float(HV(ref_point=np.array([0.0, *worst]))(points)) / float(np.prod(worst))


def test_without_limits_the_ladder_gives_a_front() -> None:
    problem = toy_problem(length=4)
    front = search(problem, ToyQuality(), MILP(), evaluations=40)
    assert len(front) >= 8
    for seed in range(2):
        random = search(problem, ToyQuality(), Random(seed=seed), evaluations=40)
        assert volume(front, problem) > volume(random, problem)


class Late(ToyCost):
    """Latency grows faster than the sum of the layers' by bits: not a sum of terms."""

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        costs = super().over_bits(design, bits)
        total = dict(costs.total)
        total["latency_s"] = total["latency_s"] * (1 + 0.05 * (8 - bits.weights).mean(axis=1))
        return replace(costs, total=total)

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        return [self.cost(design) for design in designs]


def test_limits_are_kept_where_the_cost_is_no_sum() -> None:
    problem = replace(toy_problem(TIGHT, length=3), cost=Late())
    true = best(problem, Exhaustive())
    found = best(problem, MILP(), 20)
    assert true - 0.05 <= found <= true


class Coupled(ToyQuality):
    """The first two choices hurt each other."""

    def score(self, plan: Plan, build: Builder) -> float:
        together = 0.1 if plan[0] < 2 and plan[1] < 2 else 0.0
        return super().score(plan, build) - together


def test_the_scores_learn_from_answers_that_disappoint() -> None:
    problem = toy_problem(TIGHT, length=3)
    quality = Coupled()
    front = search(problem, quality, MILP(rungs=3, diverse=3), evaluations=30)
    true = search(problem, quality, Exhaustive())
    gained = max(t.quality or 0 for t in front), max(t.quality or 0 for t in true)
    assert gained[0] >= gained[1] - 0.01


def test_a_budget_below_the_number_of_changes_has_a_result() -> None:
    assert best(toy_problem(TIGHT), MILP(), 5) > 0


@pytest.mark.parametrize("below", [None, TIGHT])
def test_it_resumes_to_the_same_trials(below: Limits | None, tmp_path: Path) -> None:
    problem = toy_problem(below, length=3)
    noisy = ToyQuality(noise=0.01)
    search(problem, noisy, MILP(), tmp_path / "whole", evaluations=24)
    for budget in (5, 17, 24):
        search(problem, noisy, MILP(), tmp_path / "parts", evaluations=budget)
    with Study.read(tmp_path / "whole") as whole, Study.read(tmp_path / "parts") as parts:
        assert facts(whole.trials()) == facts(parts.trials())


def test_the_costs_of_the_program_are_those_of_the_model() -> None:
    problem = replace(toy_problem(TIGHT), cost=Mid())
    additive = Additive.of(problem)
    program = additive.program([np.zeros(3)] * 12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        options = rng.integers(0, 3, 12).tolist()
        totals = problem.totals([additive.plan(options)])
        for name in ("latency_s", "energy_j"):
            assert program.cost_of(options, name) == pytest.approx(float(totals[name][0]))


def test_scores_are_those_of_single_changes_until_a_plan_says_otherwise() -> None:
    additive = Additive.of(toy_problem(length=2))
    single = {key: 0.9 - 0.01 * (key[0] + 1) for key in additive.changes}
    scores = Scores(additive, 0.9, single)
    before = scores.tables()
    assert [round(float(t[0]), 6) for t in before] == [0.01, 0.02, 0.03, 0.04]
    assert all(table[2] == 0 for table in before)
    scores.learn((0, 0, 2, 2), 0.9 - 0.03)
    np.testing.assert_allclose(np.concatenate(scores.tables()), np.concatenate(before))
    scores.learn((0, 0, 2, 2), 0.9 - 0.13)
    after = scores.tables()
    factors = [new[0] / old[0] for new, old in zip(after, before, strict=True)]
    assert min(factors[:2]) > factors[2] > 1
    assert factors[2] == pytest.approx(factors[3])


def test_what_all_options_have_in_common_changes_no_ranking() -> None:
    """As where plans are so bad that their losses saturate, or losses are of other units."""
    additive = Additive.of(toy_problem(length=4))
    rng = np.random.default_rng(0)
    single = {key: 0.9 - float(rng.uniform(0, 1)) for key in additive.changes}
    scores = Scores(additive, 0.9, single)
    before = np.concatenate(scores.tables())
    all_of_them = [0] * len(additive.sites)
    scores.learn(all_of_them, 0.9 - 0.1 * sum(table[0] for table in scores.tables()))
    after = np.concatenate(scores.tables())
    assert after.min() >= 0
    assert sum(table[0] for table in scores.tables()) < 0.3 * before.sum()
    assert spearmanr(before, after).statistic > 0.95


@pytest.mark.parametrize("wrong", [{"overlap": 1.5}, {"rungs": -1}, {"diverse": -2}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(HwflowError, match=next(iter(wrong))):
        MILP(**wrong)  # type: ignore[arg-type]


def test_where_terms_are_too_wide_costs_are_linearised_around_the_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = toy_problem(length=3)
    limit = 0.6 * float(free.totals([free.space.default])["latency_s"][0])
    problem = toy_problem(Limits(latency_s=limit), length=3)
    exact = best(problem, MILP(rungs=0, diverse=0, next_best=0), 40)
    monkeypatch.setattr("hwflow.solvers.additive.WIDEST", 0)
    assert not Additive.of(problem).exact
    front = search(problem, ToyQuality(), MILP(rungs=0, diverse=0, next_best=0), evaluations=40)
    assert all(trial.total["latency_s"] <= limit for trial in front)
    assert max(trial.quality or 0.0 for trial in front) == pytest.approx(exact, abs=0.02)


def test_next_best_answers_are_nearly_as_good_where_costs_are_no_sums(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free = toy_problem(length=4)
    limit = 0.5 * float(free.totals([free.space.default])["energy_j"][0])
    problem = toy_problem(Limits(energy_j=limit), length=4)
    monkeypatch.setattr("hwflow.solvers.additive.WIDEST", 0)
    solver = MILP(rungs=0, diverse=0, next_best=12)
    search(problem, ToyQuality(), solver, tmp_path, evaluations=34)
    with Study.read(tmp_path) as study:
        answers = [t.quality for t in study.trials()[18:31] if t.quality is not None]
    random = search(problem, ToyQuality(), Random(), evaluations=34)
    assert len(answers) == 13
    assert min(answers) > max(t.quality or 0 for t in random)


def test_losses_that_are_given_need_no_evaluation_of_single_changes() -> None:
    problem = toy_problem(TIGHT, length=3)
    quality = ToyQuality()
    whole = quality.score(problem.space.default, lambda plan: plan)  # type: ignore[arg-type,return-value]
    losses = {
        choice.name: [
            whole - quality.score(swapped(problem.space, problem.space.default, place, option),
                                  lambda plan: plan)  # type: ignore[arg-type,return-value]
            for option in range(len(choice.options))
        ]
        for place, choice in enumerate(problem.space.choices)
    }  # fmt: skip
    assert best(problem, MILP(losses=losses), 3) == pytest.approx(best(problem, Exhaustive()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nothing": [0.0]}, "choice 'nothing'"),
        ({"": [0.0]}, "options, but losses of shape"),
        ({"": [float("nan")] * 3}, "not all finite"),
    ],
)
def test_losses_that_do_not_fit_the_space_are_refused(change: dict, words: str) -> None:
    problem = toy_problem(TIGHT, length=3)
    first = problem.space.choices[0]
    losses = {name or first.name: row for name, row in change.items()}
    if "finite" in words:
        losses = {first.name: [float("nan")] * len(first.options)}
    with pytest.raises(HwflowError, match=words):
        search(problem, ToyQuality(), MILP(losses=losses), evaluations=5)
