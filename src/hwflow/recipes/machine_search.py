"""The accelerator side of a co-design: which machines suit a network, found by costs alone.

Small spaces of machines are gone through; larger ones are searched by NSGA-II over the costs. No
accuracy is asked for. `Nested` is the problem that an outer search over networks sees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from hwflow.cost import Bits, Cost, CostModel, Costs, Floats
from hwflow.design import Design
from hwflow.errors import InfeasibleError
from hwflow.front import Trial
from hwflow.plans import distinct_plans
from hwflow.problem import Problem
from hwflow.reach import excess, leanest_plan
from hwflow.solvers.nsga2 import NSGA2
from hwflow.space import Plan

EVERY = 512
"""Spaces of up to so many machines are gone through for every network."""

COSTED = 200
"""Machines that NSGA-II costs for a network where there are more than EVERY."""

POPULATION = 20

AT_ONCE = 20_000
"""Pairs of a network and a machine costed in one call."""


class Counted:
    """A cost model that counts how many designs it has costed."""

    def __init__(self, inner: CostModel) -> None:
        self.inner, self.level, self.count = inner, inner.level, 0

    def cost(self, design: Design) -> Cost:
        """Cost one design."""
        self.count += 1
        return self.inner.cost(design)

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        """Cost many designs."""
        self.count += len(designs)
        return self.inner.costs(designs)

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        """Cost one design at n bit assignments."""
        self.count += len(bits)
        return self.inner.over_bits(design, bits)

    def digest(self) -> str:
        """Return the inner model's digest."""
        return self.inner.digest()


class _WithMachines(Counted):
    """The cost model of a nested search: what is costed depends on the machines as well."""

    def __init__(self, whole: Problem) -> None:
        super().__init__(whole.cost)
        text = json.dumps(whole.space.of_machine.describe())
        self._machines = hashlib.sha256(text.encode()).hexdigest()

    def digest(self) -> str:
        """Return the inner model's digest with that of the machines."""
        return f"{self.inner.digest()} on {self._machines}"


@dataclass(frozen=True)
class OneNetwork(Problem):
    """The choices of the machine for one network; its objectives are costs."""

    whole: Problem = field(kw_only=True)
    network: Plan = field(kw_only=True)

    @classmethod
    def of(cls, whole: Problem, network: Plan) -> OneNetwork:
        """Return the machine side of a problem, with the choices of the network made."""
        return cls(
            whole.space.of_machine, whole.machine, whole.cost, whole.below, whole.cost_names,
            whole=whole, network=network,
        )  # fmt: skip

    def totals(self, plans: Sequence[Plan]) -> dict[str, Floats]:
        """Return total costs of the network on machines."""
        return self.whole.totals([(*self.network, *plan) for plan in plans])


class Enough(BaseException):
    """Ends a solver from inside its door; not an Exception, so that no solver swallows it."""


@dataclass
class Machines:
    """For any network of a problem: the machines to consider, and what it costs on each."""

    whole: Problem
    """Choices of the network and of the machine."""
    seed: int = 0
    every: int = EVERY
    _known: dict[Plan, list[Plan]] = field(default_factory=dict)

    def for_network(self, network: Plan) -> list[Plan]:
        """Return the machines to consider for a network: all, or those that were searched."""
        if self.whole.space.of_machine.size <= self.every:
            return self._all()
        if network not in self._known:
            self._known[network] = self._searched(network)
        return self._known[network]

    def _all(self) -> list[Plan]:
        if () not in self._known:
            self._known[()] = list(distinct_plans(self.whole.space.of_machine))
        return self._known[()]

    def _searched(self, network: Plan) -> list[Plan]:
        """Search by NSGA-II on the costs; where nothing meets the limits, some that do not."""
        one = OneNetwork.of(self.whole, network)
        door = _Door(one)
        with suppress(Enough, InfeasibleError):
            NSGA2(self.seed, population=POPULATION).run(one, door)
        return list(door.asked) or [one.space.default, leanest_plan(one)]

    def pairs(self, networks: Sequence[Plan]) -> Iterator[tuple[list[Plan], dict[str, Floats]]]:
        """Yield plans of networks, each with all of its machines, and their total costs."""
        plans = [(*own, *machine) for own in networks for machine in self.for_network(own)]
        for start in range(0, len(plans), AT_ONCE):
            some = plans[start : start + AT_ONCE]
            yield some, self.whole.totals(some)


class _Door:
    """What the solver inside is given: costs only. Ends it after COSTED machines."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self.asked = problem, dict[Plan, None]()

    def __call__(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return trials whose quality says no more than that the limits are kept."""
        self.asked.update(dict.fromkeys(plans))
        if len(self.asked) >= COSTED:
            raise Enough
        totals = _rows(self._problem.totals(plans))
        return [
            Trial(0, plan, total, None if self._problem.below.broken(total) else 0.0)
            for plan, total in zip(plans, totals, strict=True)
        ]

    probe = __call__


def _rows(totals: dict[str, Floats]) -> list[dict[str, float]]:
    columns = {name: values.tolist() for name, values in totals.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True)
class Nested(Problem):
    """Networks, each costed on the machines that suit it.

    The costs of a network are the least that a machine within the limits has, metric by metric (of
    its accelerator front, the ideal point); without such a machine those of the machine that
    exceeds the limits least, so that the network is refused before any accuracy is asked for.
    """

    machines: Machines = field(kw_only=True)

    @classmethod
    def of(cls, whole: Problem, machines: Machines) -> Nested:
        """Return the problem over networks alone."""
        return cls(
            whole.space.of_network, whole.machine, _WithMachines(whole), whole.below,
            whole.objectives, machines=machines,
        )  # fmt: skip

    def totals(self, plans: Sequence[Plan]) -> dict[str, Floats]:
        """Return the total costs of networks on their machines."""
        counts = [len(self.machines.for_network(plan)) for plan in plans]
        tables = [totals for _, totals in self.machines.pairs(plans)]
        joined = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
        ends = np.cumsum(counts)[:-1]
        split = {name: np.split(values, ends) for name, values in joined.items()}
        best = [self._best({n: split[n][row] for n in split}) for row in range(len(plans))]
        return {name: np.array([one[name] for one in best]) for name in joined}

    def _best(self, totals: dict[str, Floats]) -> dict[str, float]:
        if not self.below.items():
            return {name: float(values.min()) for name, values in totals.items()}
        over = excess(self.machines.whole, totals)
        met = over <= 0
        if met.any():
            return {name: float(values[met].min()) for name, values in totals.items()}
        nearest = int(np.argmin(over))
        return {name: float(values[nearest]) for name, values in totals.items()}

    def costs(self, plans: Sequence[Plan]) -> list[Cost]:
        """Cost networks on the machine that is not varied, layer by layer: what messages show."""
        return Problem(self.space, self.on, self.cost).costs(plans)


def expanded(machines: Machines, scored: Sequence[Trial]) -> list[Trial]:
    """Return networks that were scored on each of their machines within the limits.

    Plans of the returned trials have the choices of the network and of the machine.
    """
    by_plan = {trial.plan: trial for trial in scored}
    own, whole, found = len(machines.whole.space.of_network), machines.whole, []
    for plans, totals in machines.pairs(list(by_plan)):
        for plan, total in zip(plans, _rows(totals), strict=True):
            if not whole.below.broken(total):
                old = by_plan[plan[:own]]
                found.append(replace(old, plan=plan, total=total, space=whole.space))
    return found
