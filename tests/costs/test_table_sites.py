"""Replaced operations: sums over sites are exact, and so is the integer program on them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from sketches import Sketch
from torch import Tensor, nn

from hwflow.cost import METRICS, Cost, Limits
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.costs.table import NETWORK, TermTable
from hwflow.costs.terms import apart, terms
from hwflow.design import Design
from hwflow.edits.operations import Option, find
from hwflow.edits.quantize import quantize
from hwflow.edits.replace import OPERATION, replace
from hwflow.edits.sites import Site
from hwflow.loop import search
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.solvers.additive import Additive
from hwflow.solvers.milp import MILP
from hwflow.space import Apart, Builder, Choice, Plan, Space, Value
from hwflow.workload import Workload

LEVELS: dict[str, type[Coarse | Mid | Fine]] = {"coarse": Coarse, "mid": Mid, "fine": Fine}
NAMES = (
    "skip", "bottleneck_k3_r2_g1", "attention_h4_p2_m1", "pruned_0.5_l1", "low_rank_svd_0.25",
    "quantized_w4_a8",
)  # fmt: skip


@cache
def residual() -> Workload:
    """Return a residual network of three blocks, the second one strided."""
    net = Sketch((1, 3, 16, 16))
    top = net.conv("conv1", "x", 16, 3)
    for here, width, stride in (("one", 16, 1), ("two", 32, 2), ("three", 32, 1)):
        body = net.conv(f"{here}.conv1", top, width, 3, stride)
        body = net.conv(f"{here}.conv2", body, width, 3)
        if stride == 2:
            top = net.conv(f"{here}.down", top, width, 1, stride)
        top = net.same(f"{here}.add", "add", body, top)
    net.linear("fc", net.flat("flat", net.pool("avgpool", "avg_pool", top, 1)), 10)
    return net.done("residual")


@cache
def problem_at(level: str) -> Problem:
    known = {option.name: option for option in find()}
    options = [known[name] for name in NAMES]
    return Problem(replace(residual(), options=options), "eyeriss", LEVELS[level]())


def drawn(problem: Problem, count: int, seed: int = 0) -> list[Plan]:
    rng = random.Random(seed)
    return [problem.space.sample(rng) for _ in range(count)]


def check_equal(table: TermTable, plans: Sequence[Plan]) -> None:
    true, summed = table.problem.totals(plans), table.totals(plans)
    assert summed.keys() == {name for name in true if METRICS[name].total != "max"}
    for name, values in summed.items():
        np.testing.assert_allclose(values, true[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("level", LEVELS)
def test_sums_over_sites_equal_the_cost_of_the_whole(level: str) -> None:
    table = TermTable(problem_at(level))
    table.fill()
    assert len(table) == table.entries  # so that the random plans cost what is known already
    check_equal(table, drawn(table.problem, 12))


def test_a_site_is_one_term() -> None:
    problem = problem_at("coarse")
    choices = problem.space.choices
    named = {choice.name: (place,) for place, choice in enumerate(choices)}
    assert dict(terms(problem)) == {NETWORK: (), **named}
    assert TermTable(problem).entries == 1 + sum(len(choice.options) for choice in choices)


class Counting(Coarse):
    """Counts the designs that it costs."""

    rows = 0

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        Counting.rows += len(designs)
        return super().costs(designs)


def test_as_many_plans_as_options_fill_the_table() -> None:
    table = TermTable(Problem(problem_at("coarse").space, "eyeriss", Counting()))
    Counting.rows = 0
    table.fill()
    assert 0 < Counting.rows <= 1 + len(NAMES)
    assert len(table) == table.entries


def test_the_program_has_the_true_costs_and_no_pairs() -> None:
    problem = problem_at("mid")
    below = Limits(latency_s=1.0)
    additive = Additive.of(Problem(problem.space, "eyeriss", Mid(), below))
    assert additive.exact
    assert additive.joint == ()
    plan = drawn(problem, 1, 5)[0]
    found = sum(row[option] for row, option in zip(additive.costs["latency_s"], plan, strict=True))
    assert found == pytest.approx(problem.totals([plan])["latency_s"][0], rel=1e-12)


@dataclass(frozen=True)
class Summed:
    """A quality that is what each option loses, added up."""

    losses: tuple[tuple[float, ...], ...]
    name: str = "summed"

    def score(self, plan: Plan, build: Builder) -> float:
        return 1 - sum(row[option] for row, option in zip(self.losses, plan, strict=True))

    def digest(self) -> str:
        return str(self.losses)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_answer_is_that_of_brute_force(seed: int) -> None:
    space = problem_at("fine").space
    rng = random.Random(seed)
    losses = tuple((0.0, *(rng.uniform(0.001, 0.1) for _ in c.options[1:])) for c in space.choices)
    plans = list(product(*(range(len(choice.options)) for choice in space.choices)))
    latency = TermTable(problem_at("fine")).totals(plans)["latency_s"]
    limit = float(np.quantile(latency, 0.2))
    quality = Summed(losses)
    best = max(
        quality.score(plan, None)  # type: ignore[arg-type]
        for plan, value in zip(plans, latency, strict=True)
        if value < limit
    )
    problem = Problem(space, "eyeriss", Fine(), Limits(latency_s=limit))
    given = {choice.name: row for choice, row in zip(space.choices, losses, strict=True)}
    front = search(problem, quality, MILP(losses=given), evaluations=3)
    assert max(trial.quality or 0.0 for trial in front) == pytest.approx(best, rel=1e-9)


class Scaled(nn.Module):
    """A convolution, and a scale that belongs to no layer."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, 1, stride)
        self.scale = nn.Parameter(torch.ones(outputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) * self.scale)


class Scale(Option):
    """Brings parameters beside layers."""

    family = "scale"
    name = "scale"

    def fits(self, site: Site) -> bool:
        return True

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        return Scaled(site.in_shape[0], site.out_shape[0], site.stride[0])


def test_parameters_beside_layers_belong_to_their_site() -> None:
    space = replace(residual(), ["one", "two"], [Scale(), "skip"])
    found = apart(Problem(space, "eyeriss", Coarse()))
    assert found is not None
    assert found.loose[OPERATION + "two"] == (0, 0, 32)
    check_equal(TermTable(Problem(space, "eyeriss", Coarse())), list(product(range(3), range(3))))


def test_bits_chosen_after_make_terms_of_layers_again() -> None:
    workload = residual()
    space = replace(workload, ["two"], ["skip"]) + quantize(workload, bits=(4, 8))
    problem = Problem(space, "eyeriss", Mid())
    assert apart(problem) is None
    table = TermTable(problem)
    assert "one.conv1" in {term.layer for term in table.terms}
    check_equal(table, drawn(problem, 6))


@dataclass(frozen=True)
class Wider:
    """Makes a convolution, and what reads it, costlier."""

    steps: int

    def on_paper(self, design: Design) -> Design:
        workload = design.workload
        bits = {layer.name: 2**self.steps for layer in workload.mac_layers}
        return design.with_workload(workload.with_bits(bits, {}))

    def in_network(self, network: Network) -> Network:
        return network


@dataclass(frozen=True)
class Untrue:
    """Says that its choices change nothing that they share, which is not so."""

    kind = "quantize"
    choices: tuple[Choice, ...] = (Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2)))

    def edit(self, values: Mapping[str, Value]) -> Wider:
        return Wider(int(values["a"]) * int(values["b"]))

    def apart(self, workload: Workload) -> Apart:
        return Apart({}, {"a": (0, 0, 0), "b": (0, 0, 0)})


def test_a_part_that_is_wrong_about_itself_is_found_out() -> None:
    problem = Problem(Space(residual(), (Untrue(),)), "bitfusion", Coarse())
    table = TermTable(problem)
    assert ("conv1", (0, 1)) in table.terms
    check_equal(table, list(product(range(3), range(3))))
