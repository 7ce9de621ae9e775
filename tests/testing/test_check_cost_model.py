from dataclasses import dataclass, replace

import numpy as np
import pytest

from hwflow.cost import Cost, LayerCost
from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid
from hwflow.testing import CheckError, check_cost_model


@pytest.mark.parametrize("machine", ["eyeriss", "bitfusion", "bismo"])
@pytest.mark.parametrize("model", [Coarse(), Mid()], ids=["coarse", "mid"])
def test_our_levels_keep_their_promises(model, machine):
    check_cost_model(model, machine)


@dataclass
class Wrapped:
    """A level whose answers pass through functions before anybody sees them."""

    change: object = staticmethod(lambda cost: cost)
    single: object = staticmethod(lambda cost: cost)
    rows: object = staticmethod(lambda costs: costs)
    inner: Mid = Mid()
    level: str = "wrapped"

    def _changed(self, cost: Cost) -> Cost:
        return self.change(cost)

    def cost(self, design):
        return self.single(self._changed(self.inner.cost(design)))

    def costs(self, designs):
        return [self._changed(cost) for cost in self.inner.costs(designs)]

    def over_bits(self, design, bits):
        table = self.inner.over_bits(design, bits)
        return self.rows([self._changed(table[row]) for row in range(len(table))])

    def digest(self):
        return "wrapped"


def test_the_wrapping_itself_breaks_nothing():
    check_cost_model(Wrapped())


def total(name, function):
    def change(cost):
        return replace(cost, total={**cost.total, name: function(cost.total.get(name, 0.0))})

    return change


def without_standing(cost):
    return replace(cost, standing={})


def reordered(cost):
    return replace(cost, layers=cost.layers[::-1])


def negative(cost):
    first = cost.layers[0]
    changed = LayerCost(first.name, first.op, {**first.values, "energy_j": -1.0}, first.bound_by)
    return replace(cost, layers=(changed, *cost.layers[1:]))


def growing(cost):
    """Sizes that grow as bits fall."""
    return total("model_bytes", lambda value: 1e9 / max(value, 1))(cost)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (total("latency_s", lambda v: v * 2), "latency_s is .* in total, but the sum"),
        (total("peak_bytes", lambda v: v / 2), "peak_bytes is .* in total, but the max"),
        (total("params", lambda v: v + 1), "params is .* counted"),
        (total("speed", lambda v: 1.0), "'speed' is no metric"),
        (total("latency_s", lambda v: float("nan")), "latency_s has a value"),
        (negative, "energy_j has a value that is negative"),
        (without_standing, "has no standing"),
        (reordered, "not those of the workload"),
        (lambda cost: replace(cost, total={}), "holds no metric"),
        (growing, "model_bytes grows"),
    ],
)
def test_every_wrong_cost_is_named(change, message):
    with pytest.raises(CheckError, match=message):
        check_cost_model(Wrapped(change=change))


def doubled_area(cost):
    return total("area_um2", lambda value: value)(
        replace(cost, total={**cost.total, "model_bytes": cost.total["model_bytes"] + 1})
    )


def test_one_design_must_cost_what_it_costs_among_many():
    with pytest.raises(CheckError, match="`costs` and `cost` differ in model_bytes of the total"):
        check_cost_model(Wrapped(single=doubled_area))


def test_rows_must_be_the_costs_of_their_bits():
    with pytest.raises(CheckError, match="Row 0 of `over_bits` and `cost` differ"):
        check_cost_model(Wrapped(rows=lambda costs: costs[::-1]))
    with pytest.raises(CheckError, match="gives 4 rows for 5"):
        check_cost_model(Wrapped(rows=lambda costs: costs[1:]))


def test_a_digest_must_not_change():
    class Restless(Wrapped):
        def digest(self):
            return str(np.random.default_rng().random())

    with pytest.raises(CheckError, match="`digest` gives another value"):
        check_cost_model(Restless())


def test_a_level_has_a_name():
    with pytest.raises(CheckError, match="`level` must be a name"):
        check_cost_model(Wrapped(level=""))
