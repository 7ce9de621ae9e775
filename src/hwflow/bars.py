"""What bars a limit: the costliest layers of the leanest plan, and why their channels stay.

Works on paper, for spaces that remove channels. The groups of channels are those of
:mod:`hwflow.coupling`; how few of each a space allows is said by its choices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from hwflow.cost import METRICS
from hwflow.coupling import Coupling, couple
from hwflow.problem import Problem
from hwflow.space import Choice, Part, Plan
from hwflow.units import show
from hwflow.workload import Layer, Workload

CHANNELS = "channels:"
"""How the names of the choices begin that say how many channels of a group are kept."""

LINES = 4
"""How many lines of layers there are at most."""

WORTH = 0.02
"""The share of the total from which layers are worth a line."""


@dataclass(frozen=True)
class Bars:
    """What keeps a plan from costing less of one metric."""

    problem: Problem
    metric: str
    plan: Plan
    part: Part
    """The part of the space that removes channels."""

    @classmethod
    def of(cls, problem: Problem, metric: str, plan: Plan) -> Bars | None:
        """Return what bars a plan; None for a space that removes no channels."""
        pruning = (part for part in problem.space.parts if part.kind == "prune")
        part = next(pruning, None)
        return None if part is None else cls(problem, metric, plan, part)

    def lines(self) -> list[str]:
        """Return lines on the costliest layers: their cost, their channels, why not fewer."""
        found = []
        for about, names in self._rows.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            cost = show(self._values[names[0]], METRICS[self.metric].unit)
            found.append(f"{names[0]}{more}: {cost}{' each' if more else ''}{about[1]}")
        return found

    def remedies(self) -> Iterator[str]:
        """Yield what may help, in words."""
        fewest = {group for name in self._named for group in self._groups(name)[0]}
        fewest = {group for group in fewest if self._units(group) > 1}
        if fewest:
            yield f"allow fewer channels ({', '.join(self._flags(fewest))})"
        if self._coupling.branches and not any(0.0 in c.options for c in self._choices.values()):
            yield "let residual branches be dropped (--branches)"
        excluded = sorted(set(self._excluded()))
        if excluded:
            yield f"exclude fewer layers ({', '.join(excluded)})"
        kinds = {part.kind for part in self.problem.space.parts}
        yield "add another edit (--quantize)" if "quantize" not in kinds else "add another edit"

    @cached_property
    def _values(self) -> dict[str, float]:
        """Layer -> what it costs; empty for a metric that is not one of layers."""
        if METRICS[self.metric].total == "own":
            return {}
        layers = self.problem.costs([self.plan])[0].layers
        return {layer.name: layer.values.get(self.metric, 0.0) for layer in layers}

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[str]]:
        """Cost and channels, in words -> the layers of which they are true, the costliest first."""
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, value in self._values.items():
            alike[f"{value:.3g}", self._channels(name)].append(name)
        total = {key: sum(self._values[name] for name in names) for key, names in alike.items()}
        least = WORTH * sum(total.values())
        ranked = sorted((key for key in alike if total[key] > least), key=lambda key: -total[key])
        return {key: alike[key] for key in ranked[:LINES]}

    @property
    def _named(self) -> Iterator[str]:
        return chain.from_iterable(self._rows.values())

    @cached_property
    def _pruned(self) -> Workload:
        return self.problem.space.on_paper(self.plan, self.problem.design).workload

    @cached_property
    def _coupling(self) -> Coupling:
        exclude: frozenset[str] = getattr(self.part, "exclude", frozenset())
        return couple(self.problem.space.workload, exclude)

    @cached_property
    def _choices(self) -> Mapping[str, Choice]:
        """Group -> the choice of how many of its channels are kept."""
        choices = (c for c in self.part.choices if c.name.startswith(CHANNELS))
        return {choice.name.removeprefix(CHANNELS): choice for choice in choices}

    def _units(self, group: str) -> int:
        """Return how many units of a group its leanest option keeps; 2 where that is not told."""
        kept: Mapping[float, Sequence[int]] = getattr(self.part, "kept", {}).get(group, {})
        return min((len(units) for share, units in kept.items() if share != 0.0), default=2)

    def _channels(self, name: str) -> str:
        whole: Layer = self.problem.space.workload[name]
        if not whole.is_mac:
            return ""
        left = self._pruned[name]
        why = "; ".join(self._reasons(name))
        return (
            f", {left.out_channels} of {whole.out_channels} channels from {left.in_channels} of "
            f"{whole.in_channels}{f' ({why})' if why else ''}"
        )

    def _reasons(self, name: str) -> Iterator[str]:
        """Yield why a layer makes and reads not fewer channels."""
        fewest, useless = self._groups(name)
        for groups, why in ((fewest, "the fewest allowed"), (useless, "fewer save nothing")):
            if groups:
                yield why if groups == [name] else f"{why} of {', '.join(groups)}"
        if name in self._coupling.why:
            yield self._coupling.why[name]
        maker = self._maker(name)
        if maker in self._coupling.why:
            yield f"reads all of {maker}"

    def _maker(self, name: str) -> str:
        """Return the layer that makes the channels which a layer reads, as far as there is one."""
        layer = self.problem.space.workload[name]
        while layer.inputs[:1] and layer.inputs[0] in self.problem.space.workload:
            layer = self.problem.space.workload[layer.inputs[0]]
            if layer.is_mac or len(layer.inputs) > 1:
                break
        return layer.name if layer.is_mac and layer.name != name else ""

    def _groups(self, name: str) -> tuple[list[str], list[str]]:
        """Return a layer's groups at their fewest channels, and those that could have fewer."""
        values = self.problem.space.values(self.plan)
        found: tuple[list[str], list[str]] = ([], [])
        for group in self._coupling.groups:
            if name in group.layers:
                choice = self._choices.get(group.name)
                more = choice is not None and values[choice.name] != choice.options[0]
                found[more].append(group.name)
        return found

    def _excluded(self) -> Iterator[str]:
        """Yield the excluded layers that keep the channels of the costliest ones."""
        for name in self._named:
            words = " ".join(self._reasons(name)).replace(",", "").split()
            yield from (layer for layer in self._coupling.exclude if layer in words)

    def _flags(self, fewest: Collection[str]) -> Iterator[str]:
        """Yield the options that keep these groups from having fewer channels.

        A group whose least share is above that of others was rounded up.
        """
        shares = {
            name: min(float(share) for share in choice.options if share != 0.0)
            for name, choice in self._choices.items()
        }
        least = min(shares.values())
        if any(shares.get(name) == least for name in fewest):
            yield f"--min-keep {least / 2:.3g}"
        if any(shares.get(name) != least for name in fewest):
            yield "a smaller --step or --min-channels"
