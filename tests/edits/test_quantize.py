import pickle
import random

import numpy as np
import pytest
from random_nets import network

from hwflow.cost import Bits
from hwflow.design import Design
from hwflow.edits.quantize import Quantize, QuantizePart, quantize
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.space import BitsPart
from hwflow.testing import toy_workload
from hwflow.workload import Input, Layer, Workload

EYERISS = load_machine("eyeriss")


@pytest.fixture(scope="module")
def net():
    return network("plain", "residual", "concat", "excite")


@pytest.fixture(scope="module")
def workload(net):
    return extract(net)


def on_paper(edit, workload):
    return edit.on_paper(Design(workload, EYERISS)).workload


def names(space, kind):
    return [c.name.partition(":")[2] for c in space.choices if c.name.startswith(kind)]


def test_bits_land_on_weights_and_on_whole_groups(workload):
    paper = on_paper(Quantize({"stem": 3}, {"x": 5, "stem": 4}), workload)
    assert paper["stem"].weight_bits == 3
    assert paper["stem"].input_bits == (5,)
    assert paper.inputs[0].bits == 5
    assert paper["stem"].output_bits == paper["blocks.0.conv"].input_bits[0] == 4
    assert paper["head.2"].weight_bits == 32


def test_any_tensor_of_a_group_names_it(workload):
    group = workload.bit_groups["blocks.1.second.conv"]
    member = next(n for n, g in workload.bit_groups.items() if g == group and n != group)
    assert on_paper(Quantize({}, {group: 4}), workload) == on_paper(
        Quantize({}, {member: 4}), workload
    )


def test_tensors_that_meet_cannot_have_different_bits(workload):
    group = workload.bit_groups["blocks.1.second.conv"]
    member = next(n for n, g in workload.bit_groups.items() if g == group and n != group)
    with pytest.raises(HwflowError, match="shares its bits with"):
        on_paper(Quantize({}, {group: 4, member: 5}), workload)


@pytest.mark.parametrize("bits", [0, 17, 33, -1])
def test_bits_without_a_grid_are_refused(bits):
    with pytest.raises(HwflowError, match=f"no grid of {bits} bits"):
        Quantize({"stem": bits})


def test_thirty_two_bits_leave_an_operand_alone(workload):
    assert on_paper(Quantize({"stem": 32}, {"x": 32}), workload) == workload
    assert Quantize({"stem": 32}) == Quantize()


def test_unknown_names_are_refused_with_the_nearest(workload, net):
    for edit, near in (
        (Quantize({"sten": 4}), "stem"),
        (Quantize({}, {"head.1": 4, "bloks.0.conv": 4}), "blocks.0.conv"),
    ):
        with pytest.raises(HwflowError, match=f"Did you mean '{near}'"):
            on_paper(edit, workload)
        with pytest.raises(HwflowError, match=f"Did you mean '{near}'"):
            edit.in_network(net)


def test_layers_without_a_weight_have_no_weight_bits(workload):
    with pytest.raises(HwflowError, match="layer with a weight"):
        on_paper(Quantize({"blocks.1.add": 4}), workload)


def test_edits_are_values(workload):
    one, other = Quantize({"a": 2, "b": 3}, {"c": 4}), Quantize({"b": 3, "a": 2}, {"c": 4})
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301  (worker processes get edits so)
    assert one != Quantize({"a": 2, "b": 4}, {"c": 4})


def test_every_inner_weight_and_group_is_a_choice(net, workload):
    space = quantize(net, (2, 4, 8))
    inner = [x.name for x in workload.mac_layers if x.name not in ("stem", "head.2")]
    assert names(space, "weight_bits") == inner
    groups = {workload.bit_groups[i] for x in workload for i in x.inputs}
    fixed = {workload.bit_groups["x"], workload.bit_groups[workload["head.2"].inputs[0]]}
    assert set(names(space, "activation_bits")) == groups - fixed
    assert all(choice.options == (2, 4, 8) for choice in space.choices)


def test_the_default_is_the_most_bits(net):
    space = quantize(net, (8, 2, 4, 4))
    assert {choice.options for choice in space.choices} == {(2, 4, 8)}
    assert set(space.values(space.default).values()) == {8}


def test_first_and_last_layer_keep_eight_bits(net, workload):
    space = quantize(net, (2,))
    paper = space.on_paper(space.default, Design(workload, EYERISS)).workload
    for layer in (paper["stem"], paper["head.2"]):
        assert (layer.weight_bits, layer.input_bits) == (8, (8,))
    assert paper["blocks.0.conv"].weight_bits == 2
    assert paper["head.2"].output_bits == 32  # nobody reads it


def test_first_and_last_layer_may_be_choices_too(net):
    space = quantize(net, (2, 4), first_last=None)
    assert {"stem", "head.2"} <= set(names(space, "weight_bits"))
    assert "x" in names(space, "activation_bits")
    assert space.parts[1].fixed == Quantize()


@pytest.mark.parametrize("bits", [0, 17, -8, True, 8.0, "8"])
def test_first_and_last_layers_of_bits_without_a_grid_are_refused(net, bits):
    with pytest.raises(HwflowError, match=rf"first_last is {bits!r}.*1 to 16.*32.*None"):
        quantize(net, (2, 4), first_last=bits)


def test_first_and_last_layer_may_stay_in_floating_point(net):
    space = quantize(net, (2, 4), first_last=32)
    assert space.parts[1].fixed == Quantize()
    assert not {"stem", "head.2"} & set(names(space, "weight_bits"))


def test_weights_and_activations_may_have_options_of_their_own(net):
    space = quantize(net, weights=(1, 2), activations=(6,))
    assert {c.options for c in space.choices if c.name.startswith("weight")} == {(1, 2)}
    assert {c.options for c in space.choices if c.name.startswith("activation")} == {(6,)}


def test_no_options_leave_a_kind_alone(net, workload):
    space = quantize(net, activations=())
    assert not names(space, "activation_bits")
    assert not space.parts[1].fixed.tensors
    assert len(names(space, "weight_bits")) == len(workload.mac_layers) - 2


def test_layers_limit_the_choices_to_them_and_what_they_read(net, workload):
    space = quantize(net, layers=["blocks.0.conv", "stem"])
    assert names(space, "weight_bits") == ["blocks.0.conv"]
    assert names(space, "activation_bits") == [workload.bit_groups["stem"]]
    assert space.parts[1].fixed == Quantize({"stem": 8}, {"x": 8})


def test_unknown_layers_are_refused(net):
    with pytest.raises(HwflowError, match="Did you mean 'stem'"):
        quantize(net, layers=["stme"])
    with pytest.raises(HwflowError, match="multiplying layer"):
        quantize(net, layers=["blocks.1.add"])


def test_a_network_with_nothing_to_quantise_is_refused(net):
    with pytest.raises(HwflowError, match="nothing to quantise"):
        quantize(net, weights=(), activations=())


def test_all_layers_before_the_first_product_count_as_first():
    shape = (1, 4, 8, 8)
    branches = tuple(
        Layer(n, "conv", (s,), (shape,), shape, in_channels=4, out_channels=4, out_size=(8, 8),
              input_bits=(32,), params=16)
        for n, s in (("a", "x"), ("b", "x"), ("c", "a"), ("d", "c"))
    )  # fmt: skip
    forked = Workload("fork", branches, (Input("x", shape),), ("b", "d"))
    assert set(quantize(forked).parts[1].fixed.weights) == {"a", "b", "d"}


def test_a_workload_on_paper_has_the_same_space(net, workload):
    paper, real = quantize(workload, (2, 4)), quantize(net, (2, 4))
    assert paper.choices == real.choices
    assert paper.parts == real.parts
    assert paper.network is None


def test_unknown_producers_are_left_alone():
    base = toy_workload()
    layers = [*base.layers]
    index = next(i for i, layer in enumerate(layers) if layer.name == "add")
    layers[index] = Layer(
        "add", "unknown", layers[index].inputs, layers[index].in_shapes, layers[index].out_shape,
        input_bits=(32, 32),
    )  # fmt: skip
    odd = Workload("odd", tuple(layers), base.inputs, base.outputs)
    assert "add" not in names(quantize(odd, first_last=None), "activation_bits")
    assert "add" in names(quantize(base, first_last=None), "activation_bits")


@pytest.mark.parametrize("options", [(2, 4, 8), (1, 16, 32)])
def test_many_plans_at_once_have_the_bits_of_each(net, options):
    space = quantize(net, options, first_last=None)
    part = space.parts[1]
    assert isinstance(part, BitsPart)
    rng = random.Random(0)
    plans = [space.sample(rng) for _ in range(40)]
    base = space.on_paper(space.default, Design(space.workload, EYERISS))
    found = part.bits(base.workload, plans)
    design = Design(space.workload, EYERISS)
    each = Bits.of([space.on_paper(plan, design).workload for plan in plans])
    if 32 not in options:
        assert np.array_equal(found.weights, each.weights)
        assert np.array_equal(found.tensors, each.tensors)
    start = part.bits(space.workload, plans)
    assert np.array_equal(start.weights, each.weights)
    assert np.array_equal(start.tensors, each.tensors)


def attention() -> Workload:
    """A query and a key multiplied: the second operand of a product is a tensor."""
    shape = (1, 4, 8)

    def tokens(name, source):
        return Layer(name, "linear", (source,), (shape,), shape, in_channels=8, out_channels=8,
                     out_size=(4, 1), input_bits=(32,), params=64)  # fmt: skip

    scores = Layer("scores", "matmul", ("q", "k"), (shape, shape), (1, 4, 4), in_channels=8,
                   out_channels=4, out_size=(4, 1), input_bits=(32, 32))  # fmt: skip
    out = Layer("out", "linear", ("scores",), ((1, 4, 4),), (1, 4, 8), in_channels=4,
                out_channels=8, out_size=(4, 1), input_bits=(32,), params=32)  # fmt: skip
    layers = (tokens("in", "x"), tokens("q", "in"), tokens("k", "in"), scores, out)
    return Workload("attention", layers, (Input("x", shape),), ("out",))


def test_the_second_operand_of_a_product_has_the_bits_of_its_tensor():
    workload = attention()
    space = quantize(workload, (2, 4))
    plans = [space.plan({"activation_bits:k": b, "activation_bits:q": 4}) for b in (2, 4)]
    bits = space.parts[1].bits(workload, plans)
    column = [layer.name for layer in workload].index("scores")
    assert bits.weights[:, column].tolist() == [2, 4]
    assert "weight_bits:scores" not in [c.name for c in space.choices]


def test_the_bits_of_no_plan_are_an_empty_table(net):
    space = quantize(net)
    bits = space.parts[1].bits(space.workload, [])
    assert bits.weights.shape == (0, len(space.workload))


def test_a_part_makes_the_edit_of_its_values():
    part = QuantizePart((), Quantize({"first": 8}, {"x": 8}))
    edit = part.edit({"weight_bits:a:b": 2, "activation_bits:x": 4})
    assert edit == Quantize({"first": 8, "a:b": 2}, {"x": 4})
