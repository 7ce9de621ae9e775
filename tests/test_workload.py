"""Workloads: counts of a layer, readers, groups, changed bits and batch, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import WorkloadError
from hwflow.workload import FLOAT_BITS, Input, Layer, Workload, touched_rows


def conv(name: str, source: str, channels: tuple[int, int] = (4, 4), **more: object) -> Layer:
    """A 1 x 1 convolution on 8 x 8 maps."""
    ins, outs = channels
    plain: dict[str, object] = {
        "in_shapes": ((1, ins, 8, 8),), "out_shape": (1, outs, 8, 8), "out_size": (8, 8),
        "in_channels": ins, "out_channels": outs, "input_bits": (FLOAT_BITS,),
        "params": ins * outs,
    }  # fmt: skip
    return Layer(name, "conv", (source,), **{**plain, **more})  # type: ignore[arg-type]


def other(name: str, op: str, *sources: str, **more: object) -> Layer:
    shape = (1, 4, 8, 8)
    bits = (FLOAT_BITS,) * len(sources)
    plain: dict[str, object] = {"in_shapes": (shape,) * len(sources), "out_shape": shape,
                                "input_bits": bits}  # fmt: skip
    return Layer(name, op, sources, **{**plain, **more})  # type: ignore[arg-type]


def network(*layers: Layer, outputs: tuple[str, ...] = (), loose: int = 0) -> Workload:
    inputs = (Input("x", (1, 4, 8, 8)),)
    return Workload("net", layers, inputs, outputs or (layers[-1].name,), loose)


def residual() -> Workload:
    """x -> a -> b; b + slice(a) -> c; a is also pooled and given out."""
    return network(
        conv("a", "x"),
        conv("b", "a"),
        other("cut", "slice", "a"),
        other("sum", "add", "b", "cut"),
        conv("c", "sum"),
        other("pool", "max_pool", "a"),
        outputs=("c", "pool"),
    )


def product() -> Workload:
    """A matmul of two activations, 2 heads of 3 tokens and depth 4."""
    shape = (2, 3, 4)
    scores = Layer(
        "scores", "matmul", ("q", "k"), (shape, (2, 4, 3)), (2, 3, 3), groups=2, in_channels=8,
        out_channels=6, out_size=(3, 1), input_bits=(FLOAT_BITS, FLOAT_BITS),
    )  # fmt: skip
    k = Layer("k", "permute", ("x",), (shape,), (2, 4, 3), input_bits=(FLOAT_BITS,))
    q = Layer("q", "act", ("x",), (shape,), shape, input_bits=(FLOAT_BITS,))
    return Workload("attention", (q, k, scores), (Input("x", shape),), ("scores",))


@pytest.mark.parametrize(
    ("layer", "macs", "weights", "depth"),
    [
        (conv("plain", "x"), 4 * 4 * 64, 16, 4),
        (conv("kernel", "x", kernel=(3, 3), padding=(1,) * 4), 4 * 4 * 64 * 9, 144, 36),
        (conv("depthwise", "x", kernel=(3, 3), groups=4), 4 * 64 * 9, 36, 9),
        (conv("batch", "x", batch=5), 5 * 4 * 4 * 64, 16, 4),
        (replace(conv("up", "x"), op="conv_transpose", kernel=(2, 2), out_size=(16, 16)),
         4 * 4 * 64 * 4, 64, 16),
        (product()["scores"], 2 * 3 * 4 * 3, 2 * 4 * 3, 4),
        (other("sum", "add", "x", "x"), 0, 0, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Layer) else "",
)  # fmt: skip
def test_a_layer_counts_macs_weights_and_depth(
    layer: Layer, macs: int, weights: int, depth: int
) -> None:
    assert (layer.macs, layer.weights, layer.depth) == (macs, weights, depth)


def test_a_network_sums_its_layers_and_adds_loose_parameters() -> None:
    found = replace(residual(), loose_params=7)
    assert found.macs == 3 * 4 * 4 * 64
    assert found.params == 3 * 16 + 7


def test_a_strided_pointwise_convolution_reads_a_quarter() -> None:
    layer = conv("a", "x", stride=(2, 2), out_size=(4, 4), out_shape=(1, 4, 4, 4))
    assert layer.in_elements == (4 * 4 * 4,)
    assert conv("b", "x").in_elements == (4 * 8 * 8,)


def test_other_operators_read_all_of_every_input() -> None:
    assert other("sum", "add", "x", "x").in_elements == (256, 256)
    assert product()["scores"].in_elements == (24, 24)


def rows_read(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Count by running the convolution on rows that remember being read."""
    padded = [False] * (before + size + 4 * (out * stride + kernel * dilation))
    for p in range(out):
        for r in range(kernel):
            padded[p * stride + r * dilation] = True
    return sum(padded[before : before + size])


@given(
    size=st.integers(1, 40), kernel=st.integers(1, 5), stride=st.integers(1, 4),
    dilation=st.integers(1, 3), before=st.integers(0, 4),
)  # fmt: skip
def test_touched_rows_are_those_that_a_convolution_reads(
    size: int, kernel: int, stride: int, dilation: int, before: int
) -> None:
    out = max(1, (size + 2 * before - dilation * (kernel - 1) - 1) // stride + 1)
    found = touched_rows(size, out, kernel, stride, dilation, before)
    assert found == rows_read(size, out, kernel, stride, dilation, before)


def test_layers_are_found_by_name() -> None:
    found = residual()
    assert found["b"].inputs == ("a",)
    assert "b" in found
    assert "x" not in found
    assert [layer.name for layer in found] == ["a", "b", "cut", "sum", "c", "pool"]
    assert len(found) == 6


def test_readers_are_the_mirror_of_inputs() -> None:
    assert dict(residual().readers) == {
        "x": ("a",), "a": ("b", "cut", "pool"), "b": ("sum",), "cut": ("sum",), "sum": ("c",),
        "c": (), "pool": (),
    }  # fmt: skip


def test_a_tensor_read_twice_by_a_layer_has_it_as_reader_once() -> None:
    assert network(other("twice", "add", "x", "x")).readers["x"] == ("twice",)


@pytest.mark.parametrize(
    ("name", "readers"),
    [("x", ("a",)), ("a", ("b", "c")), ("b", ("c",)), ("sum", ("c",)), ("c", ()), ("pool", ())],
)
def test_mac_readers_are_reached_through_other_layers(name: str, readers: tuple[str, ...]) -> None:
    assert residual().mac_readers(name) == readers


def test_scale_groups_join_what_passes_values_on() -> None:
    groups = residual().scale_groups
    assert groups["cut"] == groups["pool"] == "a"
    assert groups["b"] == "b"
    assert groups["sum"] == "sum"


def test_bit_groups_also_join_what_meets_in_an_add() -> None:
    groups = residual().bit_groups
    assert groups["b"] == groups["cut"] == groups["pool"] == groups["a"] == "a"
    assert groups["sum"] == "sum"
    assert groups["x"] == "x"


@pytest.mark.parametrize("more", [{"act": ("relu",)}, {"norm": "batch"}])
def test_a_preserving_layer_with_something_folded_onto_it_starts_a_group(
    more: dict[str, object],
) -> None:
    found = network(other("pool", "max_pool", "x", **more))
    assert found.scale_groups["pool"] == "pool"
    assert found.bit_groups["pool"] == "pool"


def test_concat_joins_all_that_it_holds() -> None:
    both = other("both", "concat", "a", "b", out_shape=(1, 8, 8, 8))
    found = network(conv("a", "x"), conv("b", "x"), both)
    assert {found.scale_groups[name] for name in ("a", "b", "both")} == {"a"}


def test_bits_are_set_by_name_and_reach_the_readers() -> None:
    found = residual().with_bits({"b": 4}, {"x": 8, "a": 6})
    assert (found["b"].weight_bits, found["a"].weight_bits) == (4, FLOAT_BITS)
    assert found.inputs[0].bits == 8
    assert found["a"].input_bits == (8,)
    assert found["a"].output_bits == 6
    assert found["b"].input_bits == found["cut"].input_bits == (6,)
    assert found["sum"].input_bits == (FLOAT_BITS, FLOAT_BITS)


def test_bits_not_named_stay_as_they_were() -> None:
    once = residual().with_bits({"b": 4}, {"a": 6})
    assert once.with_bits({}, {}) == once
    assert once.with_bits({"b": FLOAT_BITS}, {"a": FLOAT_BITS}) == residual()


def test_the_second_operand_of_a_product_follows_its_tensor() -> None:
    found = product().with_bits({"scores": 3}, {"q": 8, "k": 5})
    assert found["scores"].weight_bits == 5
    assert found["scores"].input_bits == (8, 5)


@given(st.integers(1, 9))
def test_a_batch_multiplies_macs_and_activations_but_not_parameters(times: int) -> None:
    for one in (residual(), product()):
        many = one.with_batch(times)
        assert many.macs == times * one.macs
        assert many.params == one.params
        assert [la.out_elements for la in many] == [times * la.out_elements for la in one]
        assert many.inputs[0].shape[0] == times * one.inputs[0].shape[0]


def test_a_batched_convolution_keeps_its_weights_and_a_product_has_more_of_them() -> None:
    assert residual().with_batch(3)["b"].weights == 16
    assert product().with_batch(3)["scores"].weights == 3 * product()["scores"].weights


@pytest.mark.parametrize("times", [0, -1])
def test_a_batch_below_one_is_refused(times: int) -> None:
    with pytest.raises(WorkloadError, match=f"at least 1, not {times}"):
        residual().with_batch(times)


def test_workloads_are_equal_whatever_their_name_and_hash_alike() -> None:
    renamed = replace(residual(), name="another")
    assert renamed == residual()
    assert hash(renamed) == hash(residual())
    assert residual().with_bits({"b": 4}, {}) != residual()


def test_unknown_operators_are_counted() -> None:
    found = network(conv("a", "x"), other("odd", "unknown", "a"))
    assert [layer.name for layer in found.unknown] == ["odd"]


def test_attributes_are_found_by_key() -> None:
    layer = other("turn", "permute", "x", attrs=(("dims", (0, 2, 1)),))
    assert layer.attr("dims") == (0, 2, 1)
    assert layer.attr("none", 5) == 5


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([other("a", "magic", "x")], "Layer 'a' has the operator 'magic'. Known: "),
        ([conv("a", "x"), conv("a", "x")], "Layer 'a' occurs twice"),
        ([conv("x", "x")], "Layer 'x' occurs twice"),
        ([conv("a", "y")], "Layer 'a' reads 'y', which nothing before it produces"),
        ([conv("a", "b"), conv("b", "x")], "Layer 'a' reads 'b', which nothing before"),
        ([conv("a", "x", in_shapes=())], "Layer 'a' has 1 inputs, 0 shapes"),
        ([conv("a", "x", input_bits=(8,))], "at other bits than their producers write"),
        (
            [conv("a", "x", groups=3)],
            "4 input and 4 output channels cannot be divided into 3 groups",
        ),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    layers: list[Layer], message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        network(*layers)
    assert message in str(caught.value)


def test_an_output_that_nothing_produces_is_refused() -> None:
    with pytest.raises(WorkloadError, match="no layer produces output 'z'"):
        network(conv("a", "x"), outputs=("z",))


def test_two_inputs_of_one_name_are_refused() -> None:
    twice = (Input("x", (1, 4, 8, 8)), Input("x", (1, 4, 8, 8)))
    with pytest.raises(WorkloadError, match="two inputs of one name"):
        Workload("net", (conv("a", "x"),), twice, ("a",))


def test_densities_are_kept_by_every_change() -> None:
    sparse = residual().with_densities({"a": 0.5}, {"b": 0.25})
    for changed in (sparse, sparse.with_batch(3), sparse.with_bits({"a": 4}, {"b": 2})):
        assert (changed["a"].input_density, changed["b"].output_density) == (0.5, 0.25)
        assert changed["c"].input_density == 1.0
    assert sparse != residual()
    assert sparse.with_densities({"a": 1.0}, {"b": 1.0}) == residual()
    assert hash(sparse.with_densities({"a": 1.0}, {"b": 1.0})) == hash(residual())


def test_what_is_not_named_keeps_its_density() -> None:
    sparse = residual().with_densities({"a": 0.5}).with_densities({"b": 0.25})
    assert (sparse["a"].input_density, sparse["b"].input_density) == (0.5, 0.25)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_density_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(WorkloadError, match=r"'a' has an input density of .* between 0 and 1"):
        residual().with_densities({"a": share})
    with pytest.raises(WorkloadError, match="'a' has an output density"):
        residual().with_densities({}, {"a": share})


def test_a_density_of_no_layer_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"Unknown layer 'aa'\. Did you mean 'a'"):
        residual().with_densities({"aa": 0.5})
