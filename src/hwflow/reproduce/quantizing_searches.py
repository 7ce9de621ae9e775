"""Stages of HW-FlowQ that search: every contender on every machine, and HAQ's agent at budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from hwflow.errors import InfeasibleError
from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.recipes.haq import agent, budgeted
from hwflow.recipes.hw_flowq import costed, default_costs, problem_at
from hwflow.reproduce.finalists import answer_of
from hwflow.reproduce.quantizing import (
    described,
    evaluations,
    free_problem,
    population,
    searched,
    searched_front,
    sensitivity_of,
    space_of,
    trials_of,
)
from hwflow.reproduce.quantizing import seeds as seeds_of
from hwflow.reproduce.stages import Plain, Settings, Stage
from hwflow.solvers import Solver
from hwflow.solvers.ddpg.wall import Repair
from hwflow.solvers.milp import MILP
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.solvers.surrogate import seeds
from hwflow.solvers.uniform import Uniform

SEEDED = 0.5
"""Share of the first population that the integer program gives."""

Maker = Callable[[Settings, str, Problem, int], Solver]


def plain(settings: Settings, name: str, problem: Problem, seed: int) -> Solver:
    """Return NSGA-II as it is."""
    return NSGA2(seed, population=population(settings))


def seeded(settings: Settings, name: str, problem: Problem, seed: int) -> Solver:
    """Return NSGA-II that begins with what the integer program makes of sensitivities."""
    size = population(settings)
    table = sensitivity_of(settings, name, problem.space).table()
    return NSGA2(seed, population=size, first=seeds(problem, table, round(SEEDED * size)))


def program(settings: Settings, name: str, problem: Problem, seed: int) -> Solver:
    """Return integer programs over sensitivities that learn from their answers."""
    losses = sensitivity_of(settings, name, problem.space).by_choice()
    return MILP(seed, losses=losses, rungs=1, next_best=200)


CONTENDERS: Mapping[str, Maker] = {
    "nsga2": plain,
    "seeded": seeded,
    "random": lambda settings, name, problem, seed: Random(seed),
    "uniform": lambda settings, name, problem, seed: Uniform(seed),
}
ONCE = ("uniform",)
"""Contenders in which nothing is drawn."""

REPAIRS: Mapping[str, Repair] = {"ratio": "ratio", "haq": "backwards"}
"""How HAQ's agent is kept within its budget: our repair, and its own."""


FIGURES: Mapping[str, Mapping[str, Any]] = {
    "haq": {"decay": 0.99}, "decay-0.95": {"decay": 0.95},
    "rates-x10": {"actor_rate": 1e-3, "critic_rate": 1e-2, "decay": 0.99},
    "rates-x10-decay-0.95": {"actor_rate": 1e-3, "critic_rate": 1e-2, "decay": 0.95},
}  # fmt: skip
"""Figures of HAQ's agent that are tried, by label; its own first."""


@dataclass(frozen=True)
class Case:
    """A network whose bits are searched on a machine by a contender, from a seed."""

    network: str
    machine: str
    contender: str
    seed: int

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.network}-{self.machine}-{self.contender}-{self.seed}"


@dataclass(frozen=True)
class Budget:
    """A network for HAQ's agent on a machine, below a share of the 8-bit network's latency."""

    network: str
    machine: str
    share: float
    repair: str
    """A key of REPAIRS."""
    seed: int

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.network}-{self.machine}-{self.share:g}-{self.repair}-{self.seed}"

    @property
    def below(self) -> tuple[str, ...]:
        """The limit as text."""
        return (f"latency={100 * self.share:g}%",)


def search_stage(settings: Settings, case: Case) -> Plain:
    """Search for accuracy, energy and latency on the fine level."""
    problem = free_problem(settings, case.network, case.machine)
    solver = CONTENDERS[case.contender](settings, case.network, problem, case.seed)
    folder = f"searches/{case.key}"
    front = searched(settings, case.network, problem, solver, folder, case.seed)
    trials = trials_of(settings.out / folder)
    return {"case": asdict(case)} | searched_front(problem, trials, front)


def haq_stage(settings: Settings, case: Budget) -> Plain:
    """Let HAQ's agent search below a budget; its answer is the best on all validation images."""
    head = {"case": asdict(case)}
    problem = budgeted(space_of(settings, case.network), case.machine, case.below)
    try:
        found = haq_searched(settings, case, problem)
    except InfeasibleError as error:
        return head | {"infeasible": str(error)}
    network = settings.network(case.network)
    free = costed("fine", problem.space, case.machine, (), ("energy", "latency"))
    answer, worth = answer_of(settings, network, problem.space, found)
    return head | {
        "evaluations": len(found), "validation": worth,
        "answer": described(default_costs(free), answer),
        "best": [trial.value("accuracy") for trial in running(found)],
        "front": searched_front(free, found, ())["hypervolumes"],
        "evaluation_cpu_s": sum(trial.seconds for trial in found),
    }  # fmt: skip


def within_stage(settings: Settings, case: Budget) -> Plain:
    """Let integer programs keep an agent's budget, at the agent's number of evaluations."""
    head = {"case": asdict(case)}
    problem = problem_at("fine", space_of(settings, case.network), case.machine, case.below)
    try:
        solver = program(settings, case.network, problem, case.seed)
        front = searched(settings, case.network, problem, solver, within(case), case.seed)
    except InfeasibleError as error:
        return head | {"infeasible": str(error)}
    trials = trials_of(settings.out / within(case))
    feasible = [trial for trial in trials if trial.feasible]
    network = settings.network(case.network)
    answer, worth = answer_of(settings, network, problem.space, feasible)
    return head | searched_front(problem, trials, front) | {
        "validation": worth, "answer": described(default_costs(problem), answer),
    }  # fmt: skip


def within(case: Budget) -> str:
    """Return the folder of the programs' search below an agent's budget, whatever its repair."""
    return f"within/{replace(case, repair='program').key}"


def tuning_stage(settings: Settings) -> Plain:
    """Try other figures of HAQ's agent at one budget, by validation images: 160 episodes are few.

    HAQ's own repair, since the figures are for its baseline.
    """
    rows = []
    for seed in seeds_of(settings)[:2]:
        case = Budget("resnet20", "bismo", 0.5, "haq", seed)
        problem = budgeted(space_of(settings, case.network), case.machine, case.below)
        for label, figures in FIGURES.items():
            found = haq_searched(settings, case, problem, label, figures)
            best = [trial.value("accuracy") for trial in running(found)]
            rows.append({"figures": label, **asdict(case), "best": best})
    return {"rows": rows}


def haq_searched(
    settings: Settings,
    case: Budget,
    problem: Problem,
    label: str = "",
    figures: Mapping[str, Any] | None = None,
) -> list[Trial]:
    """Return the plans that the agent evaluated, made now or before.

    `figures` are others than HAQ's, under a label.
    """
    count = evaluations(settings, case.network)
    warmup = 2 if count < 40 else 20
    solver = agent(
        case.seed, REPAIRS[case.repair], warmup=warmup, evaluations=count, **(figures or {})
    )  # fmt: skip
    folder = f"haq/{case.key}{label and f'-{label}'}"
    searched(settings, case.network, problem, solver, folder, case.seed)
    return [trial for trial in trials_of(settings.out / folder) if trial.feasible]


def running(trials: list[Trial]) -> list[Trial]:
    """Return the best trial after each evaluation."""
    best: list[Trial] = []
    for trial in trials:
        better = not best or trial.value("accuracy") > best[-1].value("accuracy")
        best.append(trial if better else best[-1])
    return best


def search_of(case: Case, quick: bool | None = None) -> Stage:
    """Return the stage of a search; in a quick reproduction those of the first seed, or as told."""
    about = f"{case.network} on {case.machine} by {case.contender}, seed {case.seed}"
    make = partial(search_stage, case=case)
    return Stage(f"search-{case.key}", about, make, case.seed == 0 if quick is None else quick)


def within_of(case: Budget, quick: bool | None = None) -> Stage:
    """Return the stage of the programs' search below an agent's budget."""
    case = replace(case, repair="program")
    return _below_budget("within", "integer programs", within_stage, case, quick)


def haq_of(case: Budget, quick: bool | None = None) -> Stage:
    """Return the stage of HAQ's agent below a budget."""
    return _below_budget("haq", "HAQ's agent", haq_stage, case, quick)


def _below_budget(
    kind: str,
    what: str,
    make: Callable[[Settings, Budget], Plain],
    case: Budget,
    quick: bool | None,
) -> Stage:
    """Return a stage of a budget; quick ones have the widest of the first seed, or as told."""
    repair = f"repair {case.repair}, " if case.repair in REPAIRS else ""
    about = (
        f"{what}, {case.network} on {case.machine}, latency at most {case.share:g}, "
        f"{repair}seed {case.seed}"
    )
    usual = case.seed == 0 and case.share == 0.6
    return Stage(
        f"{kind}-{case.key}", about, lambda settings: make(settings, case),
        usual if quick is None else quick,
    )  # fmt: skip
