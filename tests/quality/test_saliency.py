"""Saliency: what a plan keeps, as a sum over groups, without data and without a network."""

from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import log, sqrt

import pytest
from toy import BitPart, chain

from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.coupling import couple
from hwflow.edits.prune import prune
from hwflow.edits.resize import resize
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.job import Job, Parts
from hwflow.loop import search
from hwflow.models import load
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.quality.saliency import GONE, Saliency
from hwflow.solvers.milp import MILP
from hwflow.space import Choice, Space

LAYERS = 6
SIZES = {f"conv{index}": 8 * (index + 1) for index in range(LAYERS - 1)}
"""The groups of the chain; its last layer leaves the network."""

HEAVY = [sqrt(layer.weights) for layer in chain(LAYERS)]
WEIGHTS = [value / sum(HEAVY) for value in HEAVY]
"""Of the layers."""


def halves(**options) -> Space:
    return prune(chain(LAYERS), (0.5,), **options)


@lru_cache
def small() -> Network:
    return load("cifar:resnet8")


def never(plan):
    raise AssertionError("no network is to be built")


def test_the_whole_network_keeps_everything_and_no_network_is_built():
    space = halves()
    assert Saliency(space).score(space.default, never) == 0


def test_layers_count_by_the_root_of_their_weights_and_those_that_stay_as_whole():
    space = halves()
    one = space.plan({"channels:conv3": 0.5})
    assert Saliency(space).of_plan(one) == pytest.approx(WEIGHTS[3] * log(0.5))
    every = (0,) * len(space)
    assert Saliency(space).of_plan(every) == pytest.approx((1 - WEIGHTS[-1]) * log(0.5))


def test_what_matters_little_is_lost_cheaply():
    scores = {name: [1.0] * size for name, size in SIZES.items()}
    scores["conv0"] = [9, 9, 9, 9, 1, 1, 1, 1]
    saliency = Saliency(halves(scores=scores))
    assert saliency.losses[0] == pytest.approx((WEIGHTS[0] * log(10 / 9), 0))
    assert saliency.losses[1] == pytest.approx((WEIGHTS[1] * log(2), 0))


def test_units_without_any_score_are_worth_the_same():
    zeros = {name: [0.0] * size for name, size in SIZES.items()}
    space = halves(scores=zeros)
    assert Saliency(space).losses == Saliency(halves()).losses


def test_a_group_counts_for_all_layers_whose_filters_it_takes():
    workload = extract(small())
    space = prune(workload, (0.5,))
    layers = [workload[name] for name in couple(workload).group("conv1").layers]
    shares = [16 / layer.out_channels for layer in layers if layer.is_mac]
    assert min(shares) < 1  # in layers that are wider where the shortcut is padded
    heavy = sum(sqrt(la.weights) * 16 / la.out_channels for la in layers if la.is_mac)
    whole = sum(sqrt(layer.weights) for layer in workload.mac_layers)
    lost = Saliency(space).of_plan(space.plan({"channels:conv1": 0.5}))
    assert lost == pytest.approx(heavy / whole * log(0.5))


def test_the_ranking_of_the_network_is_used():
    net = small()
    space = prune(net, (0.5,))
    kept = [losses[0] for losses in Saliency(space).losses]
    equal = [losses[0] for losses in Saliency(prune(extract(net), (0.5,))).losses]
    assert all(ours < other for ours, other in zip(kept, equal, strict=True))


def test_a_plan_loses_the_sum_of_its_single_changes():
    space = prune(extract(small()))
    saliency, plan = Saliency(space), tuple(i % 7 for i in range(len(space)))
    singles = [
        saliency.of_plan((*space.default[:i], option, *space.default[i + 1 :]))
        for i, option in enumerate(plan)
    ]
    assert saliency.of_plan(plan) == pytest.approx(sum(singles))


def test_a_group_that_goes_as_a_whole_counts_as_a_small_share():
    space = halves()
    part = replace(
        space.parts[0],
        choices=(Choice("channels:conv0", (0.0, 1.0), default=1),),
        kept={"conv0": {0.0: (), 1.0: tuple(range(8))}},
    )
    lost = Saliency(Space(space.workload, (part,))).of_plan((0,))
    assert lost == pytest.approx(WEIGHTS[0] * log(GONE))


def test_edits_that_would_look_free_are_refused_and_those_of_the_machine_are_not():
    bits = Space(chain(LAYERS), (BitPart(("conv0",)),))
    with pytest.raises(HwflowError, match="not what 'quantize' changes"):
        Saliency(halves() + bits)
    with pytest.raises(HwflowError, match="'chain' does not prune"):
        Saliency(Space(chain(LAYERS)))
    space = halves() + resize(chain(LAYERS), "eyeriss", {"array.rows": (6, 12)})
    assert Saliency(space).losses[-1] == (0, 0)


def test_the_digest_tells_rankings_apart():
    net = small()
    first, again, other = (
        Saliency(prune(net, (0.5,), ranking=ranking)).digest() for ranking in ("l1", "l1", "l2")
    )
    assert first == again != other


def test_an_integer_program_finds_the_best_plan_within_a_limit():
    space = prune(chain(LAYERS), (0.25, 0.5, 0.75))
    free, saliency = Problem(space, "eyeriss", Coarse()), Saliency(space)
    limit = 0.4 * free.costs([space.default])[0].total["macs"]
    problem = replace(free, below=Limits(macs=limit), objectives=("accuracy", "macs"))
    singles = sum(len(choice.options) - 1 for choice in space.choices)
    front = search(problem, saliency, MILP(), evaluations=singles + 10)
    plans = list(product(range(4), repeat=len(space)))
    macs = problem.totals(plans)["macs"]
    best = max(saliency.of_plan(p) for p, m in zip(plans, macs, strict=True) if m <= limit)
    assert max(trial.quality for trial in front) == pytest.approx(best, abs=2e-3)


def test_only_the_original_has_a_saliency_without_a_plan():
    net = small()
    saliency = Saliency(prune(net, (0.5,)))
    assert saliency.of(net) == 0
    with pytest.raises(HwflowError, match="it is that of a plan"):
        saliency.of(load("cifar:resnet8"))


def test_a_run_can_have_it_as_its_quality():
    job = Job(
        model="cifar:resnet8", data="digits", input=(1, 8, 8), on="eyeriss", edits=("prune",),
        quality="saliency",
    )  # fmt: skip
    parts = Parts(job)
    assert isinstance(parts.quality, Saliency)
    assert parts.quality.of(parts.pristine) == 0
