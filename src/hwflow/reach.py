"""Whether limits can be met at all, found on paper before anything is evaluated.

The plans that cost least are looked for by a descent over the choices: all changes of one choice
are costed at once, every choice takes its best option, and where that does not help the one best
change is made. For costs that add up over layers and choices this is exact after one round. A space
of up to ``ENUMERABLE`` plans is costed as a whole before it is called out of reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import floor, log10
from operator import itemgetter

import numpy as np

from hwflow.bars import Bars
from hwflow.cost import METRICS, Floats
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.plans import distinct_plans
from hwflow.problem import SIZES, Problem
from hwflow.space import Plan, Space
from hwflow.units import show

ENUMERABLE = 4096
ROUNDS = 50

Totals = Mapping[str, Floats]
Objective = Callable[[Totals], Floats]
TotalOf = Callable[[Problem, Sequence[Plan]], Totals]

_WORDS = {"latency_s": ("fastest", "takes"), "energy_j": ("most frugal", "takes")}


class _Found(BaseException):
    """Carries a plan that meets all limits out of the search for one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


def feasible_plan(problem: Problem) -> Plan:
    """Return a plan that meets all limits: the default one, or the first that is found.

    Raises InfeasibleError with the nearest that can be had when there is none, and HwflowError when
    a limit or an objective is on a metric that the cost model does not give.
    """
    known = problem.totals([problem.space.default])
    for name in (*problem.cost_names, *(name for name, _ in problem.below.items())):
        if name not in known:
            given = ", ".join(METRICS[n].short for n in known)
            raise HwflowError(
                f"The cost model {problem.cost.level!r} gives no {METRICS[name].short}. "
                f"It gives {given}."
            )
    if not problem.below.items():
        return problem.space.default
    try:
        nearest, joint = _nearest(problem)
    except _Found as found:
        return found.plan
    raise InfeasibleError(_sentence(problem, nearest, joint))


def leanest_plan(problem: Problem) -> Plan:
    """Return the plan that stays furthest below all limits, or exceeds the worst of them least.

    Found by a descent over the choices; raises HwflowError when the problem has no limits.
    """
    if not problem.below.items():
        raise HwflowError("A problem without limits has no leanest plan. Give a limit.")
    starts = _starts(problem.space)
    return _least(problem, starts, partial(excess, problem), Problem.totals)


def _starts(space: Space) -> list[Plan]:
    """Return plans to descend from: the default and the uniform ones, each on every machine.

    A faster machine is a larger one, so limits on both are seldom met by one change after another.
    """
    plans = list(dict.fromkeys([space.default, *space.uniform()]))
    if not len(space.of_machine) or space.of_machine.size > ENUMERABLE:
        return plans
    own, machines = len(space.of_network), list(distinct_plans(space.of_machine))
    return list(dict.fromkeys([*plans, *((*p[:own], *m) for p in plans for m in machines)]))


def _nearest(problem: Problem) -> tuple[dict[str, Plan], Plan]:
    """Return the plan of least cost for each limited metric, and that of least excess over all."""
    starts = _starts(problem.space)
    nearest = {name: _least(problem, starts, itemgetter(name)) for name, _ in problem.below.items()}
    joint = _least(problem, [*starts, *nearest.values()], partial(excess, problem))
    if problem.space.size <= ENUMERABLE:
        return _exact(problem)
    return nearest, joint


def excess(problem: Problem, totals: Totals) -> Floats:
    """Return by what share each plan exceeds its worst limit; 0 or less when all are met."""
    over: list[Floats] = [totals[name] / value - 1 for name, value in problem.below.items()]
    worst: Floats = np.maximum.reduce(over)
    return worst


def _totals(problem: Problem, plans: Sequence[Plan]) -> Totals:
    totals = problem.totals(plans)
    met = np.flatnonzero(excess(problem, totals) <= 0)
    if len(met):
        raise _Found(plans[int(met[0])])
    return totals


def _exact(problem: Problem) -> tuple[dict[str, Plan], Plan]:
    plans = list(distinct_plans(problem.space))
    totals = _totals(problem, plans)
    nearest = {name: plans[int(np.argmin(totals[name]))] for name, _ in problem.below.items()}
    return nearest, plans[int(np.argmin(excess(problem, totals)))]


def _least(
    problem: Problem, starts: Sequence[Plan], objective: Objective, total_of: TotalOf | None = None
) -> Plan:
    """Return the plan with the least objective that a descent finds from the best start.

    By default it stops, by raising _Found, at the first plan that meets all limits.
    """
    totals = total_of or _totals
    values = objective(totals(problem, starts))
    plan, value = starts[int(np.argmin(values))], float(values.min())
    for _ in range(ROUNDS):
        moves = _moves(problem.space, plan)
        if not moves:
            break
        places, plans = zip(*moves, strict=True)
        gains = objective(totals(problem, plans))
        together = _together(problem.space, plan, value, places, gains)
        tries = [plans[int(np.argmin(gains))], together]
        values = objective(totals(problem, tries))
        if not values.min() < value:
            break
        plan, value = tries[int(np.argmin(values))], float(values.min())
    return plan


def _moves(space: Space, plan: Plan) -> list[tuple[tuple[int, int], Plan]]:
    """Return every change of one choice, as ((choice, option), plan)."""
    moves = [
        ((place, option), space.canonical((*plan[:place], option, *plan[place + 1 :])))
        for place, choice in enumerate(space.choices)
        for option in range(len(choice.options))
        if option != plan[place]
    ]
    return [(where, moved) for where, moved in moves if moved != plan]


def _together(
    space: Space, plan: Plan, value: float, places: Sequence[tuple[int, int]], values: Floats
) -> Plan:
    """Give every choice the option that is best while the others stay as they are."""
    best = dict.fromkeys(range(len(plan)), value)
    together = list(plan)
    for (place, option), found in zip(places, values, strict=True):
        if found < best[place]:
            best[place], together[place] = float(found), option
    return space.canonical(together)


def _sentence(problem: Problem, nearest: Mapping[str, Plan], joint: Plan) -> str:
    machine = problem.machine.name
    least = {name: problem.total(plan)[name] for name, plan in nearest.items()}
    beyond = [
        (least[n] / limit, n, limit) for n, limit in problem.below.items() if least[n] > limit
    ]
    if beyond:
        _, name, limit = max(beyond)
        return _one_limit(problem, name, limit, least[name], nearest[name])
    totals = problem.total(joint)
    head = (
        f"No plan meets {problem.below} together on {machine}, though each limit alone can be met. "
        f"The nearest of {_count(problem.space)} plans has {_listed(problem, totals)}."
    )
    worst = max(problem.below.items(), key=lambda item: totals[item[0]] / item[1])[0]
    bars = Bars.of(problem, worst, joint)
    if bars is None:
        wider = "widen the space: more options per choice, or another edit"
        return f"{head} Raise these limits, or {wider}."
    rows = "".join(f"\n  {line}" for line in bars.lines())
    what = f" What bars {METRICS[worst].short} there:{rows}\n" if rows else " "
    *some, last = bars.remedies()
    return f"{head}{what}Raise these limits{''.join(f', {way}' for way in some)}, or {last}."


def _one_limit(problem: Problem, name: str, limit: float, least: float, plan: Plan) -> str:
    known = METRICS[name]
    adjective, verb = _WORDS.get(name, ("least", "has"))
    found = "" if problem.space.size <= ENUMERABLE else " found"
    of_machine = name in SIZES and len(problem.space.of_machine) > 0  # no layer has a part of it
    bars = None if of_machine else Bars.of(problem, name, plan)
    wanted, reached = _apart(limit, least, known.unit)
    costliest = "" if of_machine or bars else _costliest(problem, name, plan)
    head = (
        f"No plan meets {known.short} <= {wanted} on {problem.machine.name}: "
        f"the {adjective}{found} of {_count(problem.space)} plans {verb} {reached}{costliest}"
    )
    raised = round_up(least)
    if bars is None:
        return (
            f"{head}. Raise the limit to {show(raised, known.unit)}, or widen the space: "
            "more options per choice, or another edit."
        )
    whole = problem.cost.cost(problem.design).total[name]
    share = f"{round_up(100 * raised / whole):g}%" if whole else "-"
    lines = bars.lines()
    rows = "".join(f"\n  {line}" for line in lines)
    raise_it = f"Raise the limit to {show(raised, known.unit)} ({share} of the original's)"
    *some, last = bars.remedies()
    ways = "".join(f", {way}" for way in some)
    return f"{head}.{' What bars it:' if rows else ''}{rows}\n{raise_it}{ways}, or {last}."


def _apart(limit: float, least: float, unit: str) -> tuple[str, str]:
    """Write two figures with as many digits as tell them apart."""
    pairs = [(show(limit, unit, digits), show(least, unit, digits)) for digits in range(3, 10)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])


def _costliest(problem: Problem, name: str, plan: Plan) -> str:
    layers = problem.costs([plan])[0].layers
    if METRICS[name].total == "own" or not layers:
        return ""
    worst = max(layers, key=lambda layer: layer.values.get(name, 0.0))
    value = worst.values.get(name, 0.0)
    return f" ({worst.name} alone: {show(value, METRICS[name].unit)})" if value else ""


def _listed(problem: Problem, totals: Mapping[str, float]) -> str:
    return ", ".join(
        f"{METRICS[name].short} {show(round_up(totals[name]), METRICS[name].unit)}"
        for name, _ in problem.below.items()
    )


def _count(space: Space) -> str:
    size = space.size
    return f"{size:,}" if size < 10**9 else f"10^{len(str(size)) - 1}"


def round_up(value: float, digits: int = 3) -> float:
    """Round up to so many digits, so that a limit of this value is met."""
    if value <= 0:
        return value
    step = 10.0 ** (floor(log10(value)) - digits + 1)
    return max(value, float(np.ceil(value / step) * step))
