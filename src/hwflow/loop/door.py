"""Searching: the loop of solver, limits, quality and study. `evaluate` is the only door to work.

    front = search(problem, quality, NSGA2(seed=0), "runs/r20", evaluations=300)

A plan goes through the door in this order: its canonical form is looked up in the study; if new, it
is costed, and recorded without evaluation where it breaks a limit; else its quality is evaluated
and committed the moment it is known. Budgets count distinct plans whose quality was evaluated, in
all sessions. Killed at any moment, the same command goes on: a solver of a given seed asks for the
same plans again and is given what the study has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.errors import HwflowError, InfeasibleError
from hwflow.front import Front, Trial
from hwflow.loop.evaluate import Evaluator, Here, Job, Outcome
from hwflow.loop.fingerprint import run_settings
from hwflow.loop.progress import Progress, Standing
from hwflow.loop.shared import Shared
from hwflow.loop.workers import Workers
from hwflow.plans import ENUMERABLE
from hwflow.problem import Problem
from hwflow.reach import feasible_plan
from hwflow.space import Plan
from hwflow.study import UNNUMBERED, Study, trial_seed

if TYPE_CHECKING:
    from hwflow.quality import Quality
    from hwflow.solvers import Solver

__all__ = ["Progress", "search"]

IDLE_CALLS = 1000
"""Requests in a row without a new plan after which a solver counts as stuck."""

LEAST_INFEASIBLE = 10_000
INFEASIBLE_PER_EVALUATION = 100
"""A search ends after max(10,000, 100 x evaluations) infeasible plans, as costing them is cheap but
not free; a space that is small enough to go through as a whole is gone through."""


def search(
    problem: Problem,
    quality: Quality,
    solver: Solver,
    out: Path | str | None = None,
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    workers: int = 1,
    threads: int = 1,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    on_trial: Callable[[Progress], None] | None = None,
    qualities: Path | str | None = None,
) -> Front:
    """Search a problem and return the front; `out` is the run folder, None keeps it in memory.

    evaluations: how many distinct plans may be evaluated; seconds: how long to search, earlier
    sessions included (what runs at the end is finished). workers: processes; threads: those of each
    evaluation. The front does not depend on workers, nor on being stopped and started again.
    on_trial: called with a Progress after every trial. provenance: kept in the study, not compared.
    qualities: a file that searches of the same network and space share (:mod:`hwflow.loop.shared`).

    Raises InfeasibleError when no plan can meet the limits (before anything is evaluated or
    written) or none that was tried does, StudyError when the run folder cannot be used, HwflowError
    when a quality is no finite number, WorkerError when a worker process dies.
    """
    _check_budget(
        {"evaluations": evaluations, "seconds": seconds, "workers": workers, "threads": threads}
    )
    if evaluations is None and seconds is None and solver.endless:
        _check_size(problem, solver)
    feasible_plan(problem)
    settings = run_settings(problem, quality, solver, seed, threads)
    budget = Budget(evaluations, seconds)
    task = (problem.space, quality, threads)
    with Study.start(out, settings, provenance) as study:
        evaluator: Evaluator = Workers(workers, *task) if workers > 1 else Here(*task)
        if qualities is not None:
            evaluator = Shared(evaluator, qualities, settings, quality)
        with closing(evaluator):
            Door(problem, study, evaluator, budget, seed, on_trial).run(solver)
        return study.front(problem.space)


def _check_budget(given: Mapping[str, float | None]) -> None:
    for name, value in given.items():
        if value is not None and not value > 0:
            raise HwflowError(f"{name} must be above zero, not {value}.")


def _check_size(problem: Problem, solver: Solver) -> None:
    if problem.space.size > ENUMERABLE:
        raise HwflowError(
            f"The solver {solver.name} needs a budget in a space of more than {ENUMERABLE:,} "
            "plans: give evaluations (such as 300) or seconds."
        )


class Budget:
    """How much may be spent. Time counts from when it is made, after what was spent before."""

    def __init__(self, evaluations: int | None, seconds: float | None) -> None:
        self.evaluations = evaluations
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def session(self) -> float:
        """Seconds of this session."""
        return time.monotonic() - self._start

    def room(self, evaluated: int) -> int | None:
        """Return how many more plans may be evaluated; None is any number."""
        return None if self.evaluations is None else max(0, self.evaluations - evaluated)

    def spent(self, evaluated: int, elapsed: float) -> str:
        """Return which budget is used up, "" while none is."""
        if self.evaluations is not None and evaluated >= self.evaluations:
            return f"the budget of {self.evaluations} evaluations is spent"
        if self.seconds is not None and elapsed >= self.seconds:
            return f"the budget of {self.seconds:g} s is spent"
        return ""

    def infeasible_limit(self, space_size: int) -> int:
        """Return after how many infeasible plans to give up."""
        wanted = INFEASIBLE_PER_EVALUATION * (self.evaluations or 0)
        return max(LEAST_INFEASIBLE, wanted, min(space_size, ENUMERABLE))

    def seconds_left(self, done: int, evaluated: int, elapsed: float) -> float | None:
        """Estimate the time to the end from the `done` evaluations of this session."""
        times = [] if self.seconds is None else [max(0.0, self.seconds - elapsed)]
        room = self.room(evaluated)
        if done and room is not None:
            times.append(room * self.session / done)
        return min(times, default=None)


class Stop(BaseException):
    """Ends a solver from inside `evaluate`; not an Exception, so that no solver swallows it."""


class Door:
    """The `evaluate` of one session of a search."""

    def __init__(
        self,
        problem: Problem,
        study: Study,
        evaluator: Evaluator,
        budget: Budget,
        seed: int,
        on_trial: Callable[[Progress], None] | None,
    ) -> None:
        self._problem = problem
        self._study = study
        self._evaluator = evaluator
        self._budget = budget
        self._seed = seed
        self._on_trial = on_trial
        self._standing = Standing(problem.objectives, study.trials()) if on_trial else None
        self._seen: set[tuple[Plan, bool]] = set()
        self._idle = 0
        self._ordinal = 0
        self._done = 0
        self._before = study.elapsed

    def run(self, solver: Solver) -> None:
        """Run a solver until it ends or the budget is spent."""
        stopped = "the solver has asked for every plan"
        try:
            self._stop_when_spent()
            self._show()
            solver.run(self._problem, self)
        except Stop as stop:
            stopped = str(stop)
        self._show(stopped)
        trials = self._study.trials()
        if trials and not any(trial.feasible for trial in trials):
            raise InfeasibleError(self._none_feasible())

    def __call__(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials of plans, in their order; ends the run when the budget is spent."""
        return [t if t.feasible else replace(t, quality=None) for t in self._trials(plans)]

    def probe(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials of plans, evaluated even where they break a limit."""
        return self._trials(plans, probing=True)

    def _trials(self, plans: Sequence[Plan], probing: bool = False) -> list[Trial]:
        wanted = [self._problem.space.canonical(plan) for plan in plans]
        fresh = [plan for plan in dict.fromkeys(wanted) if (plan, probing) not in self._seen]
        self._seen.update((plan, probing) for plan in fresh)
        self._idle = 0 if fresh else self._idle + 1
        if self._idle > IDLE_CALLS:
            raise Stop("the solver asks for nothing new")
        totals = self._cost([plan for plan in fresh if plan not in self._study])
        chosen = fresh if probing else self._sort_out(fresh, totals)
        jobs = self._jobs(chosen, totals)
        room = self._budget.room(self._study.evaluated)
        self._evaluate(jobs if room is None else jobs[:room])
        self._stop_when_spent()
        return [self._study[plan] for plan in wanted]

    def _elapsed(self) -> float:
        return self._before + self._budget.session

    def _stop_when_spent(self) -> None:
        spent = self._budget.spent(self._study.evaluated, self._elapsed())
        if spent:
            raise Stop(spent)
        if self._study.infeasible > self._budget.infeasible_limit(self._problem.space.size):
            raise Stop(f"{self._study.infeasible:,} plans were beyond the limits")

    def _cost(self, plans: Sequence[Plan]) -> dict[Plan, dict[str, float]]:
        """Cost plans at once; return their totals."""
        if not plans:
            return {}
        table = {name: values.tolist() for name, values in self._problem.totals(plans).items()}
        rows = zip(*table.values(), strict=True)
        return {
            plan: dict(zip(table, row, strict=True)) for plan, row in zip(plans, rows, strict=True)
        }

    def _sort_out(
        self, plans: Sequence[Plan], totals: Mapping[Plan, Mapping[str, float]]
    ) -> list[Plan]:
        """Record the new plans that break a limit; return the others, known ones included."""
        broken = {plan: self._problem.below.broken(total) for plan, total in totals.items()}
        beyond = [self._infeasible(p, totals[p], why) for p, why in broken.items() if why]
        if beyond:
            self._study.add_all(beyond, started=time.time(), elapsed=self._elapsed())
            self._show()
        return [p for p in plans if p not in self._study or self._study[p].feasible]

    def _infeasible(self, plan: Plan, total: Mapping[str, float], why: Sequence[str]) -> Trial:
        return Trial(
            UNNUMBERED, plan, total, None, seed=trial_seed(self._seed, plan), infeasible=tuple(why)
        )

    def _jobs(self, plans: Sequence[Plan], totals: Mapping[Plan, Mapping[str, float]]) -> list[Job]:
        """Number plans in the order they are asked for; return a job for each to be evaluated."""
        jobs = []
        for plan in plans:
            known = self._study.get(plan)
            if known is None or known.quality is None:
                total = totals[plan] if known is None else known.total
                jobs.append(Job(plan, self._number(), trial_seed(self._seed, plan), total))
            self._ordinal += 1
        return jobs

    def _number(self) -> int:
        """Return the next number; one past all others if a solver did not replay its journal."""
        self._ordinal = self._study.free_number(self._ordinal)
        return self._ordinal

    def _evaluate(self, jobs: Sequence[Job]) -> None:
        for job, outcome in self._evaluator.run(self._in_time(jobs)):
            broken = tuple(self._problem.below.broken(job.total))
            trial = Trial(
                job.number, job.plan, job.total, outcome.quality, job.seed, outcome.cpu_seconds,
                infeasible=broken,
            )  # fmt: skip
            self._commit(trial, outcome)

    def _in_time(self, jobs: Sequence[Job]) -> Iterator[Job]:
        for job in jobs:
            if self._budget.seconds is not None and self._elapsed() >= self._budget.seconds:
                return
            yield job

    def _commit(self, trial: Trial, outcome: Outcome) -> None:
        self._study.add(trial, started=outcome.started, elapsed=self._elapsed())
        self._done += 1
        if self._standing:
            self._standing.add(trial)
        self._show()

    def _show(self, stopped: str = "") -> None:
        if self._on_trial is None or self._standing is None:
            return
        study, elapsed = self._study, self._elapsed()
        left = self._budget.seconds_left(self._done, study.evaluated, elapsed)
        self._on_trial(
            Progress(
                study.evaluated,
                self._budget.evaluations,
                study.infeasible,
                self._standing.best,
                self._standing.hypervolume(),
                elapsed,
                left,
                stopped,
            )
        )

    def _none_feasible(self) -> str:
        below = self._problem.below
        nearest = min(self._study.trials(), key=lambda trial: below.excess(trial.total))
        return (
            f"None of {len(self._study):,} plans tried meets {below} on "
            f"{self._problem.machine.name}. The nearest: {'; '.join(nearest.infeasible)}. "
            "Raise these limits, widen the space, or try another solver."
        )
