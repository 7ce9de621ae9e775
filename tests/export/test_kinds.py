from dataclasses import replace

import pytest

from hwflow.export.kinds import kinds
from hwflow.testing import toy_workload
from hwflow.workload import Workload


def bits(weights=8, tensors=8, **changes) -> Workload:
    """Return the toy workload at some bits; `changes` are of weights, or of tensors by NAME_out."""
    workload = toy_workload()
    of_weights = {x.name: changes.get(x.name, weights) for x in workload.mac_layers}
    of_tensors = {n: changes.get(f"{n}_out", tensors) for n in workload.bit_groups}
    return workload.with_bits(of_weights, of_tensors)


def test_all_in_eight_bits_is_all_in_integers():
    found = kinds(bits())
    assert set(found.layers.values()) == {"integer"}
    assert found.tensors == frozenset(toy_workload().bit_groups)


def test_floats_are_floats():
    found = kinds(toy_workload())
    assert set(found.layers.values()) == {"float"}
    assert not found.tensors


@pytest.mark.parametrize("other", [1, 4, 7, 16])
def test_a_weight_of_other_bits_makes_its_layer_simulated_and_its_input_with_it(other):
    found = kinds(bits(depthwise=other))
    assert found.layers["depthwise"] == "simulated"
    assert "stem" not in found.tensors  # the depthwise layer reads it
    assert found.layers["stem"] == found.layers["pointwise"] == "integer"
    assert {"image", "depthwise"} <= found.tensors


def test_a_tensor_of_other_bits_makes_its_readers_simulated():
    found = kinds(bits(depthwise_out=4))
    assert found.layers["pointwise"] == "simulated"
    assert "depthwise" not in found.tensors
    assert found.layers["depthwise"] == "integer"


def test_who_shares_a_tensor_with_a_simulated_layer_is_simulated_too():
    workload = toy_workload()
    layers = [replace(x, inputs=("stem",)) if x.name == "pointwise" else x for x in workload.layers]
    forked = replace(workload, layers=tuple(layers))
    eight = forked.with_bits(
        {x.name: 4 if x.name == "depthwise" else 8 for x in forked.mac_layers},
        dict.fromkeys(forked.bit_groups, 8),
    )
    found = kinds(eight)
    assert [found.layers[n] for n in ("stem", "depthwise", "pointwise")] == [
        "integer", "simulated", "simulated",
    ]  # fmt: skip


def test_a_float_weight_keeps_its_input_out_of_the_integers():
    found = kinds(bits(pointwise=32))
    assert found.layers["pointwise"] == "float"
    assert "depthwise" not in found.tensors


def test_tensors_passed_on_are_decided_together():
    found = kinds(bits(head=4))
    assert not {"pool", "flatten"} & found.tensors


def test_layers_are_counted_by_kind():
    found = kinds(bits(depthwise=4, pointwise=32))
    assert [found.count(kind) for kind in ("integer", "simulated", "float")] == [2, 1, 1]
