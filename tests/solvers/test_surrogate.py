from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from toy import toy_problem

from hwflow.cost import Limits
from hwflow.costs.mid import Mid
from hwflow.errors import HwflowError
from hwflow.front import Front, Trial
from hwflow.plans import distinct_plans
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.surrogate import (
    Surrogate,
    Worth,
    gaps,
    incumbent,
    rank_correlation,
    refined,
    seeds,
    worth,
)
from hwflow.testing.toy import toy_problem as paper_problem

ROUNDING = 1 + 1e-9
"""Of a budget meant as a plan's own cost: a quantile between equals may lie below both."""


def small():
    """Weight bits of four layers on a preset, costed by Mid: 256 plans."""
    return replace(paper_problem(Mid()), objectives=("accuracy", "energy", "latency"))


def table_of(problem, seed=0):
    """Losses that fall with the bits, other ones in every layer."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.random(len(c.options)))[::-1] for c in problem.space.choices]
    return [row - row[-1] for row in rows]


def loss_of(table, plan):
    return sum(row[o] for row, o in zip(table, plan, strict=True))


def brute(problem, table, budgets):
    plans = list(distinct_plans(problem.space))
    totals = problem.totals(plans)
    fits = np.ones(len(plans), bool)
    for name, value in budgets.items():
        fits &= totals[name] <= value * ROUNDING
    losses = np.array([loss_of(table, plan) for plan in plans])
    return losses[fits].min() if fits.any() else None


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
@example(0, 1.0, 0.154296875)
def test_the_best_plan_is_that_of_brute_force(seed, energy, latency):
    problem = small()
    table = table_of(problem, seed)
    totals = problem.totals(list(distinct_plans(problem.space)))
    budgets = {
        "energy_j": float(np.quantile(totals["energy_j"], energy)),
        "latency_s": float(np.quantile(totals["latency_s"], latency)),
    }
    found = Surrogate(problem, table).best(**budgets)
    wanted = brute(problem, table, budgets)
    if wanted is None:
        assert found is None
    else:
        assert found.loss == pytest.approx(wanted, rel=2e-3, abs=1e-9)
        assert found.bound <= wanted + 1e-9
        assert all(found.total[name] <= value * ROUNDING for name, value in budgets.items())


def test_seeds_are_optimal_for_their_costs_and_spread_over_the_range():
    problem = small()
    table = table_of(problem, 3)
    found = seeds(problem, table, 8)
    assert len(found) == len(set(found)) == 8
    totals = problem.totals(found)
    every = problem.totals(list(distinct_plans(problem.space)))
    assert totals["energy_j"].min() == pytest.approx(every["energy_j"].min())
    losses = [loss_of(table, plan) for plan in found]
    assert min(losses) == pytest.approx(0, abs=1e-9)
    for row, plan in enumerate(found):
        budgets = {n: float(totals[n][row]) * (1 + 1e-9) for n in ("energy_j", "latency_s")}
        alone = [brute(problem, table, {name: value}) for name, value in budgets.items()]
        both = brute(problem, table, budgets)
        assert any(loss_of(table, plan) <= best + 2e-3 * abs(best) for best in (*alone, both))


def test_seeds_keep_the_limits():
    free = small()
    every = free.totals(list(distinct_plans(free.space)))["energy_j"]
    problem = replace(free, below=Limits(energy_j=float(np.quantile(every, 0.3))))
    found = seeds(problem, table_of(problem), 6)
    assert found
    assert all(problem.totals(found)["energy_j"] <= problem.below.energy_j)


def test_one_seed_is_the_best_plan_and_no_seed_none():
    problem = small()
    table = table_of(problem)
    assert seeds(problem, table, 0) == ()
    assert [loss_of(table, plan) for plan in seeds(problem, table, 1)] == [0]


def test_costs_too_wide_for_tables_are_linearised_around_answers(monkeypatch):
    monkeypatch.setattr("hwflow.solvers.additive.ENTRIES", 0)
    problem = small()
    table = table_of(problem, 1)
    middle = float(np.median(problem.totals(list(distinct_plans(problem.space)))["energy_j"]))
    found = Surrogate(problem, table).best(energy_j=middle)
    assert found.total["energy_j"] <= middle
    assert found.loss == pytest.approx(brute(problem, table, {"energy_j": middle}), rel=2e-3)
    assert found.bound == -np.inf


def trial(problem, number, plan, quality):
    totals = {name: float(values[0]) for name, values in problem.totals([plan]).items()}
    return Trial(number, plan, totals, quality)


def test_the_gap_of_a_trial_is_what_the_best_plan_of_its_costs_spares():
    problem = small()
    table = table_of(problem, 5)
    plans = [problem.space.default, (0, 3, 1, 2), (1, 1, 1, 1)]
    found = gaps(problem, table, [trial(problem, n, p, 0.5) for n, p in enumerate(plans)])
    for gap, plan in zip(found, plans, strict=True):
        budgets = {n: gap.trial.total[n] * (1 + 1e-9) for n in ("energy_j", "latency_s")}
        wanted = loss_of(table, plan) - brute(problem, table, budgets)
        assert gap.gap == pytest.approx(wanted, abs=2e-3)
        assert gap.proven >= wanted - 1e-9
    assert found[0].gap == 0


def sampled(problem, table, sign):
    plans = list(distinct_plans(problem.space))[::17]
    return [trial(problem, n, p, 0.9 - sign * loss_of(table, p)) for n, p in enumerate(plans)]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rank_correlation_is_one_where_the_quality_falls_with_the_loss(sign):
    problem = small()
    table = table_of(problem, 2)
    assert rank_correlation(table, sampled(problem, table, sign)) == pytest.approx(sign)


def test_a_good_table_is_kept_and_a_poor_one_measured_around_the_incumbent():
    problem = small()
    table, other = table_of(problem, 2), table_of(problem, 9)

    def measure(plan):
        asked.append(plan)
        return other

    asked = []
    kept = refined(problem, table, sampled(problem, table, 1), measure)
    assert kept.around is None
    assert kept.table is table
    trials = sampled(problem, table, -1)
    again = refined(problem, table, trials, measure)
    assert asked == [again.around] == [incumbent(problem, trials)]
    assert again.table is other


def test_too_few_trials_tell_nothing_of_a_table_and_it_is_kept():
    problem = small()
    table = table_of(problem, 2)
    kept = refined(problem, table, sampled(problem, table, -1)[:3], pytest.fail)
    assert (kept.table, kept.correlation, kept.around) == (table, None, None)


def test_within_limits_the_incumbent_is_the_most_accurate():
    problem = replace(small(), below=Limits(energy_j=1.0))
    trials = [
        trial(problem, n, p, q) for n, (p, q) in enumerate([((0,) * 4, 0.5), ((1,) * 4, 0.7)])
    ]
    assert incumbent(problem, trials) == (1, 1, 1, 1)


def test_too_few_or_equal_trials_have_no_rank_correlation():
    problem = small()
    table = table_of(problem)
    for trials in (sampled(problem, table, 1)[:3], sampled(problem, table, 0)):
        with pytest.raises(HwflowError, match="needs 5 evaluated plans"):
            rank_correlation(table, trials)


def test_a_table_that_does_not_fit_is_refused():
    problem = small()
    with pytest.raises(HwflowError, match="3 rows of 12 numbers where 16"):
        Surrogate(problem, table_of(problem)[:3])
    broken = table_of(problem)
    broken[0] = broken[0] * np.nan
    with pytest.raises(HwflowError, match="not finite"):
        seeds(problem, broken, 3)


class Door:
    """Answers with an additive quality until the budget is spent."""

    def __init__(self, problem, table, budget):
        self.problem, self.table, self.budget = problem, table, budget
        self.trials = {}

    def __call__(self, plans):
        for plan in plans:
            if len(self.trials) == self.budget:
                raise EOFError
            known = self.trials.get(plan)
            quality = 1 - loss_of(self.table, plan)
            self.trials[plan] = known or trial(self.problem, len(self.trials), plan, quality)
        return [self.trials[plan] for plan in plans]

    def spend(self, solver):
        """Return what was evaluated: energy and quality, both to be minimised."""
        with pytest.raises(EOFError):
            solver.run(self.problem, self)
        return np.array([(t.total["energy_j"], -t.quality) for t in self.trials.values()])


def test_a_seeded_search_covers_more_than_a_plain_one_of_as_many_evaluations():
    problem = replace(toy_problem(), objectives=("accuracy", "energy"))
    table = table_of(problem, 4)
    first = seeds(problem, table, 12)
    plain = Door(problem, table, 40).spend(NSGA2(seed=0, population=20))
    seeded = Door(problem, table, 40).spend(NSGA2(seed=0, population=20, first=first))
    worst = np.vstack([plain, seeded]).max(axis=0) * [1.001, 0.999]
    ideal = np.vstack([plain, seeded]).min(axis=0)
    share = [HV(ref_point=np.ones(2))((p - ideal) / (worst - ideal)) for p in (plain, seeded)]
    assert share[1] > share[0]


def test_the_front_of_a_seeded_search_lies_on_that_of_the_surrogate_from_the_start():
    problem = replace(toy_problem(), objectives=("accuracy", "energy"))
    table = table_of(problem, 4)
    first = seeds(problem, table, 12)
    door = Door(problem, table, 20)
    door.spend(NSGA2(seed=0, population=20, first=first))
    found = {gap.trial.plan: gap for gap in gaps(problem, table, list(door.trials.values()))}
    assert set(first) <= found.keys()
    assert all(found[plan].gap <= 2e-3 for plan in first)


def test_the_worth_of_a_table_is_its_correlation_and_gaps_or_none_where_costs_do_not_add_up():
    problem = small()
    table = table_of(problem)
    plans = list(distinct_plans(problem.space))[::9]
    totals = problem.totals(plans)
    trials = [
        Trial(n, plan, {name: float(v[n]) for name, v in totals.items()}, 1 - loss_of(table, plan))
        for n, plan in enumerate(plans)
    ]
    front = Front.of(trials, problem.objectives)
    found = worth(problem, table, trials, front)
    assert found.correlation == pytest.approx(1.0)  # the qualities are the sums
    assert [g.trial for g in found.gaps] == list(front)
    assert [g.gap for g in found.gaps] == [g.gap for g in gaps(problem, table, front)]

    bounded = replace(problem, below=Limits(peak_bytes=1e12))  # a peak is no sum over layers
    assert not Surrogate(bounded, table).exact
    assert worth(bounded, table, trials[:3], front) == Worth(None, None)
